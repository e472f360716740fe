//! Verdicts of an API server: inputs that it accepts and inputs that it refuses.

use crate::fixture::{found, package, validator};
use tko_validate::{SchemaValidator, SchemaVerdict};

/// A definition whose `spec` has this property, in YAML.
fn crd(property: &str) -> String {
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: foos.example.com}}
spec:
  group: example.com
  scope: Namespaced
  names: {{kind: Foo, plural: foos}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {property}
"
    )
}

/// What is found in a custom resource.
async fn custom(schema: &str, spec: &str) -> Vec<String> {
    let one =
        format!("{{apiVersion: example.com/v1, kind: Foo, metadata: {{name: a}}, spec: {spec}}}");
    found(&format!("{}---\n{one}", crd(schema)), true).await
}

async fn accepted(schema: &str, spec: &str) {
    assert_eq!(
        custom(schema, spec).await,
        Vec::<String>::new(),
        "{schema} {spec}"
    );
}

async fn refused(schema: &str, spec: &str, message: &str) {
    let found = custom(schema, spec).await;
    assert_eq!(found, [format!("Foo a: {message}")], "{schema} {spec}");
}

#[tokio::test]
async fn defaults_are_applied_before_validation() {
    let mode = "{type: object, required: [v], properties: {v: {type: string, default: auto}}}";
    accepted(mode, "{}").await;
    accepted(mode, "{v: null}").await;
    refused(mode, "{v: 1}", "spec.v: must be text, but is 1").await;
    let choice = "{type: object, properties: {list: {type: array, items: {type: object, required: [type], properties: {type: {type: string, default: IP}, v: {type: string}}, oneOf: [{properties: {type: {enum: [IP]}}}, {properties: {type: {enum: [Name]}}}]}}}}";
    accepted(choice, "{list: [{v: x}, {type: Name}]}").await;
    let whole =
        "{type: object, default: {}, required: [a], properties: {a: {type: integer, default: 1}}}";
    accepted(whole, "{}").await;
    let yaml = format!(
        "{}---\n{{apiVersion: example.com/v1, kind: Foo, metadata: {{name: a}}}}",
        crd(whole)
    );
    assert_eq!(found(&yaml, true).await, Vec::<String>::new());
}

#[tokio::test]
async fn null_means_not_given_unless_it_is_nullable() {
    let map = "{type: object, additionalProperties: {type: string}}";
    accepted(map, "{a: null}").await;
    accepted(
        "{type: object, properties: {v: {type: object, nullable: true}}}",
        "{v: null}",
    )
    .await;
    let list = "{type: object, properties: {v: {type: array, items: {type: string}}}}";
    refused(list, "{v: [null]}", "spec.v[0]: must be text, but is null").await;
    let required = "{type: object, required: [v], properties: {v: {type: string}}}";
    refused(required, "{v: null}", "spec.v: is required and missing").await;
    let enumeration = "{type: object, properties: {v: {type: string, enum: [a], nullable: true}}}";
    refused(
        enumeration,
        "{v: null}",
        "spec.v: must be text, but is null",
    )
    .await;
}

#[tokio::test]
async fn unknown_fields_of_a_map_without_properties_are_refused() {
    let empty = "{type: object, properties: {v: {type: object}}}";
    accepted(empty, "{v: {}}").await;
    refused(empty, "{v: {a: 1}}", "spec.v.a: is not a known property").await;
    let free = "{type: object, properties: {v: {type: object, x-kubernetes-preserve-unknown-fields: true}}}";
    accepted(free, "{v: {a: 1}}").await;
}

#[tokio::test]
async fn sets_and_maps_have_no_duplicates() {
    let set = "{type: object, properties: {v: {type: array, x-kubernetes-list-type: set, items: {type: string}}}}";
    accepted(set, "{v: [a, b]}").await;
    refused(
        set,
        "{v: [a, a]}",
        "spec.v: must not contain duplicate items",
    )
    .await;
    let map = "{type: object, properties: {v: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k, p], items: {type: object, required: [k], properties: {k: {type: string}, p: {type: string, default: TCP}}}}}}";
    accepted(map, "{v: [{k: a}, {k: a, p: UDP}]}").await;
    refused(
        map,
        "{v: [{k: a}, {k: a, p: TCP}]}",
        "spec.v: must not contain two items with the same k \"a\" and p \"TCP\"",
    )
    .await;
    let plain = "{type: object, properties: {v: {type: array, items: {type: string}}}}";
    accepted(plain, "{v: [a, a]}").await;
}

