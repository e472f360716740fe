//! Kinds that packages define.

use crate::fixture::{found, found_by, package, validator};
use std::sync::Arc;
use tko_core::Validator;
use tko_validate::{MissingSchema, SchemaValidator};

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com, creationTimestamp: null}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Foo, plural: foos, listKind: FooList, singular: foo}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        description: A foo.
        required: [spec]
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, format: int32, minimum: 0, exclusiveMinimum: true}
              port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              mode: {type: string, enum: [Fast, Slow], nullable: true}
              name: {type: string, pattern: '^[a-z]+$', maxLength: 5}
              period: {type: string, format: duration}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              half: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {a: {type: integer}}}
              labels: {type: object, additionalProperties: {type: string}}
              template: {type: object, x-kubernetes-embedded-resource: true, properties: {spec: {type: object}}}
              choice:
                type: object
                properties: {a: {type: string}, b: {type: string}}
                oneOf: [{required: [a]}, {required: [b]}]
          status: {type: object, properties: {ready: {type: boolean}}}
";

fn foo(rest: &str) -> String {
    format!(
        "{CRD}---\n{{apiVersion: example.com/v1, kind: Foo, metadata: {{name: a, labels: {{x: z}}}}, {rest}}}\n"
    )
}

#[tokio::test]
async fn valid_custom_resources_pass() {
    for rest in [
        "spec: {size: 1}",
        "spec: {size: 1, port: 80, mode: Fast, name: abc, period: 5s}, status: {ready: true}",
        "spec: {size: 1, port: http, name: null}, status: null",
        "spec: {size: 1, free: {a: {b: [1]}}, half: {a: 1, b: 2}, labels: {a: b}}",
        "spec: {size: 1, template: {apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {}}}",
        "spec: {size: 1, choice: {a: x}}",
        "spec: {size: 1, choice: null}",
    ] {
        assert_eq!(
            found(&foo(rest), true).await,
            Vec::<String>::new(),
            "{rest}"
        );
    }
}

#[tokio::test]
async fn violations_in_custom_resources_are_reported() {
    for (rest, message) in [
        ("status: {}", "spec: is required and missing"),
        ("spec: {}", "spec.size: is required and missing"),
        (
            "spec: {size: 0}",
            "spec.size: must be more than 0, but is 0",
        ),
        (
            "spec: {size: 3000000000}",
            "spec.size: must be at most 2147483647, but is 3000000000",
        ),
        ("spec: {size: null}", "spec.size: is required and missing"),
        (
            "spec: {size: 1, port: 1.5}",
            "spec.port: must be an integer or text, but is 1.5",
        ),
        (
            "spec: {size: 1, mode: null}",
            "spec.mode: must be text, but is null",
        ),
        (
            "spec: {size: 1, mode: Medium}",
            "spec.mode: must be one of Fast, Slow, but is the text \"Medium\"",
        ),
        (
            "spec: {size: 1, name: A}",
            "spec.name: must match the pattern ^[a-z]+$, but is the text \"A\"",
        ),
        (
            "spec: {size: 1, half: {a: x}}",
            "spec.half.a: must be an integer, but is the text \"x\"",
        ),
        (
            "spec: {size: 1, labels: {a: 1}}",
            "spec.labels.a: must be text, but is 1",
        ),
        (
            "spec: {size: 1, template: {apiVersion: v1}}",
            "spec.template.kind: is required and missing",
        ),
        (
            "spec: {size: 1, choice: {}}",
            "spec.choice: must have one of a, b",
        ),
        (
            "spec: {size: 1, choice: {a: x, b: w}}",
            "spec.choice: matches several alternatives; only one is allowed",
        ),
        (
            "spec: {size: 1}, status: {redy: true}",
            "status.redy: is not a known property; did you mean ready?",
        ),
        (
            "spec: {size: 1}, spce: {}",
            "spce: is not a known property; did you mean spec?",
        ),
    ] {
        assert_eq!(
            found(&foo(rest), true).await,
            [format!("Foo a: {message}")],
            "{rest}"
        );
    }
}

