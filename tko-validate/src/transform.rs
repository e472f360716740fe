//! Turns published schemas into strict JSON Schema 2020-12, for complete or for partial resources.
//!
//! A [`Rule`] changes one schema object and looks no deeper. [`apply`] applies rules to every
//! schema in a document, innermost first, so a rule can rely on its subschemas being finished.

mod bounds;
mod closing;
mod kubernetes;
mod lists;
mod missing;
mod types;

pub(crate) use kubernetes::{OBJECT_META, amend_definition, identity};
pub(crate) use types::accept_null;

use serde_json::{Map, Value};

/// The keys of a schema object.
pub(crate) type Keywords = Map<String, Value>;

/// Changes one schema object; `place` is its position in the document.
type Rule = fn(&mut Keywords, SchemaPosition);

/// Position of a schema in its document.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SchemaPosition {
    /// Within `allOf`, `anyOf`, `oneOf`, `not` or `if`: the schema describes only a part of the
    /// value.
    branch: bool,
    /// Within `not` or `if`: requiring less here would refuse more elsewhere.
    condition: bool,
}

impl SchemaPosition {
    const BRANCH: Self = Self {
        branch: true,
        condition: false,
    };
    const CONDITION: Self = Self {
        branch: true,
        condition: true,
    };

    /// Combines the position of a schema with that of its subschema.
    fn within(self, there: Self) -> Self {
        Self {
            branch: self.branch || there.branch,
            condition: self.condition || there.condition,
        }
    }
}

/// Rules for resources that must be complete.
const COMPLETE: &[Rule] = &[
    types::without_foreign_keywords,
    types::int_or_string,
    types::merged_type_branches,
    types::nullable,
    bounds::exclusive_bounds,
    bounds::integer_ranges,
    closing::embedded_resource,
    types::optional_properties_accept_null,
    types::required_references_refuse_null,
    closing::closed,
];

/// Rules for resources in which fields may still be missing.
const PARTIAL: &[Rule] = &[
    types::without_foreign_keywords,
    types::int_or_string,
    types::merged_type_branches,
    types::nullable,
    bounds::exclusive_bounds,
    bounds::integer_ranges,
    closing::embedded_resource,
    types::all_properties_accept_null,
    missing::nothing_required,
    closing::closed,
];

/// Rules for complete resources of custom kinds. What null means is decided before validation, see
/// [`Structural`](crate::structural::Structural).
const CUSTOM_COMPLETE: &[Rule] = &[
    types::without_unknown_keywords,
    types::without_foreign_keywords,
    types::int_or_string,
    types::merged_type_branches,
    types::custom_nullable,
    bounds::exclusive_bounds,
    bounds::integer_ranges,
    closing::embedded_resource,
    lists::list_types,
    closing::custom_closed,
];

/// Like [`CUSTOM_COMPLETE`], for resources in which fields may still be missing.
const CUSTOM_PARTIAL: &[Rule] = &[
    types::without_unknown_keywords,
    types::without_foreign_keywords,
    types::int_or_string,
    types::merged_type_branches,
    types::custom_nullable,
    bounds::exclusive_bounds,
    bounds::integer_ranges,
    closing::embedded_resource,
    lists::list_types,
    missing::nothing_required,
    closing::custom_closed,
];

/// Like [`transform`], for the schema of a custom kind as its definition states it.
pub(crate) fn transform_custom(schema: &mut Value, complete: bool) {
    let rules = if complete {
        CUSTOM_COMPLETE
    } else {
        CUSTOM_PARTIAL
    };
    apply(schema, SchemaPosition::default(), rules);
}

/// Makes a schema and its subschemas strict, for complete or for partial resources.
pub(crate) fn transform(schema: &mut Value, complete: bool) {
    let rules = if complete { COMPLETE } else { PARTIAL };
    apply(schema, SchemaPosition::default(), rules);
}

fn apply(schema: &mut Value, place: SchemaPosition, rules: &[Rule]) {
    let Value::Object(keywords) = schema else {
        return;
    };
    for (child, there) in children_mut(keywords) {
        apply(child, place.within(there), rules);
    }
    for rule in rules {
        rule(keywords, place);
    }
}