#[tokio::test]
async fn formats_of_custom_kinds_are_checked() {
    for (format, good, bad) in [
        ("duration", "1h30m", "fast"),
        ("email", "a@example.org", "nope"),
        ("hostname", "a.example.org", "-_-"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("mac", "'00:00:5e:00:53:01'", "a:b"),
        ("uri", "https://example.org", "example.org"),
        ("ipv4", "10.0.0.1", "10.0.0"),
        ("ipv6", "'::1'", "10.0.0.1"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "x"),
        ("byte", "YWI=", "'***'"),
        ("date", "'2026-01-31'", "'2026-02-31'"),
        ("date-time", "'2026-01-31T12:00:00Z'", "today"),
        ("mine", "anything", ""),
    ] {
        let schema =
            format!("{{type: object, properties: {{v: {{type: string, format: {format}}}}}}}");
        accepted(&schema, &format!("{{v: {good}}}")).await;
        if !bad.is_empty() {
            let found = custom(&schema, &format!("{{v: {bad}}}")).await;
            assert_eq!(found.len(), 1, "{format}: {found:?}");
            assert!(found[0].starts_with("Foo a: spec.v: must be "), "{found:?}");
        }
    }
}

#[tokio::test]
async fn integers_have_64_bits() {
    let integer =
        "{type: object, properties: {v: {type: integer}, w: {x-kubernetes-int-or-string: true}}}";
    accepted(integer, "{v: 9223372036854775807, w: -9223372036854775808}").await;
    for name in ["v", "w"] {
        refused(
            integer,
            &format!("{{{name}: 9223372036854775808}}"),
            &format!(
                "spec.{name}: must be at most 9223372036854775807, but is 9223372036854775808"
            ),
        )
        .await;
    }
    let number = "{type: object, properties: {v: {type: number}}}";
    accepted(number, "{v: 9223372036854775808}").await;
}

#[tokio::test]
async fn validation_rules_are_evaluated_after_defaults() {
    let range = "{type: object, properties: {min: {type: integer}, max: {type: integer, default: 3}}, x-kubernetes-validations: [{rule: 'self.min <= self.max', message: min above max}]}";
    accepted(range, "{min: 1, max: 5}").await;
    accepted(range, "{min: 1}").await;
    refused(range, "{min: 5, max: 1}", "spec: min above max").await;
    refused(
        range,
        "{min: x, max: 1}",
        "spec.min: must be an integer, but is the text \"x\"",
    )
    .await;
    let broken = "{type: object, x-kubernetes-validations: [{rule: 'self ==='}]}";
    let found = found(&crd(broken), true).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("does not parse"), "{found:?}");
}

#[tokio::test]
async fn rules_are_not_evaluated_for_partial_resources() {
    let range = "{type: object, properties: {min: {type: integer}}, x-kubernetes-validations: [{rule: 'self.min > 0'}]}";
    let yaml = format!(
        "{}---\n{{apiVersion: example.com/v1, kind: Foo, metadata: {{name: a}}, spec: {{}}}}",
        crd(range)
    );
    assert_eq!(found(&yaml, false).await, Vec::<String>::new());
    assert_eq!(found(&yaml, true).await.len(), 1);
}

async fn verdict(validator: &SchemaValidator, yaml: &str) -> SchemaVerdict {
    let package = package(yaml);
    let last = package.resources().last().expect("a resource");
    validator
        .verdict(&package, last, true)
        .await
        .expect("validated")
}

#[tokio::test]
async fn what_was_not_checked_is_counted() {
    let validator = validator();
    let one = "{apiVersion: example.com/v1, kind: Foo, metadata: {name: a}, spec: {v: 1}}";
    assert!(verdict(&validator, one).await.without_schema);
    let transition = "{type: object, properties: {v: {type: integer}}, x-kubernetes-validations: [{rule: 'self == oldSelf'}, {rule: 'self.v > 0'}]}";
    let yaml = format!("{}---\n{one}", crd(transition));
    for _ in 0..2 {
        let verdict = verdict(&validator, &yaml).await;
        assert!(!verdict.without_schema && verdict.violations.is_empty());
        assert_eq!(verdict.skipped_rules, 1, "also when it is remembered");
    }
}

/// A Pod with this container and these other fields of its `spec`.
fn pod(container: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{containers: [{{name: c, image: i, {container}}}], {spec}}}}}"
    )
}

