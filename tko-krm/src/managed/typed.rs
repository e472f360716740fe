//! Values with schemas: their fields, merging, comparing, and removing fields.

use super::set::{FieldSet, PathElement};
use serde_json::{Map, Value};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// How a value is divided into fields.
enum Shape<'a> {
    /// A map with known keys.
    Struct(&'a Map<String, Value>),
    /// A map with any keys, whose values have this schema.
    Map(&'a Value),
    /// A list of maps that are identified by these keys, whose items have this schema.
    Keyed(Vec<&'a str>, &'a Value),
    /// A list without repetitions.
    Set,
    /// One field.
    Atomic,
}

fn shape(schema: &Value) -> Shape<'_> {
    let list = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
    match list {
        Some("set") => return Shape::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            let keys = keys.into_iter().flatten().filter_map(Value::as_str);
            return Shape::Keyed(keys.collect(), &schema["items"]);
        }
        _ => {}
    }
    match (schema.get("properties"), schema.get("additionalProperties")) {
        (Some(Value::Object(properties)), _) => Shape::Struct(properties),
        (_, Some(values @ Value::Object(_))) => Shape::Map(values),
        _ => Shape::Atomic,
    }
}

/// The step to an item of a keyed list; `None` if a key is missing.
fn key_of(item: &Value, keys: &[&str]) -> Option<PathElement> {
    let keys = keys
        .iter()
        .map(|key| Some(((*key).to_owned(), item.get(key)?.clone())))
        .collect::<Option<Map<_, _>>>()?;
    Some(PathElement::Key(Value::Object(keys).to_string()))
}

fn value_of(item: &Value) -> PathElement {
    PathElement::Value(item.to_string())
}

/// The parts of a value, each with its step and its schema; `None` if it is one field.
fn parts<'v>(
    value: &'v Value,
    schema: &'v Value,
) -> Option<Vec<(PathElement, &'v Value, &'v Value)>> {
    let field = |key: &String| PathElement::Field(key.clone());
    Some(match (shape(schema), value) {
        (Shape::Struct(properties), Value::Object(map)) => map
            .iter()
            .map(|(key, value)| {
                let schema = properties.get(key).unwrap_or(&Value::Null);
                (field(key), value, schema)
            })
            .collect(),
        (Shape::Map(schema), Value::Object(map)) => map
            .iter()
            .map(|(key, value)| (field(key), value, schema))
            .collect(),
        (Shape::Keyed(keys, schema), Value::Array(items)) => items
            .iter()
            .filter_map(|item| Some((key_of(item, &keys)?, item, schema)))
            .collect(),
        (Shape::Set, Value::Array(items)) => items
            .iter()
            .map(|item| (value_of(item), item, &Value::Null))
            .collect(),
        _ => return None,
    })
}

