//! Malicious input: each is refused within bounded time and memory, and the process survives.

use crate::fixture::{package, validator};
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{Admission, Package, Resource, Validator};
use tko_validate::Validation;

fn crd(schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"kind": "Foo", "plural": "foos"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

async fn found_in(values: Vec<Value>) -> Vec<String> {
    // A stored resource may be nested more deeply than a new one.
    let resources = values.into_iter().map(|value| {
        let resource = Resource::stored(value).expect("a resource");
        Arc::new(resource)
    });
    let package = Package::new(resources.collect()).expect("a package");
    let validation = Validation::new(Arc::new(validator()));
    let found = tokio::spawn(async move { validation.admit(&package, true).await });
    let found = found.await.expect("no panic").expect("validated");
    found.iter().map(ToString::to_string).collect()
}

fn nested(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(json!({"type": "string"}), |inner, _| wrap(inner))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn deep_resources_are_refused() {
    let deep = nested(400, |inner| json!({"a": inner}));
    let config =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": deep});
    let found = found_in(vec![config]).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("levels deep"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_as_deep_as_is_allowed_is_validated_on_a_worker_s_stack() {
    let maps = nested(
        70,
        |inner| json!({"type": "object", "properties": {"a": inner}}),
    );
    let lists = nested(140, |inner| json!({"type": "array", "items": inner}));
    let denials = nested(30, |inner| json!({"not": {"not": inner}}));
    for schema in [maps, lists, denials] {
        assert_eq!(found_in(vec![crd(&schema)]).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn deep_schemas_are_refused() {
    let found = found_in(vec![crd(&nested(500, |inner| json!({"items": inner})))]).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("levels deep"), "{found:?}");
}

#[tokio::test]
async fn recursive_definitions_are_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}),
    ] {
        let found = found_in(vec![crd(&schema)]).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("$ref"), "{found:?}");
    }
}

#[tokio::test]
async fn explosive_patterns_are_refused_or_match_in_linear_time() {
    let found = found_in(vec![crd(
        &json!({"properties": {"a": {"pattern": "(((x{100}){100}){100})"}}}),
    )])
    .await;
    assert_eq!(found.len(), 1, "{found:?}");

    let crd = crd(
        &json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+(b+)+$"}}}),
    );
    let text = "a".repeat(100_000);
    let foo = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"}, "a": text});
    let found = found_in(vec![crd, foo]).await;
    assert_eq!(found.len(), 1);
    assert!(
        found[0].len() < 300,
        "long values are cut: {}",
        found[0].len()
    );
}

#[tokio::test]
async fn violations_over_the_limit_are_counted() {
    let data: Value = (0..5000).map(|n| (format!("k{n}"), json!(n))).collect();
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let found = found_in(vec![map("a"), map("b")]).await;
    assert_eq!(found.len(), 101);
    assert!(found[100].contains("more violations"), "{}", found[100]);
}

#[tokio::test]
async fn violations_of_all_resources_are_counted_without_messages() {
    let data: Value = (0..5000).map(|n| (format!("k{n}"), json!(n))).collect();
    let map = |n: u32| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{n}")}, "data": data});
    let package = Package::from_values((0..3).map(map)).expect("a package");
    let validation = Validation::by_schemas(Arc::new(validator()));
    let found = validation.admit(&package, true).await.expect("validated");
    assert_eq!(found.len(), 101);
    let last = found[100].to_string();
    assert!(last.contains("and 14900 more violations"), "{last}");
}

#[tokio::test]
async fn violations_below_a_very_long_key_do_not_copy_it() {
    let property = json!({"required": vec![1; 300]});
    let properties = Value::from_iter([("k".repeat(600_000), property)]);
    let found = found_in(vec![crd(
        &json!({"type": "object", "properties": properties}),
    )])
    .await;
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("keys are too long"), "{}", found[0]);
}

/// The definition of a kind with this schema for the items of a list, and a resource of the kind.
fn list_of(items: &Value, list: &Value) -> Vec<Value> {
    let crd =
        crd(&json!({"type": "object", "properties": {"list": {"type": "array", "items": items}}}));
    let resource = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"}, "list": list});
    vec![crd, resource]
}

#[tokio::test]
async fn keywords_that_take_exponential_time_to_compile_have_no_effect() {
    let items = (0..40).fold(
        json!({"type": "object"}),
        |inner, _| json!({"type": "object", "allOf": [inner], "unevaluatedProperties": false}),
    );
    // The published schema of a definition does not say what `items` may contain.
    let found = found_in(list_of(&items, &json!([{}]))).await;
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn violations_of_very_many_alternatives_are_not_made() {
    let alternatives = json!(vec![json!({"minimum": 9}); 2_000]);
    let items = json!({"anyOf": alternatives});
    assert_eq!(
        found_in(list_of(&items, &json!(vec![9; 1_000]))).await,
        Vec::<String>::new()
    );
    let found = found_in(list_of(&items, &json!(vec![1; 1_000]))).await;
    assert_eq!(found.len(), 1, "{} violations", found.len());
    assert!(
        found[0].contains("too large for the schema of its kind to list the violations"),
        "{}",
        found[0]
    );
    // With few checks, each item has its own.
    let found = found_in(list_of(&items, &json!([1, 9, 1]))).await;
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test]
async fn a_resource_that_takes_very_many_checks_is_refused() {
    let alternatives = json!(vec![json!({"pattern": "a+b$"}); 1_000]);
    let text = "a".repeat(64_000);
    let list = list_of(&json!({"anyOf": alternatives}), &json!(vec![text; 60]));
    let found = found_in(list).await;
    assert_eq!(found.len(), 1, "{} violations", found.len());
    assert!(
        found[0].contains("is too large for the schema of its kind; make it smaller"),
        "{}",
        found[0]
    );
}

#[tokio::test]
async fn the_time_of_a_package_is_linear_in_its_resources() {
    let validation = Validation::by_schemas(Arc::new(validator()));
    let maps = |count: u32| {
        let map = |n: u32| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{n}")}});
        Package::from_values((0..count).map(map)).expect("a package")
    };
    let mut times = Vec::new();
    for count in [10, 4_000, 32_000] {
        let package = maps(count);
        let start = std::time::Instant::now();
        assert!(
            validation
                .admit(&package, true)
                .await
                .expect("validated")
                .is_empty()
        );
        times.push(start.elapsed().as_secs_f64());
    }
    // Eight times as many resources: a quadratic search would take 64 times as long.
    assert!(times[2] < 30.0 * times[1], "{times:?}");
}

#[tokio::test]
async fn a_missing_target_is_an_error() {
    let one = package("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}");
    let other = package("{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}");
    let target = other.resources()[0].identifier();
    assert!(validator().validate(&one, target, true).await.is_err());
}