#[tokio::test]
async fn constraints_that_are_not_published_are_checked() {
    for (good, bad, message) in [
        (
            pod("resources: {requests: {memory: '1Gi ', cpu: 1.}}", ""),
            pod("resources: {requests: {memory: 1mi}}", ""),
            "spec.containers[0].resources.requests.memory: must be a quantity",
        ),
        (
            pod("resources: {limits: {example.com/gpu: 1}}", ""),
            pod("resources: {limits: {gpu: 1}}", ""),
            "spec.containers[0].resources.limits: has an invalid key \"gpu\"",
        ),
        (
            pod("resources: {limits: {cpu: 0}}", ""),
            pod("resources: {limits: {cpu: -1}}", ""),
            "spec.containers[0].resources.limits.cpu: must be at least 0",
        ),
        (
            pod("ports: [{containerPort: 65535, name: http}]", ""),
            pod("ports: [{containerPort: 65536}]", ""),
            "spec.containers[0].ports[0].containerPort: must be at most 65535",
        ),
        (
            pod("env: [{name: A, value: x}, {name: A, value: z}]", ""),
            pod("env: [{name: A=B}]", ""),
            "spec.containers[0].env[0].name: must be printable",
        ),
        (
            pod("", "volumes: [{name: v, configMap: {name: m, defaultMode: 0755}}]"),
            pod("", "volumes: [{name: v, configMap: {name: m, defaultMode: 755}}]"),
            "spec.volumes[0].configMap.defaultMode: must be at most 511",
        ),
        (
            pod("", "volumes: [{name: v, emptyDir: {}}, {name: w, emptyDir: {}}]"),
            pod("", "volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]"),
            "spec.volumes: must not contain two items with the same name \"v\"",
        ),
        (
            pod("volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b}]", ""),
            pod("volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /a}]", ""),
            "spec.containers[0].volumeMounts: must not contain two items with the same mountPath \"/a\"",
        ),
        (
            pod("livenessProbe: {httpGet: {port: http}}", ""),
            pod("livenessProbe: {httpGet: {port: 0}}", ""),
            "spec.containers[0].livenessProbe.httpGet.port: must be at least 1",
        ),
        (
            pod("", "nodeSelector: {example.com/a: b}"),
            pod("", "nodeSelector: {example.com/a: 'b c'}"),
            "spec.nodeSelector['example.com/a']: must be at most 63 letters",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a.b}, data: {a.conf: x}}".to_owned(),
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_A_DNS.Name}}".to_owned(),
            "metadata.name: must be a DNS name",
        ),
        (
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:a'}}".to_owned(),
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'a/b'}}".to_owned(),
            "metadata.name: must be a name without",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{name: x, port: 80}, {name: z, port: 80, protocol: UDP}]}}".to_owned(),
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{name: x, port: 80}, {name: z, port: 80, protocol: TCP}]}}".to_owned(),
            "spec.ports: must not contain two items with the same port 80 and protocol \"TCP\"",
        ),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {a/b: ''}, annotations: {x: 'any text'}}}".to_owned(),
            "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {a b: ''}}}".to_owned(),
            "metadata.labels: has an invalid key \"a b\"",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b}}".to_owned(),
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: B}}".to_owned(),
            "metadata.namespace: must be a DNS label",
        ),
        (
            "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k: v}}".to_owned(),
            "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k/l: v}}".to_owned(),
            "stringData: has an invalid key \"k/l\"",
        ),
    ] {
        assert_eq!(found(&good, true).await, Vec::<String>::new(), "{good}");
        let found = found(&bad, true).await;
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
        assert!(found[0].contains(message), "{bad}: {found:?}");
    }
}

/// `nephio.org/rename` or a preparer replaces such a name.
#[tokio::test]
async fn the_name_of_a_partial_resource_may_be_a_placeholder() {
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "Service"),
        ("v1", "Namespace"),
        ("batch/v1", "CronJob"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ] {
        let placeholder =
            format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: _/_}}}}");
        assert_eq!(found(&placeholder, false).await, Vec::<String>::new());
        let found = found(&placeholder, true).await;
        let is_name = |violation: &String| violation.contains("metadata.name: must be");
        assert!(found.iter().any(is_name), "{kind}: {found:?}");
    }
}

#[tokio::test]
async fn a_duplicate_container_is_refused() {
    let yaml = "{apiVersion: v1, kind: Pod, metadata: {name: d}, spec: {containers: [{name: a, image: b}, {name: a, image: c}]}}";
    assert_eq!(
        found(yaml, true).await,
        ["Pod d: spec.containers: must not contain two items with the same name \"a\""]
    );
}

#[tokio::test]
async fn kinds_that_do_not_exist_are_refused_where_all_are_known() {
    for (api_version, kind, hint) in [
        ("apps/v1", "Deploymnet", "did you mean Deployment?"),
        ("v1", "Deployment", "use apiVersion apps/v1"),
        (
            "policy/v1beta1",
            "PodDisruptionBudget",
            "use apiVersion policy/v1",
        ),
        (
            "extensions/v1beta1",
            "Ingress",
            "use apiVersion networking.k8s.io/v1",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Plaecment",
            "did you mean Placement?",
        ),
        (
            "deployment.nephio.org/v1alpha1",
            "Deploymnet",
            "did you mean Deployment?",
        ),
    ] {
        let yaml = format!(
            "{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}, spec: {{replicas: x}}}}"
        );
        for complete in [true, false] {
            let found = found(&yaml, complete).await;
            assert_eq!(found.len(), 1, "{yaml}: {found:?}");
            assert!(found[0].contains(hint), "{found:?}");
        }
    }
    for (api_version, kind) in [
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("infra.nephio.org/v1alpha1", "Network"),
        ("mine.plugin.nephio.org/v1", "Mine"),
        ("example.com/v1", "Foo"),
    ] {
        let yaml = format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}}}");
        assert_eq!(found(&yaml, true).await, Vec::<String>::new(), "{yaml}");
    }
}

#[tokio::test]
async fn a_definition_has_the_name_of_its_plural_and_group() {
    let wrong = crd("{type: object}").replace("name: foos.example.com", "name: foo.example.com");
    let found = found(&wrong, true).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("metadata.name: must be foos.example.com"),
        "{found:?}"
    );
}
