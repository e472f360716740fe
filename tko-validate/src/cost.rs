//! The cost of a validation: how many checks a schema makes of a resource.
//!
//! The schema library applies every alternative of a schema to every item of a list, and makes all
//! errors before it returns the first. A small schema and a small resource can therefore take hours
//! and very much memory together. The checks are counted before they are made.

use crate::unique::UNIQUE_BY;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Maximum number of checks of one resource. They take a few seconds.
pub(crate) const MAX_CHECKS: usize = 50_000_000;
/// Maximum number of checks that are made on the thread of a request. An invalid resource with more
/// checks has one violation, because each check can make an error.
pub(crate) const MAX_LISTED_CHECKS: usize = 1_000_000;

/// Number of bytes of a text that take as long as one check, for example to match a pattern.
const BYTES_PER_CHECK: usize = 64;
/// Number of allowed values that take as long to compare as one check.
const ALLOWED_PER_CHECK: usize = 4;
/// Number of keywords of a schema that take as long to read as one check.
const KEYWORDS_PER_CHECK: usize = 16;

/// Names of properties are not values of the resource. They are checked like this one.
static KEY: Value = Value::Null;

/// Returns the size of a value, in checks of a schema without alternatives. Recurses; the value
/// must be shallow.
pub(crate) fn extent(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / BYTES_PER_CHECK,
        Value::Array(list) => 1 + list.iter().map(|item| 1 + extent(item)).sum::<usize>(),
        Value::Object(map) => {
            let fields = map
                .iter()
                .map(|(key, item)| 1 + key.len() / BYTES_PER_CHECK + extent(item));
            1 + fields.sum::<usize>()
        }
        _ => 1,
    }
}

/// Returns how many checks a schema makes at most for each unit of [`extent`].
///
/// All schemas below one alternative that are not alternatives themselves count as the largest of
/// them, because at most one applies to a value. A definition counts once, however many references
/// lead to it: the schema of a custom kind has no references of its own. Comparisons of whole lists
/// and maps are not included, because they are fast.
pub(crate) fn width(document: &Value) -> usize {
    let mut widths: Vec<usize> = vec![1];
    let mut waiting = vec![(document, 0)];
    while let Some((schema, alternative)) = waiting.pop() {
        let Value::Object(keywords) = schema else {
            continue;
        };
        widths[alternative] = widths[alternative].max(1 + own_checks(keywords));
        for (keyword, rule) in keywords {
            match (keyword.as_str(), rule) {
                ("properties", Value::Object(map)) => {
                    waiting.extend(map.values().map(|schema| (schema, alternative)));
                }
                ("prefixItems", Value::Array(list)) => {
                    waiting.extend(list.iter().map(|schema| (schema, alternative)));
                }
                ("items" | "additionalProperties", schema) => waiting.push((schema, alternative)),
                ("$ref", Value::String(_)) => widths.push(1),
                ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                    for schema in list {
                        waiting.push((schema, widths.len()));
                        widths.push(1);
                    }
                }
                (
                    "patternProperties" | "dependentSchemas" | "$defs" | "definitions",
                    Value::Object(map),
                ) => {
                    for schema in map.values() {
                        waiting.push((schema, widths.len()));
                        widths.push(1);
                    }
                }
                (
                    "not"
                    | "if"
                    | "then"
                    | "else"
                    | "contains"
                    | "propertyNames"
                    | "unevaluatedItems"
                    | "unevaluatedProperties",
                    schema,
                ) => {
                    waiting.push((schema, widths.len()));
                    widths.push(1);
                }
                _ => {}
            }
        }
    }
    widths.into_iter().fold(0, usize::saturating_add)
}

/// Counts the checks that a schema makes of a value, as if every alternative and every pattern
/// applied. Returns a number above `most` as soon as there are more than `most`, or once `stop` is
/// set.
///
/// `document` has passed [`check_schema`](crate::guard::check_schema); the value must be shallow.
pub(crate) fn checks(document: &Value, value: &Value, most: usize, stop: &AtomicBool) -> usize {
    let mut counter = CheckCounter::new(document, most, stop);
    counter.push(document, value);
    counter.drain(0);
    counter.count
}

/// Returns the number of checks of a schema itself, beyond the first, that do not depend on the
/// value.
fn own_checks(keywords: &Map<String, Value>) -> usize {
    let length_of = |keyword: &str| keywords.get(keyword).map_or(0, length);
    let mut count = keywords.len() / KEYWORDS_PER_CHECK
        + length_of("required")
        + length_of("enum") / ALLOWED_PER_CHECK;
    if let Some(Value::Object(map)) = keywords.get("dependentRequired") {
        count += map.values().map(|names| 1 + length(names)).sum::<usize>();
    }
    count
}

/// Returns the number of items of a list; 0 for any other value.
fn length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

