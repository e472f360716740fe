//! Rules about types, including null.

use super::{Keywords, SchemaPosition};
use crate::formats;
use serde_json::{Value, json};

/// Removes keywords that a `CustomResourceDefinition` cannot have and that can take much time or
/// memory: API servers drop or refuse them.
///
/// The schema library takes exponential time for nested `unevaluated…`. Rules do not reach the
/// subschemas of `dependencies` and `propertyNames`, which could contain them.
pub(super) fn without_unknown_keywords(keywords: &mut Keywords, _: SchemaPosition) {
    for keyword in [
        "dependencies",
        "patternProperties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    ] {
        keywords.shift_remove(keyword);
    }
}

/// Removes keywords that would tie a schema to its origin, and formats that are not checked.
pub(super) fn without_foreign_keywords(keywords: &mut Keywords, _: SchemaPosition) {
    for keyword in ["$schema", "$id", "id", "$vocabulary", "$comment"] {
        if keywords
            .get(keyword)
            .is_some_and(|value| !value.is_object())
        {
            keywords.shift_remove(keyword);
        }
    }
    let format = keywords.get("format").and_then(Value::as_str);
    if format.is_some_and(|format| format != "int-or-string" && !formats::is_checked(format)) {
        keywords.shift_remove("format");
    }
}

/// Converts both notations for "an integer or a string" to a list of types.
pub(super) fn int_or_string(keywords: &mut Keywords, _: SchemaPosition) {
    let by_format = keywords.get("format").and_then(Value::as_str) == Some("int-or-string");
    let by_extension = keywords.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    if !by_format && !by_extension {
        return;
    }
    if by_format {
        keywords.shift_remove("format");
    }
    for choice in ["anyOf", "oneOf"] {
        if type_branches(keywords, choice).is_some() {
            keywords.shift_remove(choice);
        }
    }
    keywords.insert("type".to_owned(), json!(["integer", "string"]));
}

/// Converts a choice between types alone to a list of types. Null then matches once instead of once
/// per branch, and messages state the expected types.
pub(super) fn merged_type_branches(keywords: &mut Keywords, _: SchemaPosition) {
    for choice in ["anyOf", "oneOf"] {
        if keywords.contains_key("type") {
            return;
        }
        if let Some(types) = type_branches(keywords, choice) {
            keywords.shift_remove(choice);
            keywords.insert("type".to_owned(), types);
        }
    }
}

/// Returns the types of a choice if every branch states a type and nothing else.
fn type_branches(keywords: &Keywords, choice: &str) -> Option<Value> {
    let branches = keywords.get(choice)?.as_array()?;
    let mut types: Vec<Value> = Vec::new();
    for branch in branches {
        let branch = branch.as_object().filter(|branch| branch.len() == 1)?;
        let named = match branch.get("type")? {
            Value::Array(named) => named.clone(),
            one => vec![one.clone()],
        };
        for one in named {
            if !types.contains(&one) {
                types.push(one);
            }
        }
    }
    (!types.is_empty()).then_some(Value::Array(types))
}

/// Converts `nullable: true`, an `OpenAPI` keyword, to a type.
pub(super) fn nullable(keywords: &mut Keywords, _: SchemaPosition) {
    if keywords.shift_remove("nullable") == Some(Value::Bool(true)) {
        let mut schema = Value::Object(std::mem::take(keywords));
        accept_null(&mut schema);
        if let Value::Object(changed) = schema {
            *keywords = changed;
        }
    }
}

/// Like [`nullable`], for custom kinds: an enumeration refuses null, even if it names null.
pub(super) fn custom_nullable(keywords: &mut Keywords, place: SchemaPosition) {
    if keywords.contains_key("enum") {
        keywords.shift_remove("nullable");
    } else {
        nullable(keywords, place);
    }
}

/// Treats null in an optional property as missing, as API servers do.
///
/// Conditions are left unchanged, because accepting more there refuses more elsewhere.
pub(super) fn optional_properties_accept_null(keywords: &mut Keywords, place: SchemaPosition) {
    if place.condition {
        return;
    }
    let required = match keywords.get("required") {
        Some(Value::Array(names)) => names.clone(),
        _ => Vec::new(),
    };
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        for (name, schema) in properties {
            if !required.iter().any(|one| one == name) {
                accept_null(schema);
            }
        }
    }
}

/// Refuses null in references to required properties.
///
/// Definitions accept null, because most references belong to optional properties. Times are
/// exempt: API servers themselves write null for a time that is not set.
pub(super) fn required_references_refuse_null(keywords: &mut Keywords, place: SchemaPosition) {
    if place.condition {
        return;
    }
    let Some(Value::Array(required)) = keywords.get("required").cloned() else {
        return;
    };
    let Some(Value::Object(properties)) = keywords.get_mut("properties") else {
        return;
    };
    for name in required.iter().filter_map(Value::as_str) {
        let Some(Value::Object(schema)) = properties.get_mut(name) else {
            continue;
        };
        let reference = schema.get("$ref").and_then(Value::as_str).unwrap_or("Time");
        if !reference.ends_with("Time") {
            schema.entry("type").or_insert_with(|| json!(NOT_NULL));
        }
    }
}

/// All types except null.
const NOT_NULL: [&str; 5] = ["array", "boolean", "number", "object", "string"];

