//! The rule that allows any field to be missing.

use super::{Keywords, SchemaPosition};
use serde_json::Value;

/// Removes requirements and keeps everything else that the schema states.
///
/// - `required` and its relatives are removed, except within a condition, whose meaning would change.
/// - `oneOf` whose branches had required properties becomes `anyOf`: several branches may now match.
/// - A choice with a branch that no longer states anything is removed, because it always matches.
pub(super) fn nothing_required(keywords: &mut Keywords, place: SchemaPosition) {
    if place.condition {
        return;
    }
    for keyword in ["required", "dependentRequired", "dependencies"] {
        keywords.shift_remove(keyword);
    }
    // The branches were processed first, so it is unknown whether they had requirements. Every
    // choice is treated as if they had.
    if let Some(Value::Array(branches)) = keywords.shift_remove("oneOf") {
        choose(keywords, branches);
    }
    if let Some(Value::Array(branches)) = keywords.shift_remove("anyOf") {
        choose(keywords, branches);
    }
}

/// Adds a choice of which at least one branch must match, unless the choice states nothing.
fn choose(keywords: &mut Keywords, branches: Vec<Value>) {
    let says_nothing = |branch: &Value| match branch {
        Value::Object(keywords) => keywords.is_empty(),
        other => *other == Value::Bool(true),
    };
    if branches.is_empty() || branches.iter().any(says_nothing) {
        return;
    }
    if !keywords.contains_key("anyOf") {
        keywords.insert("anyOf".to_owned(), Value::Array(branches));
        return;
    }
    let choice = Value::Object(
        [("anyOf".to_owned(), Value::Array(branches))]
            .into_iter()
            .collect(),
    );
    match keywords.get_mut("allOf") {
        Some(Value::Array(all)) => all.push(choice),
        _ => {
            keywords.insert("allOf".to_owned(), Value::Array(vec![choice]));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::transform;
    use serde_json::{Value, json};

    fn partial(mut schema: Value) -> Value {
        transform(&mut schema, false);
        schema
    }

    #[test]
    fn nothing_is_required() {
        assert_eq!(
            partial(json!({"required": ["a"], "dependentRequired": {"a": ["b"]}})),
            json!({})
        );
    }

    #[test]
    fn choices_between_required_properties_are_removed() {
        for choice in ["oneOf", "anyOf"] {
            assert_eq!(
                partial(json!({choice: [{"required": ["a"]}, {"required": ["b"]}]})),
                json!({})
            );
        }
    }

    #[test]
    fn other_choices_stay_and_may_match_together() {
        assert_eq!(
            partial(json!({"oneOf": [
                {"properties": {"a": {"const": 1}}, "required": ["a"]},
                {"properties": {"b": {"const": 2}}, "required": ["b"]},
            ]})),
            json!({"anyOf": [
                {"properties": {"a": {"anyOf": [{"type": "null"}, {"const": 1}]}}},
                {"properties": {"b": {"anyOf": [{"type": "null"}, {"const": 2}]}}},
            ]})
        );
    }

    #[test]
    fn two_choices_beside_each_other_both_stay() {
        assert_eq!(
            partial(json!({
                "anyOf": [{"minimum": 1}, {"maximum": 0}],
                "oneOf": [{"minimum": 5}, {"maximum": 3}],
            })),
            json!({
                "anyOf": [{"minimum": 1}, {"maximum": 0}],
                "allOf": [{"anyOf": [{"minimum": 5}, {"maximum": 3}]}],
            })
        );
    }

    #[test]
    fn exclusive_properties_stay_exclusive() {
        let schema = json!({"not": {"required": ["a", "b"]}});
        assert_eq!(partial(schema.clone()), schema);
        let schema = json!({"not": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}});
        assert_eq!(partial(schema.clone()), schema);
    }
}
