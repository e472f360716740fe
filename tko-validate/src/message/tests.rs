use super::phrases::{distance, unknown_property};
use super::{Explainer, path};
use crate::finding::Findings;
use serde_json::{Value, json};

fn findings(schema: &Value, resource: &Value, limit: usize) -> Findings {
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let mut explainer = Explainer::new(resource, limit, || schema);
    for error in validator.iter_errors(resource) {
        explainer.add(&error);
    }
    explainer.finish()
}

fn said(schema: &Value, resource: &Value) -> Vec<String> {
    findings(schema, resource, 100)
        .list
        .into_iter()
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect()
}

#[test]
fn paths_are_written_as_people_write_them() {
    let root = json!({"a": [{"b/c": {"0": 1}, "d~e": 2, "": 3}]});
    assert_eq!(path("", &root), "");
    assert_eq!(path("/a/0/b~1c/0", &root), "a[0]['b/c'].0");
    assert_eq!(path("/a/0/d~0e", &root), "a[0]['d~e']");
    assert_eq!(path("/a/0/", &root), "a[0]['']");
}

#[test]
fn unknown_properties_are_named_one_by_one_with_the_nearest_known() {
    let schema =
        json!({"properties": {"replicas": {}, "paused": {}}, "additionalProperties": false});
    assert_eq!(
        said(&schema, &json!({"Replica": 1, "zzz": 2})),
        [
            "Replica: is not a known property; did you mean replicas?",
            "zzz: is not a known property; there are replicas, paused",
        ]
    );
}

#[test]
fn missing_properties_are_reported_at_their_path() {
    let schema = json!({"properties": {"a": {"items": {"required": ["name"]}}}});
    assert_eq!(
        said(&schema, &json!({"a": [{"name": 1}, {}]})),
        ["a[1].name: is required and missing"]
    );
}

#[test]
fn messages_name_types_and_values() {
    let schema = json!({"properties": {
        "a": {"type": ["integer", "null"]},
        "b": {"enum": ["X", "Y", "", null]},
        "c": {"type": ["string", "boolean"]},
        "d": {"type": "object"},
        "e": {"type": "string", "enum": ["X"]},
    }});
    assert_eq!(
        said(
            &schema,
            &json!({"a": "3", "b": "Z", "c": [], "d": null, "e": 1})
        ),
        [
            "a: must be an integer, but is the text \"3\"",
            "b: must be one of X, Y, but is the text \"Z\"",
            "c: must be true or false or text, but is a list",
            "d: must be a map, but is null",
            "e: must be text, but is 1",
        ]
    );
}

#[test]
fn long_values_are_cut() {
    let found = said(&json!({"type": "integer"}), &json!("ä".repeat(1000)));
    assert!(found[0].len() < 250, "{found:?}");
}

#[test]
fn a_choice_with_null_is_explained_by_the_other_branch() {
    let schema = json!({"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]});
    assert_eq!(said(&schema, &json!({})), ["a: is required and missing"]);
    assert_eq!(
        said(&schema, &json!(3)),
        [": must be null, but is 3", ": must be a map, but is 3"]
    );
}

#[test]
fn a_choice_of_required_properties_lists_them() {
    let schema =
        json!({"properties": {"spec": {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}}});
    assert_eq!(
        said(&schema, &json!({"spec": {}})),
        ["spec: must have one of a, b"]
    );
    assert_eq!(
        said(&schema, &json!({"spec": {"a": 1, "b": 2}})),
        ["spec: matches several alternatives; only one is allowed"]
    );
}

#[test]
fn findings_over_the_limit_are_counted() {
    let schema = json!({"items": {"type": "integer"}});
    let resource = Value::Array((0..250).map(|_| json!("x")).collect());
    let found = findings(&schema, &resource, 100);
    assert_eq!((found.list.len(), found.more), (100, 150));
}

#[test]
fn unknown_properties_over_the_limit_are_only_counted() {
    // The edit distance of each to each that is known would take minutes.
    let known: serde_json::Map<String, Value> =
        (0..900).map(|n| (format!("{n:0>64}"), json!({}))).collect();
    let schema = json!({"properties": known, "additionalProperties": false});
    let resource: Value = (0..20_000).map(|n| (format!("{n:x>64}"), n)).collect();
    let found = findings(&schema, &resource, 3);
    assert_eq!((found.list.len(), found.more), (3, 19_997));

    // Also those of a value for which there is no room at all.
    let schema = json!({"items": {"properties": {"a": {}}, "additionalProperties": false}});
    let resource = json!([{"b": 1, "c": 2, "d": 3}, {"b": 1, "c": 2, "d": 3}]);
    let found = findings(&schema, &resource, 2);
    assert_eq!((found.list.len(), found.more), (2, 4));
}

#[test]
fn an_unknown_property_is_compared_with_the_first_of_very_many() {
    let known: Vec<String> = (0..2_000).map(|n| format!("property{n:0>4}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let message = |name: &str| unknown_property(name, &known);
    assert!(message("Property0999").ends_with("did you mean property0999?"));
    assert!(!message("Property1999").contains("property1999"));
}

#[test]
fn values_are_hidden_on_demand() {
    let schema = json!({"properties": {"password": {"maxLength": 3}}});
    let resource = json!({"password": "hunter2"});
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let mut explainer = Explainer::new(&resource, 10, || &schema);
    explainer.hide_values();
    for error in validator.iter_errors(&resource) {
        explainer.add(&error);
    }
    let found = explainer.finish();
    assert_eq!(found.list.len(), 1);
    assert!(!found.list[0].message.contains("hunter2"));
}

#[test]
fn distance_counts_changed_letters() {
    assert_eq!(distance("image", "image"), 0);
    assert_eq!(distance("Image", "images"), 1);
    assert_eq!(distance("abc", "xyz"), 3);
    assert_eq!(distance("", "ab"), 2);
}
