//! Lists that are replaced by their items.

use serde_json::{Value, json};

use super::super::decode_placed;
use super::{Dialect, Format, Limits, encode, people, programs, read, refusal};

fn spread(value: &Value) -> Vec<Value> {
    read(
        &encode([value], Format::Cbor),
        Format::Cbor,
        Dialect::People,
    )
    .expect("well-formed")
}

#[test]
fn lists_of_people_are_replaced_by_their_items() {
    let [a, b] = ["a", "b"].map(|name| json!({"kind": "Pod", "metadata": {"name": name}}));
    for list in [
        json!({"apiVersion": "v1", "kind": "List", "items": [a, b]}),
        json!({"kind": "List", "metadata": {"name": "x"}, "items": [a, b]}),
        json!({"kind": "ResourceList", "items": [a, b], "functionConfig": {"kind": "F"}}),
        json!({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [a, b]}),
        json!({"kind": "List", "items": [{"kind": "List", "items": [a]}, b]}),
    ] {
        assert_eq!(spread(&list), [a.clone(), b.clone()], "{list}");
    }
    for empty in [
        json!({"kind": "List"}),
        json!({"kind": "List", "items": null}),
    ] {
        assert_eq!(spread(&empty), [] as [Value; 0], "{empty}");
    }
}

#[test]
fn items_of_a_typed_list_get_the_kind_that_it_implies() {
    let list = json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [
        {"metadata": {"name": "a"}},
        {"kind": "Other", "metadata": {"name": "b"}},
    ]});
    let expected = [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}),
        json!({"kind": "Other", "metadata": {"name": "b"}}),
    ];
    let read = spread(&list);
    assert_eq!(read, expected);
    assert_eq!(
        read[0]
            .as_object()
            .and_then(|map| map.keys().next())
            .map(String::as_str),
        Some("apiVersion")
    );
}

#[test]
fn resources_that_only_look_like_lists_stay() {
    for resource in [
        json!({"kind": "AllowList", "metadata": {"name": "a"}, "items": []}),
        json!({"kind": "AllowList", "metadata": {}}),
        json!({"kind": "AllowList", "items": {}}),
        json!({"kind": "Listing", "items": [{}]}),
        json!({"items": [{}]}),
        json!({"kind": 1, "items": [{}]}),
    ] {
        assert_eq!(spread(&resource), [resource]);
    }
}

#[test]
fn lists_from_programs_are_resources() {
    let text = "kind: List\nitems: [{a: 1}]";
    assert_eq!(
        programs(text),
        Ok(vec![json!({"kind": "List", "items": [{"a": 1}]})])
    );
    assert_eq!(people(text), Ok(vec![json!({"a": 1})]));
}

#[test]
fn items_that_are_not_maps_are_refused_by_position() {
    let message = refusal(people("kind: List\nitems: [{a: 1}, 2]"));
    assert!(
        message.contains("item 2, line 1, column 1: expected a map"),
        "{message}"
    );
    assert!(refusal(people("kind: List\nitems: 1")).contains("found a number"));
}

#[test]
fn items_count_against_the_limit_of_documents() {
    let limits = Limits {
        documents: 2,
        ..Limits::default()
    };
    let read = |text: &str| decode_placed(text.as_bytes(), Format::Yaml, Dialect::People, &limits);
    assert!(read("kind: List\nitems: [{a: 1}, {a: 2}]").is_ok());
    let error = read("kind: List\nitems: [{a: 1}, {a: 2}, {a: 3}]").expect_err("too many");
    assert!(
        error
            .to_string()
            .contains("more than 2 documents; split it"),
        "{error}"
    );
}
