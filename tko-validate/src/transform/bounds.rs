//! Rules about numbers.

use super::{Keywords, SchemaPosition};
use serde_json::{Value, json};

/// Converts the boolean `exclusiveMinimum` and `exclusiveMaximum` of older drafts, which qualify
/// the bound next to them, to numeric bounds.
pub(super) fn exclusive_bounds(keywords: &mut Keywords, _: SchemaPosition) {
    for (exclusive, bound) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        let Some(Value::Bool(is_exclusive)) = keywords.get(exclusive) else {
            continue;
        };
        if *is_exclusive && let Some(limit) = keywords.shift_remove(bound) {
            keywords.insert(exclusive.to_owned(), limit);
        } else {
            keywords.shift_remove(exclusive);
        }
    }
}

/// Converts `format: int32` and `format: int64` to bounds, unless the schema has bounds. API servers
/// keep integers of every format in 64 bits.
pub(super) fn integer_ranges(keywords: &mut Keywords, place: SchemaPosition) {
    let is_integer = match keywords.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == "integer"),
        Some(one) => one == "integer",
        None => false,
    };
    let format = keywords.get("format").and_then(Value::as_str);
    let (least, greatest) = match format {
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
        // A branch that states nothing but a type must stay one.
        _ if is_integer && !place.branch => (json!(i64::MIN), json!(i64::MAX)),
        _ => return,
    };
    if matches!(format, Some("int32" | "int64")) {
        keywords.shift_remove("format");
    }
    for (bound, exclusive, limit) in [
        ("minimum", "exclusiveMinimum", least),
        ("maximum", "exclusiveMaximum", greatest),
    ] {
        if !keywords.contains_key(exclusive) {
            keywords.entry(bound).or_insert(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{exclusive_bounds, integer_ranges};
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
    fn boolean_exclusive_bounds_become_numbers() {
        assert_eq!(
            ruled(
                exclusive_bounds,
                json!({"minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false})
            ),
            json!({"exclusiveMinimum": 0, "maximum": 9})
        );
        assert_eq!(
            ruled(exclusive_bounds, json!({"exclusiveMinimum": true})),
            json!({})
        );
        assert_eq!(
            ruled(exclusive_bounds, json!({"exclusiveMaximum": 3})),
            json!({"exclusiveMaximum": 3})
        );
    }

    #[test]
    fn integer_formats_become_bounds() {
        assert_eq!(
            ruled(
                integer_ranges,
                json!({"type": "integer", "format": "int32", "minimum": 1})
            ),
            json!({"type": "integer", "minimum": 1, "maximum": 2_147_483_647})
        );
        assert_eq!(
            ruled(integer_ranges, json!({"type": ["integer", "null"]})),
            json!({"type": ["integer", "null"], "minimum": i64::MIN, "maximum": i64::MAX})
        );
        assert_eq!(
            ruled(integer_ranges, json!({"format": "int64"})),
            json!({"minimum": i64::MIN, "maximum": i64::MAX})
        );
        assert_eq!(
            ruled(
                integer_ranges,
                json!({"format": "int64", "exclusiveMinimum": 0})
            ),
            json!({"exclusiveMinimum": 0, "maximum": i64::MAX})
        );
    }
}
