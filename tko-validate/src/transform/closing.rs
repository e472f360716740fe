//! Rules about properties that a schema does not name.

use super::{Keywords, SchemaPosition};
use serde_json::{Value, json};

/// Returns true if the schema sets this extension to `true`.
fn says(keywords: &Keywords, extension: &str) -> bool {
    keywords.get(extension) == Some(&Value::Bool(true))
}

/// Refuses other properties in a schema that names properties and does not mention others.
///
/// Branches are left open, because they name only a part. So are schemas that preserve unknown
/// fields.
pub(super) fn closed(keywords: &mut Keywords, place: SchemaPosition) {
    let names_properties = keywords.get("properties").is_some_and(Value::is_object);
    if names_properties
        && !place.branch
        && !keywords.contains_key("additionalProperties")
        && !says(keywords, "x-kubernetes-preserve-unknown-fields")
    {
        keywords.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

/// Like [`closed`], for custom kinds: a map without named properties is closed, too, unless it says
/// that it preserves unknown fields.
pub(super) fn custom_closed(keywords: &mut Keywords, place: SchemaPosition) {
    let is_map = keywords.get("type").is_some_and(|types| match types {
        Value::Array(types) => types.iter().any(|one| one == "object"),
        one => one == "object",
    });
    if is_map && !place.branch && !keywords.contains_key("properties") {
        keywords.insert("properties".to_owned(), json!({}));
    }
    closed(keywords, place);
}

/// Adds the fields of every resource to an embedded resource, because its schema need not mention
/// them.
pub(super) fn embedded_resource(keywords: &mut Keywords, _: SchemaPosition) {
    if !says(keywords, "x-kubernetes-embedded-resource") {
        return;
    }
    let properties = keywords.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for (name, schema) in [
            ("apiVersion", json!({"type": "string"})),
            ("kind", json!({"type": "string"})),
            ("metadata", json!({"type": "object"})),
        ] {
            properties.entry(name).or_insert(schema);
        }
    }
    let required = keywords.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        for name in ["apiVersion", "kind"] {
            if !required.iter().any(|there| there == name) {
                required.push(json!(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{closed, custom_closed, embedded_resource};
    use crate::transform::SchemaPosition;
    use serde_json::{Value, json};

    fn closed_at(place: SchemaPosition, mut schema: Value) -> bool {
        closed(schema.as_object_mut().expect("a map"), place);
        schema.get("additionalProperties") == Some(&json!(false))
    }

    #[test]
    fn only_a_schema_with_properties_and_no_rule_for_others_is_closed() {
        let top = SchemaPosition::default();
        assert!(closed_at(top, json!({"properties": {"a": {}}})));
        assert!(!closed_at(
            SchemaPosition::BRANCH,
            json!({"properties": {"a": {}}})
        ));
        assert!(!closed_at(top, json!({"type": "object"})));
        assert!(!closed_at(
            top,
            json!({"properties": {}, "additionalProperties": {"type": "string"}})
        ));
        assert!(!closed_at(
            top,
            json!({"properties": {}, "x-kubernetes-preserve-unknown-fields": true})
        ));
    }

    #[test]
    fn a_map_of_a_custom_kind_is_closed_unless_it_says_otherwise() {
        let closed_at = |place, mut schema: Value| {
            custom_closed(schema.as_object_mut().expect("a map"), place);
            schema.get("additionalProperties") == Some(&json!(false))
        };
        let top = SchemaPosition::default();
        assert!(closed_at(top, json!({"type": ["object", "null"]})));
        assert!(!closed_at(
            SchemaPosition::BRANCH,
            json!({"type": "object"})
        ));
        assert!(!closed_at(top, json!({"type": "string"})));
        assert!(!closed_at(
            top,
            json!({"type": "object", "additionalProperties": {"type": "string"}})
        ));
        assert!(!closed_at(
            top,
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
        ));
    }

    #[test]
    fn an_embedded_resource_has_an_identity() {
        let mut schema = json!({
            "x-kubernetes-embedded-resource": true,
            "properties": {"kind": {"enum": ["Pod"]}, "spec": {}},
            "required": ["kind"],
        });
        embedded_resource(
            schema.as_object_mut().expect("a map"),
            SchemaPosition::default(),
        );
        assert_eq!(
            schema["properties"],
            json!({
                "kind": {"enum": ["Pod"]}, "spec": {},
                "apiVersion": {"type": "string"}, "metadata": {"type": "object"},
            })
        );
        assert_eq!(schema["required"], json!(["kind", "apiVersion"]));
    }
}
