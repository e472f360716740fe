//! Rules about properties that a schema does not name.

use super::{Keywords, Place};
use serde_json::{Value, json};

/// Whether the schema says `true` for this extension.
fn says(keywords: &Keywords, extension: &str) -> bool {
    keywords.get(extension) == Some(&Value::Bool(true))
}

/// A schema that names properties and says nothing of others refuses others.
///
/// Not in a branch, which names only what it is about; nor where unknown fields are preserved.
pub(super) fn closed(keywords: &mut Keywords, place: Place) {
    let names_properties = keywords.get("properties").is_some_and(Value::is_object);
    if names_properties
        && !place.branch
        && !keywords.contains_key("additionalProperties")
        && !says(keywords, "x-kubernetes-preserve-unknown-fields")
    {
        keywords.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

/// A resource within a resource has what every resource has, though its schema need not say so.
pub(super) fn embedded_resource(keywords: &mut Keywords, _: Place) {
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
    use super::{closed, embedded_resource};
    use crate::transform::Place;
    use serde_json::{Value, json};

    fn closed_at(place: Place, mut schema: Value) -> bool {
        closed(schema.as_object_mut().expect("a map"), place);
        schema.get("additionalProperties") == Some(&json!(false))
    }

    #[test]
    fn only_a_schema_that_names_properties_and_leaves_others_open_by_silence_is_closed() {
        let top = Place::default();
        assert!(closed_at(top, json!({"properties": {"a": {}}})));
        assert!(!closed_at(Place::BRANCH, json!({"properties": {"a": {}}})));
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
    fn an_embedded_resource_has_an_identity() {
        let mut schema = json!({
            "x-kubernetes-embedded-resource": true,
            "properties": {"kind": {"enum": ["Pod"]}, "spec": {}},
            "required": ["kind"],
        });
        embedded_resource(schema.as_object_mut().expect("a map"), Place::default());
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