fn is_struct(schema: &Value) -> bool {
    matches!(shape(schema), Shape::Struct(_))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The fields of a value.
pub(super) fn fields(value: &Value, schema: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    let Some(parts) = parts(value, schema) else {
        return set;
    };
    let known = is_struct(schema);
    for (element, value, schema) in parts {
        let child = fields(value, schema);
        if !known || child.is_empty() || is_empty(value) {
            set.members.insert(element.clone());
        }
        if !child.is_empty() {
            set.children.insert(element, child);
        }
    }
    set
}

/// The fields in which two values differ.
#[derive(Debug, Default)]
pub(super) struct FieldComparison {
    /// Fields that are added or modified.
    pub(super) written: FieldSet,
    /// Fields that are removed.
    pub(super) removed: FieldSet,
}

/// Compares two values.
pub(super) fn compare(old: &Value, new: &Value, schema: &Value) -> FieldComparison {
    let mut found = FieldComparison::default();
    compare_at(old, new, schema, &mut Vec::new(), &mut found);
    found
}

fn compare_at(
    old: &Value,
    new: &Value,
    schema: &Value,
    path: &mut Vec<PathElement>,
    found: &mut FieldComparison,
) {
    let (Some(before), Some(after)) = (parts(old, schema), parts(new, schema)) else {
        if old != new {
            found.written.insert(path);
        }
        return;
    };
    // Both can have very many parts, so each is looked up. Of equal ones, the first counts.
    let old: BTreeMap<&PathElement, &Value> = before
        .iter()
        .rev()
        .map(|(element, value, _)| (element, *value))
        .collect();
    let kept: BTreeSet<&PathElement> = after.iter().map(|(element, ..)| element).collect();
    for (element, value, schema) in &after {
        path.push(element.clone());
        match old.get(element) {
            Some(old) => compare_at(old, value, schema, path, found),
            None => insert_all(&mut found.written, path, value, schema),
        }
        path.pop();
    }
    for (element, value, schema) in &before {
        if !kept.contains(element) {
            path.push(element.clone());
            insert_all(&mut found.removed, path, value, schema);
            path.pop();
        }
    }
}

/// Adds a path and every field below it.
fn insert_all(set: &mut FieldSet, path: &mut Vec<PathElement>, value: &Value, schema: &Value) {
    set.insert(path);
    for (element, value, schema) in parts(value, schema).unwrap_or_default() {
        path.push(element);
        insert_all(set, path, value, schema);
        path.pop();
    }
}

/// Merges `applied` into `live`: fields of `applied` win, others stay.
pub(super) fn merge(live: &Value, applied: &Value, schema: &Value) -> Value {
    match (shape(schema), live, applied) {
        (Shape::Struct(_) | Shape::Map(_), Value::Object(live), Value::Object(applied)) => {
            let mut merged = live.clone();
            for (key, value) in applied {
                let schema = child_schema(schema, key);
                let value = match live.get(key) {
                    Some(live) => merge(live, value, schema),
                    None => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::Keyed(keys, schema), Value::Array(live), Value::Array(applied)) => {
            let mut merged = live.clone();
            let mut places = BTreeMap::new();
            for (place, item) in live.iter().enumerate() {
                if let Some(key) = key_of(item, &keys) {
                    places.entry(key).or_insert(place);
                }
            }
            for item in applied {
                let Some(key) = key_of(item, &keys) else {
                    merged.push(item.clone());
                    continue;
                };
                match places.entry(key) {
                    Entry::Occupied(place) => {
                        let place = &mut merged[*place.get()];
                        *place = merge(place, item, schema);
                    }
                    Entry::Vacant(place) => {
                        place.insert(merged.len());
                        merged.push(item.clone());
                    }
                }
            }
            Value::Array(merged)
        }
        (Shape::Set, Value::Array(live), Value::Array(applied)) => {
            let mut merged = live.clone();
            let mut present: BTreeSet<PathElement> = live.iter().map(value_of).collect();
            for item in applied {
                if present.insert(value_of(item)) {
                    merged.push(item.clone());
                }
            }
            Value::Array(merged)
        }
        _ => applied.clone(),
    }
}

fn child_schema<'a>(schema: &'a Value, key: &str) -> &'a Value {
    match shape(schema) {
        Shape::Struct(properties) => properties.get(key).unwrap_or(&Value::Null),
        Shape::Map(values) => values,
        _ => &Value::Null,
    }
}

/// Removes the fields of a set. `kept` are the fields that other managers own; their containers
/// stay.
pub(super) fn remove(value: &Value, set: &FieldSet, kept: &FieldSet, schema: &Value) -> Value {
    let none = FieldSet::default();
    let rest = |element: &PathElement, value: &Value, schema: &Value| -> Option<Value> {
        if set.members.contains(element) && !kept.touches(element) {
            return None;
        }
        let Some(below) = set.children.get(element) else {
            return Some(value.clone());
        };
        let kept = kept.children.get(element).unwrap_or(&none);
        let rest = remove(value, below, kept, schema);
        // A container that becomes empty is removed with its last field.
        let emptied = is_empty(&rest) && !is_empty(value);
        (!emptied).then_some(rest)
    };
    match (shape(schema), value) {
        (Shape::Struct(_) | Shape::Map(_), Value::Object(map)) => map
            .iter()
            .filter_map(|(key, value)| {
                let element = PathElement::Field(key.clone());
                let value = rest(&element, value, child_schema(schema, key))?;
                Some((key.clone(), value))
            })
            .collect::<Map<_, _>>()
            .into(),
        (Shape::Keyed(keys, schema), Value::Array(items)) => items
            .iter()
            .filter_map(|item| match key_of(item, &keys) {
                Some(element) => rest(&element, item, schema),
                None => Some(item.clone()),
            })
            .collect(),
        (Shape::Set, Value::Array(items)) => items
            .iter()
            .filter_map(|item| rest(&value_of(item), item, &Value::Null))
            .collect(),
        _ => value.clone(),
    }
}
