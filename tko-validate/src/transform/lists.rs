//! Rules about lists that are sets or maps.

use super::{Keywords, SchemaPosition};
use crate::unique::UNIQUE_BY;
use serde_json::Value;

/// Refuses duplicates in `x-kubernetes-list-type: set`, and duplicate keys in `map`.
pub(super) fn list_types(keywords: &mut Keywords, _: SchemaPosition) {
    let list_type = keywords
        .get("x-kubernetes-list-type")
        .and_then(Value::as_str);
    match list_type {
        Some("set") => {
            keywords.insert("uniqueItems".to_owned(), Value::Bool(true));
        }
        Some("map") => {
            if let Some(keys @ Value::Array(_)) =
                keywords.get("x-kubernetes-list-map-keys").cloned()
            {
                keywords.insert(UNIQUE_BY.to_owned(), keys);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::list_types;
    use crate::transform::SchemaPosition;
    use serde_json::json;

    #[test]
    fn sets_have_unique_items_and_maps_unique_keys() {
        for (mut schema, keyword, value) in [
            (
                json!({"x-kubernetes-list-type": "set"}),
                "uniqueItems",
                json!(true),
            ),
            (
                json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
                "x-tko-unique-by",
                json!(["name"]),
            ),
        ] {
            list_types(
                schema.as_object_mut().expect("a map"),
                SchemaPosition::default(),
            );
            assert_eq!(schema[keyword], value);
        }
    }
}