/// Like [`optional_properties_accept_null`], where nothing is required.
pub(super) fn all_properties_accept_null(keywords: &mut Keywords, place: SchemaPosition) {
    if place.condition {
        return;
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(accept_null);
    }
}

/// Changes a schema so that it accepts null.
///
/// References stay unchanged: they point to definitions, which are processed on their own.
pub(crate) fn accept_null(schema: &mut Value) {
    const MAY_REFUSE: [&str; 6] = ["const", "allOf", "anyOf", "oneOf", "not", "if"];
    let Value::Object(keywords) = schema else {
        return;
    };
    if keywords.contains_key("$ref") {
        return;
    }
    if MAY_REFUSE
        .iter()
        .any(|keyword| keywords.contains_key(*keyword))
    {
        let inner = schema.take();
        *schema = json!({"anyOf": [{"type": "null"}, inner]});
        return;
    }
    let null = json!("null");
    match keywords.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&null) => types.push(null),
        Some(Value::String(one)) if one != "null" => {
            let one = std::mem::take(one);
            keywords.insert("type".to_owned(), json!([one, "null"]));
        }
        _ => {}
    }
    if let Some(Value::Array(values)) = keywords.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        NOT_NULL, accept_null, int_or_string, merged_type_branches, nullable,
        optional_properties_accept_null, required_references_refuse_null, without_foreign_keywords,
        without_unknown_keywords,
    };
    use crate::transform::{Rule, SchemaPosition};
    use serde_json::{Value, json};

    fn ruled(rule: Rule, mut schema: Value) -> Value {
        rule(
            schema.as_object_mut().expect("a map"),
            SchemaPosition::default(),
        );
        schema
    }

    #[test]
    fn both_spellings_of_int_or_string_become_types() {
        let wanted = json!(["integer", "string"]);
        for schema in [
            json!({"type": "string", "format": "int-or-string"}),
            json!({"x-kubernetes-int-or-string": true}),
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ] {
            let schema = ruled(int_or_string, schema);
            assert_eq!(schema["type"], wanted);
            assert_eq!(schema.get("anyOf"), None);
            assert_eq!(schema.get("format"), None);
        }
    }

    #[test]
    fn a_choice_of_types_becomes_a_list_of_types() {
        assert_eq!(
            ruled(
                merged_type_branches,
                json!({"oneOf": [{"type": ["string", "null"]}, {"type": ["number", "null"]}]})
            ),
            json!({"type": ["string", "null", "number"]})
        );
        let more = json!({"oneOf": [{"type": "string", "maxLength": 3}, {"type": "number"}]});
        assert_eq!(ruled(merged_type_branches, more.clone()), more);
    }

    #[test]
    fn nullable_becomes_a_type() {
        assert_eq!(
            ruled(
                nullable,
                json!({"type": "string", "enum": ["a"], "nullable": true})
            ),
            json!({"type": ["string", "null"], "enum": ["a", null]})
        );
        assert_eq!(
            ruled(nullable, json!({"type": "string", "nullable": false})),
            json!({"type": "string"})
        );
        assert_eq!(
            ruled(
                nullable,
                json!({"type": "string", "not": {"const": ""}, "nullable": true})
            ),
            json!({"anyOf": [{"type": "null"}, {"type": "string", "not": {"const": ""}}]})
        );
    }

    #[test]
    fn only_optional_properties_accept_null() {
        assert_eq!(
            ruled(
                optional_properties_accept_null,
                json!({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a"]})
            )["properties"],
            json!({"a": {"type": "string"}, "b": {"type": ["string", "null"]}})
        );
    }

    #[test]
    fn required_references_refuse_null_unless_they_are_times() {
        let schema = json!({
            "properties": {
                "a": {"$ref": "#/$defs/a"},
                "b": {"$ref": "#/$defs/a"},
                "c": {"$ref": "#/$defs/MicroTime"},
                "d": {"type": "string"},
            },
            "required": ["a", "c", "d"],
        });
        let mut wanted = schema.clone();
        wanted["properties"]["a"]["type"] = json!(NOT_NULL);
        assert_eq!(ruled(required_references_refuse_null, schema), wanted);
    }

    #[test]
    fn accepting_null_is_idempotent() {
        let mut schema = json!({"type": "string", "enum": ["a"]});
        accept_null(&mut schema);
        let once = schema.clone();
        accept_null(&mut schema);
        assert_eq!(schema, once);
    }

    #[test]
    fn keywords_that_cost_much_are_removed_and_properties_of_that_name_stay() {
        let schema = json!({
            "dependencies": {"a": {}},
            "patternProperties": {"^a": {}},
            "properties": {"patternProperties": {}},
            "propertyNames": {"allOf": [{"unevaluatedProperties": false}]},
            "unevaluatedItems": false,
            "unevaluatedProperties": false,
        });
        assert_eq!(
            ruled(without_unknown_keywords, schema),
            json!({"properties": {"patternProperties": {}}})
        );
    }

    #[test]
    fn foreign_keywords_and_formats_are_removed() {
        assert_eq!(
            ruled(
                without_foreign_keywords,
                json!({"$schema": "x", "$id": "y", "format": "mine", "properties": {"id": {}}})
            ),
            json!({"properties": {"id": {}}})
        );
        assert_eq!(
            ruled(without_foreign_keywords, json!({"format": "date-time"})),
            json!({"format": "date-time"})
        );
    }
}