struct CheckCounter<'a> {
    document: &'a Value,
    most: usize,
    stop: &'a AtomicBool,
    count: usize,
    /// Schemas, each with a value that it applies to. They are counted already.
    waiting: Vec<(&'a Value, &'a Value)>,
    /// Targets of references.
    targets: HashMap<&'a str, Option<&'a Value>>,
    /// Extents of values that are compared, keyed by their addresses.
    extents: HashMap<*const Value, usize>,
}

impl<'a> CheckCounter<'a> {
    fn new(document: &'a Value, most: usize, stop: &'a AtomicBool) -> Self {
        Self {
            document,
            most,
            stop,
            count: 0,
            waiting: Vec::new(),
            targets: HashMap::new(),
            extents: HashMap::new(),
        }
    }

    /// Counts the checks of waiting schemas, last ones first, until only `height` of them are left.
    /// Ends early above the limit, and with the largest count once it is stopped.
    fn drain(&mut self, height: usize) {
        while self.waiting.len() > height && !self.is_over() {
            if self.stop.load(Ordering::Relaxed) {
                self.count = usize::MAX;
                return;
            }
            if let Some((Value::Object(keywords), value)) = self.waiting.pop() {
                self.apply(keywords, value);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.count > self.most
    }

    fn add(&mut self, checks: usize) {
        self.count = self.count.saturating_add(checks);
    }

    fn push(&mut self, schema: &'a Value, value: &'a Value) {
        self.add(1);
        self.waiting.push((schema, value));
    }

    fn push_all(&mut self, schemas: impl Iterator<Item = &'a Value>, value: &'a Value) {
        for schema in schemas {
            self.push(schema, value);
        }
    }

    /// Counts the checks of one schema and pushes its subschemas. Recurses once for each level of
    /// the value at most.
    fn apply(&mut self, keywords: &'a Map<String, Value>, value: &'a Value) {
        self.add(own_checks(keywords));
        for (keyword, rule) in keywords {
            match (keyword.as_str(), rule) {
                ("$ref", Value::String(reference)) => {
                    if let Some(target) = self.target(reference) {
                        self.push(target, value);
                    }
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                    self.push_all(list.iter(), value);
                }
                ("dependentSchemas", Value::Object(map)) => self.push_all(map.values(), value),
                ("not" | "if" | "then" | "else", schema) => self.push(schema, value),
                _ => {}
            }
        }
        match value {
            Value::String(text) => self.add(text.len() / BYTES_PER_CHECK),
            Value::Array(list) => {
                self.apply_to_items(keywords, list);
                if keywords.contains_key("uniqueItems") || keywords.contains_key(UNIQUE_BY) {
                    self.add_extent(value, 1);
                }
                self.add_comparisons(keywords, value);
            }
            Value::Object(map) => {
                self.apply_to_fields(keywords, map);
                self.add_comparisons(keywords, value);
            }
            _ => {}
        }
    }

    fn apply_to_items(&mut self, keywords: &'a Map<String, Value>, list: &'a [Value]) {
        for keyword in ["items", "contains", "unevaluatedItems"] {
            if let Some(schema) = keywords.get(keyword) {
                for item in list {
                    self.push(schema, item);
                }
            }
        }
        if let Some(Value::Array(schemas)) = keywords.get("prefixItems") {
            for (schema, item) in schemas.iter().zip(list) {
                self.push(schema, item);
            }
        }
    }

    fn apply_to_fields(&mut self, keywords: &'a Map<String, Value>, map: &'a Map<String, Value>) {
        let schemas = |keyword: &str| keywords.get(keyword).and_then(Value::as_object);
        let (named, patterns) = (schemas("properties"), schemas("patternProperties"));
        let others = keywords.get("additionalProperties");
        let unevaluated = keywords.get("unevaluatedProperties");
        let names = keywords.get("propertyNames");
        let all = [others, unevaluated, names];
        if named.is_none() && patterns.is_none() && all.iter().all(Option::is_none) {
            return;
        }
        for (key, item) in map {
            let length = key.len() / BYTES_PER_CHECK;
            self.add(1);
            match named.and_then(|named| named.get(key)) {
                Some(schema) => self.push(schema, item),
                None => self.push_all(others.into_iter(), item),
            }
            self.push_all(unevaluated.into_iter(), item);
            if let Some(patterns) = patterns {
                self.add(length.saturating_mul(patterns.len()));
                let height = self.waiting.len();
                self.push_all(patterns.values(), item);
                // One field at a time: the product of patterns and fields is too much memory.
                self.drain(height);
            }
            if let Some(schema) = names {
                // Each alternative of the schema reads the whole name.
                for _ in 0..=length {
                    self.push(schema, &KEY);
                }
            }
            if self.is_over() {
                return;
            }
        }
    }

    /// Counts the comparisons of a list or map with the values that are allowed.
    fn add_comparisons(&mut self, keywords: &Map<String, Value>, value: &'a Value) {
        if let Some(allowed) = keywords.get("enum") {
            self.add_extent(value, length(allowed));
        }
        if keywords.contains_key("const") {
            self.add_extent(value, 1);
        }
    }

    fn add_extent(&mut self, value: &'a Value, times: usize) {
        let known = self.extents.entry(std::ptr::from_ref(value));
        let extent = *known.or_insert_with(|| extent(value));
        self.add(extent.saturating_mul(times));
    }

    fn target(&mut self, reference: &'a str) -> Option<&'a Value> {
        let document = self.document;
        let target = self.targets.entry(reference);
        *target.or_insert_with(|| crate::guard::target(document, reference))
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckCounter, checks, extent, width};
    use serde_json::{Value, json};
    use std::sync::atomic::AtomicBool;

    fn count(schema: &Value, value: &Value, most: usize) -> usize {
        checks(schema, value, most, &AtomicBool::new(false))
    }

    #[test]
    fn every_subschema_counts_for_every_value() {
        let alternatives: Value = (0..50).map(|_| json!({"minimum": 9})).collect();
        let list = json!(vec![1; 20]);
        let fields: Value = (0..20).map(|n| (format!("k{n}"), json!(1))).collect();
        for (schema, value) in [
            (json!({"items": {"anyOf": alternatives}}), &list),
            (json!({"items": {"allOf": alternatives}}), &list),
            (json!({"items": {"oneOf": alternatives}}), &list),
            (
                json!({"additionalProperties": {"anyOf": alternatives}}),
                &fields,
            ),
            (
                json!({"patternProperties": {"k": {"not": {"anyOf": alternatives}}}}),
                &fields,
            ),
            (json!({"propertyNames": {"anyOf": alternatives}}), &fields),
            (
                json!({"allOf": vec![json!({"required": vec!["a"; 50]}); 20]}),
                &fields,
            ),
            (
                json!({"$defs": {"a": {"anyOf": alternatives}}, "properties": {"k7": {"$ref": "#/$defs/a"}},
                    "additionalProperties": {"anyOf": alternatives}}),
                &fields,
            ),
        ] {
            let count = count(&schema, value, usize::MAX);
            assert!((1_000..2_000).contains(&count), "{count} by {schema}");
            // Validation relies on this bound and does not count if it is low.
            let bound = width(&schema) * extent(value);
            assert!(count <= bound, "{count} checks, at most {bound}");
        }
    }

    #[test]
    fn long_texts_and_compared_values_count_by_their_size() {
        let pattern = json!({"anyOf": vec![json!({"pattern": "a+b"}); 10]});
        assert!(count(&pattern, &json!("a".repeat(64_000)), usize::MAX) > 10_000);
        let long = Value::from_iter([("k".repeat(64_000), 1)]);
        for schema in [
            json!({"patternProperties": {"a": true, "b": true}}),
            json!({"propertyNames": {"pattern": "a"}}),
        ] {
            assert!(count(&schema, &long, usize::MAX) > 1_000, "{schema}");
        }
        let list = json!(vec![vec![1; 100]; 10]);
        for schema in [json!({"uniqueItems": true}), json!({"const": []})] {
            assert!(count(&schema, &list, usize::MAX) > 1_000, "{schema}");
        }
    }

    #[test]
    fn counting_ends_at_the_limit_and_when_it_is_stopped() {
        let branches = json!(vec![json!({"minimum": 9}); 1_000]);
        let schema = json!({"items": {"anyOf": branches}});
        let list = json!(vec![1; 10_000]);
        let found = count(&schema, &list, 15_000);
        assert!((15_001..17_000).contains(&found), "{found}");
        assert!(checks(&schema, &list, 15_000, &AtomicBool::new(true)) > 15_000);
    }

    #[test]
    fn patterns_are_counted_one_field_at_a_time() {
        let patterns: Value = (0..100)
            .map(|n| (format!("p{n}"), json!({"minimum": 9})))
            .collect();
        let fields: Value = (0..100).map(|n| (format!("k{n}"), json!(1))).collect();
        let schema = json!({"patternProperties": patterns});
        let stop = AtomicBool::new(false);
        let mut counter = CheckCounter::new(&schema, usize::MAX, &stop);
        counter.push(&schema, &fields);
        counter.drain(0);
        assert!(counter.count > 10_000, "{}", counter.count);
        let most = counter.waiting.capacity();
        assert!(most < 1_000, "room for {most} schemas");
    }

    #[test]
    fn schemas_without_alternatives_make_few_checks() {
        let properties: Value = (0..1_000)
            .map(|n| {
                (
                    format!("p{n}"),
                    json!({"type": "object", "properties": {"a": {}}}),
                )
            })
            .collect();
        assert_eq!(width(&json!({"properties": properties})), 1);
    }
}