#[tokio::test]
async fn custom_resources_may_be_partial() {
    for rest in [
        "status: {}",
        "spec: {}",
        "spec: {size: null, choice: {}}",
        "spec: {choice: {a: x, b: w}}",
        "spec: {template: {spec: {}}}",
    ] {
        assert_eq!(
            found(&foo(rest), false).await,
            Vec::<String>::new(),
            "{rest}"
        );
    }
    assert_eq!(found(&foo("spec: {size: x, nam: y}"), false).await.len(), 2);
}

#[tokio::test]
async fn metadata_of_custom_resources_is_checked_as_everywhere() {
    let yaml = format!(
        "{CRD}---\n{{apiVersion: example.com/v1, kind: Foo, metadata: {{name: a, lables: {{}}, creationTimestamp: null}}, spec: {{size: 1}}}}"
    );
    assert_eq!(
        found(&yaml, true).await,
        ["Foo a: metadata.lables: is not a known property; did you mean labels?"]
    );
}

#[tokio::test]
async fn definitions_apply_to_other_packages_between_learn_and_forget() {
    let validator = validator();
    let foo = package("{apiVersion: example.com/v1, kind: Foo, metadata: {name: a}, spec: {}}");
    let target = foo.resources()[0].identifier().clone();
    let violations = || async {
        let found = validator.validate(&foo, &target, true).await;
        found.expect("validated").len()
    };
    assert_eq!(violations().await, 0, "unknown kinds pass");
    validator.crds().learn("template crds", &package(CRD));
    assert_eq!(violations().await, 1);
    validator.crds().forget("template crds");
    assert_eq!(violations().await, 0);
}

#[tokio::test]
async fn a_package_uses_its_own_definition_before_a_learned_one() {
    let validator = validator();
    validator.crds().learn("a", &package(CRD));
    let laxer = foo("spec: {}").replace("required: [size]", "required: []");
    assert_eq!(
        found_by(validator, &laxer, true).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn an_unusable_definition_is_refused_and_admits_nothing() {
    for (bad, word) in [
        ("pattern: '^[a-z]+$'", "pattern: '(?=x)'"),
        ("format: int32", "$ref: '#'"),
        ("type: integer, format: int32", "type: text"),
    ]
    .map(|(good, bad)| (CRD.replace(good, bad), bad))
    {
        let found = found(&bad, true).await;
        assert_eq!(found.len(), 1, "{word}: {found:?}");
        assert!(
            found[0].starts_with(
                "CustomResourceDefinition foos.example.com: spec.versions[0].schema.openAPIV3Schema"
            ),
            "{found:?}"
        );
        let validator = Arc::new(validator());
        validator.crds().learn("broken", &package(&bad));
        let foo = package(
            "{apiVersion: example.com/v1, kind: Foo, metadata: {name: a}, spec: {size: 1}}",
        );
        let violations = validator
            .validate(&foo, foo.resources()[0].identifier(), true)
            .await
            .expect("validated");
        assert_eq!(violations.len(), 1, "{word}");
        assert!(
            violations[0].message.contains("is unusable"),
            "{violations:?}"
        );
    }
}

#[tokio::test]
async fn kinds_without_a_schema_follow_the_policy() {
    let yaml = "{apiVersion: example.com/v1, kind: Bar, metadata: {name: a}, free: true}";
    for (missing, violations) in [
        (MissingSchema::Accept, 0),
        (MissingSchema::Warn, 0),
        (MissingSchema::Refuse, 1),
    ] {
        let validator = SchemaValidator::builder()
            .missing(missing)
            .build()
            .expect("sound");
        let found = found_by(validator, yaml, true).await;
        assert_eq!(found.len(), violations, "{missing}: {found:?}");
    }
}