/// Returns the schemas directly within a schema object.
///
/// Definitions are positions of their own, wherever they are referred to from.
fn children_mut(keywords: &mut Keywords) -> Vec<(&mut Value, SchemaPosition)> {
    let mut children = Vec::new();
    for (keyword, value) in keywords.iter_mut() {
        let (place, shape) = match keyword.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                (SchemaPosition::default(), ChildShape::Map)
            }
            "dependentSchemas" => (SchemaPosition::BRANCH, ChildShape::Map),
            "allOf" | "anyOf" | "oneOf" => (SchemaPosition::BRANCH, ChildShape::List),
            "prefixItems" => (SchemaPosition::default(), ChildShape::List),
            "then" | "else" => (SchemaPosition::BRANCH, ChildShape::One),
            "not" | "if" => (SchemaPosition::CONDITION, ChildShape::One),
            "items" | "additionalProperties" | "contains" => {
                (SchemaPosition::default(), ChildShape::One)
            }
            _ => continue,
        };
        match (shape, value) {
            (ChildShape::Map, Value::Object(map)) => {
                children.extend(map.values_mut().map(|child| (child, place)));
            }
            (ChildShape::List, Value::Array(list)) => {
                children.extend(list.iter_mut().map(|child| (child, place)));
            }
            (ChildShape::One, child) => children.push((child, place)),
            (ChildShape::Map | ChildShape::List, _) => {}
        }
    }
    children
}

enum ChildShape {
    One,
    List,
    Map,
}

/// Returns a copy without descriptions and without keywords that are null, which API servers treat
/// as absent. Properties with such names are kept.
pub(crate) fn without_prose(schema: &Value) -> Value {
    const PROSE: [&str; 6] = [
        "description",
        "title",
        "default",
        "example",
        "examples",
        "externalDocs",
    ];
    match schema {
        Value::Object(keywords) => keywords
            .iter()
            .filter(|(keyword, value)| !PROSE.contains(&keyword.as_str()) && !value.is_null())
            .map(|(keyword, value)| {
                let value = match (keyword.as_str(), value) {
                    (
                        "properties" | "patternProperties" | "$defs" | "definitions",
                        Value::Object(map),
                    ) => map
                        .iter()
                        .map(|(name, schema)| (name.clone(), without_prose(schema)))
                        .collect(),
                    ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                        list.iter().map(without_prose).collect()
                    }
                    ("items" | "additionalProperties" | "not", schema) => without_prose(schema),
                    (_, other) => other.clone(),
                };
                (keyword.clone(), value)
            })
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{transform, without_prose};
    use serde_json::{Value, json};

    fn transformed(mut schema: Value, complete: bool) -> Value {
        transform(&mut schema, complete);
        schema
    }

    #[test]
    fn rules_reach_every_depth() {
        let schema = json!({
            "type": "object",
            "properties": {"list": {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            }},
        });
        assert_eq!(
            transformed(schema.clone(), true),
            json!({
                "type": "object",
                "properties": {"list": {
                    "type": ["array", "null"],
                    "items": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}},
                        "required": ["a"],
                        "additionalProperties": false,
                    },
                }},
                "additionalProperties": false,
            })
        );
        assert_eq!(
            transformed(schema, false)["properties"]["list"]["items"],
            json!({
                "type": "object",
                "properties": {"a": {"type": ["string", "null"]}},
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn branches_are_never_closed() {
        let schema = json!({
            "properties": {"a": {}},
            "anyOf": [{"properties": {"a": {"properties": {"b": {}}}}}],
        });
        let schema = transformed(schema, true);
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["anyOf"][0].get("additionalProperties"), None);
        assert_eq!(
            schema["anyOf"][0]["properties"]["a"].get("additionalProperties"),
            None
        );
    }

    #[test]
    fn descriptions_are_removed_and_properties_of_that_name_stay() {
        assert_eq!(
            without_prose(&json!({
                "description": "x",
                "properties": {"default": {"title": "x", "enum": ["description"]}},
                "items": {"default": 1, "type": null},
            })),
            json!({"properties": {"default": {"enum": ["description"]}}, "items": {}})
        );
    }
}
