//! Limits that protect the process from hostile schemas and resources.
//!
//! Schemas and resources are walked recursively during compilation and validation, so their depth
//! is checked first. References that return to their origin without descending into the resource
//! would never end; they are refused.

use serde_json::Value;
use std::collections::HashMap;
use tko_core::hash::size_of_value;

/// Maximum nesting of lists and maps in a resource or schema.
///
/// Package decoders have a lower limit; a tree built in memory may have any depth.
pub(crate) const MAX_DEPTH: usize = 160;

/// Maximum number of schemas that apply to one place of a resource, each through a reference from
/// the one before.
const MAX_CHAIN: usize = 64;

/// Maximum size of a schema, in bytes of JSON without descriptions. API servers store less.
const MAX_SCHEMA_BYTES: usize = 4 << 20;

/// Maximum sum of the lengths of the JSON pointers of all values of a resource, in bytes. That of a
/// usual resource of the maximum size is far lower.
const MAX_POINTERS: usize = 128 << 20;

/// Returns true if a value is nested at most [`MAX_DEPTH`] levels deep. Does not recurse.
pub(crate) fn is_shallow(value: &Value) -> bool {
    let mut waiting = vec![(value, 0)];
    while let Some((value, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return false;
        }
        match value {
            Value::Array(list) => waiting.extend(list.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => waiting.extend(map.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    true
}

/// Returns true if the JSON pointers of all values are short enough together for an error about each
/// of them. Does not recurse.
///
/// The schema library makes all errors of a resource at once, each with its own pointer. A long key
/// above very many values would be copied for each of them.
pub(crate) fn has_short_pointers(value: &Value) -> bool {
    /// A slash and the digits of an index.
    const INDEX: usize = 8;
    let mut sum = 0;
    let mut waiting = vec![(value, 0)];
    while let Some((value, length)) = waiting.pop() {
        sum += length;
        if sum > MAX_POINTERS {
            return false;
        }
        match value {
            Value::Array(list) => waiting.extend(list.iter().map(|item| (item, length + INDEX))),
            Value::Object(map) => {
                waiting.extend(map.iter().map(|(key, item)| (item, length + 1 + key.len())));
            }
            _ => {}
        }
    }
    true
}

/// Checks a schema document before it is compiled.
///
/// # Errors
/// The problem with the document, for people.
pub(crate) fn check_schema(document: &Value) -> Result<(), String> {
    if !is_shallow(document) {
        return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
    }
    let size = size_of_value(document);
    if size > MAX_SCHEMA_BYTES {
        return Err(format!(
            "it is {size} bytes long; the limit is {MAX_SCHEMA_BYTES}"
        ));
    }
    let mut chains = Chains {
        document,
        lengths: HashMap::new(),
    };
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(list) => waiting.extend(list),
            Value::Object(map) => {
                chains.length(value, 0)?;
                waiting.extend(map.values());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lengths of the reference chains that apply in one place, keyed by the address of the first
/// schema.
struct Chains<'a> {
    document: &'a Value,
    lengths: HashMap<*const Value, usize>,
}

impl<'a> Chains<'a> {
    fn length(&mut self, schema: &'a Value, above: usize) -> Result<usize, String> {
        if above > MAX_CHAIN {
            return Err("its references form a loop".to_owned());
        }
        let Value::Object(keywords) = schema else {
            return Ok(0);
        };
        if let Some(length) = self.lengths.get(&std::ptr::from_ref(schema)) {
            if above + length > MAX_CHAIN {
                return Err(format!(
                    "its references chain more than {MAX_CHAIN} schemas in one place"
                ));
            }
            return Ok(*length);
        }
        let mut longest = 0;
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let Some(target) = target(self.document, reference) else {
                        return Err(format!(
                            "it refers to {reference} outside itself; only references within a schema are followed"
                        ));
                    };
                    longest = longest.max(1 + self.length(target, above + 1)?);
                }
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                    return Err(format!("it uses {keyword}, which is not supported"));
                }
                ("not" | "if" | "then" | "else", value) => {
                    longest = longest.max(1 + self.length(value, above + 1)?);
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                    for value in list {
                        longest = longest.max(1 + self.length(value, above + 1)?);
                    }
                }
                ("dependentSchemas", Value::Object(map)) => {
                    for value in map.values() {
                        longest = longest.max(1 + self.length(value, above + 1)?);
                    }
                }
                _ => {}
            }
        }
        self.lengths.insert(std::ptr::from_ref(schema), longest);
        Ok(longest)
    }
}

/// Returns the schema that a reference within a document names.
pub(crate) fn target<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(&decoded(reference.strip_prefix('#')?))
}

/// Decodes the JSON pointer of a fragment; percent escapes are decoded where they stand for ASCII.
fn decoded(fragment: &str) -> String {
    let mut text = String::with_capacity(fragment.len());
    let mut rest = fragment;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let code = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(code) = code.filter(u8::is_ascii) {
            text.push(char::from(code));
            rest = &after[2..];
        } else {
            text.push('%');
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, check_schema, has_short_pointers, is_shallow};
    use serde_json::{Value, json};

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn depth_is_bounded() {
        assert!(is_shallow(&nested(MAX_DEPTH)));
        assert!(!is_shallow(&nested(MAX_DEPTH + 1)));
    }

    #[test]
    fn pointers_are_bounded_together() {
        let list =
            |length: usize, count: usize| Value::from_iter([("k".repeat(length), vec![1; count])]);
        assert!(has_short_pointers(&list(100, 100_000)));
        assert!(has_short_pointers(&list(1 << 20, 100)));
        assert!(!has_short_pointers(&list(1 << 20, 200)));
    }

    #[test]
    fn references_that_go_into_the_resource_may_recur() {
        let tree = json!({
            "$defs": {"tree": {"properties": {"left": {"$ref": "#/$defs/tree"}}}},
            "$ref": "#/$defs/tree",
        });
        assert_eq!(check_schema(&tree), Ok(()));
    }

    #[test]
    fn reference_loops_are_refused() {
        for bad in [
            json!({"$ref": "#"}),
            json!({"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
        ] {
            let error = check_schema(&bad).expect_err("endless");
            assert!(error.contains("form a loop"), "{error}");
        }
    }

    #[test]
    fn references_elsewhere_are_refused() {
        for bad in [
            "other.json",
            "file:///etc/passwd",
            "#/$defs/missing",
            "#anchor",
        ] {
            let error = check_schema(&json!({"$ref": bad})).expect_err("elsewhere");
            assert!(error.contains(bad), "{error}");
        }
        assert!(check_schema(&json!({"$dynamicRef": "#x"})).is_err());
    }

    #[test]
    fn escaped_references_are_found() {
        let schema = json!({"$defs": {"a/b c": {}}, "$ref": "#/$defs/a~1b%20c"});
        assert_eq!(check_schema(&schema), Ok(()));
    }

    #[test]
    fn properties_may_be_called_like_keywords() {
        let schema = json!({"properties": {"$ref": {"type": "string"}, "not": {"type": "string"}}});
        assert_eq!(check_schema(&schema), Ok(()));
    }

    #[test]
    fn huge_schemas_are_refused() {
        let error = check_schema(&json!({"enum": ["x".repeat(5 << 20)]})).expect_err("huge");
        assert!(error.contains("bytes"), "{error}");
    }
}
