//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386).

mod budget;
mod pointer;

use budget::CopyBudget;
use pointer::Pointer;
use serde_json::{Map, Value};

/// Maximum number of operations of a JSON patch.
const MAX_OPERATIONS: usize = 10_000;

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PatchError {
    /// The patch is not well-formed.
    Malformed(String),
    /// The patch does not fit the object: a path does not exist, or a test fails.
    Unfit(String),
    /// The patch has too many operations, or copies too much.
    TooLarge(String),
}

/// Applies a merge patch: maps are merged, null removes, everything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Applies a JSON patch.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let malformed = |why: &str| PatchError::Malformed(why.to_owned());
    let operations = patch
        .as_array()
        .ok_or_else(|| malformed("a JSON patch is a list of operations"))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "the patch has too many operations; at most {MAX_OPERATIONS} are allowed"
        )));
    }
    let mut copies = CopyBudget::default();
    for operation in operations {
        let text = |key: &str| operation.get(key).and_then(Value::as_str);
        let pointer = |key: &str| {
            let text = text(key).ok_or_else(|| malformed(&format!("an operation has no {key}")))?;
            Pointer::parse(text).ok_or_else(|| malformed(&format!("{text:?} is not a path")))
        };
        let value = || {
            operation
                .get("value")
                .cloned()
                .ok_or_else(|| malformed("an operation has no value"))
        };
        let path = pointer("path")?;
        match text("op").unwrap_or_default() {
            "add" => {
                let value = value()?;
                budget::check_depth(&path, &value)?;
                path.add(target, value)?;
            }
            "remove" => {
                path.remove(target)?;
            }
            "replace" => {
                let value = value()?;
                budget::check_depth(&path, &value)?;
                *path.find_mut(target)? = value;
            }
            "move" => {
                let from = pointer("from")?;
                if path.is_below(&from) {
                    return Err(malformed("a value cannot be moved into itself"));
                }
                let value = from.remove(target)?;
                if path.steps() > from.steps() {
                    // Measuring the depth costs as much as a copy.
                    copies.count(&value)?;
                    budget::check_depth(&path, &value)?;
                }
                path.add(target, value)?;
            }
            "copy" => {
                let from = pointer("from")?;
                let value = from.find(target)?;
                copies.count(value)?;
                budget::check_depth(&path, value)?;
                let value = value.clone();
                path.add(target, value)?;
            }
            "test" => {
                if !same(path.find(target)?, &value()?) {
                    return Err(PatchError::Unfit(format!("the test of {path} failed")));
                }
            }
            other => return Err(malformed(&format!("unknown operation {other:?}"))),
        }
    }
    Ok(())
}

/// Whether two values are equal, whatever the order of keys.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::{PatchError, json_patch, merge};
    use crate::object::MAX_DEPTH;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn patched(mut target: Value, patch: &Value) -> Result<Value, PatchError> {
        json_patch(&mut target, patch).map(|()| target)
    }

    #[test]
    fn every_operation_works_as_in_the_standard() {
        for (target, patch, expected) in [
            (
                json!({"a": 1}),
                json!([{"op": "add", "path": "/b", "value": 2}]),
                json!({"a": 1, "b": 2}),
            ),
            (
                json!({"a": [1, 3]}),
                json!([{"op": "add", "path": "/a/1", "value": 2}]),
                json!({"a": [1, 2, 3]}),
            ),
            (
                json!({"a": [1]}),
                json!([{"op": "add", "path": "/a/-", "value": 2}]),
                json!({"a": [1, 2]}),
            ),
            (
                json!({"a": 1, "b": 2}),
                json!([{"op": "remove", "path": "/a"}]),
                json!({"b": 2}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "/a", "value": null}]),
                json!({"a": null}),
            ),
            (
                json!({"a": {"x": 1}}),
                json!([{"op": "move", "from": "/a/x", "path": "/y"}]),
                json!({"a": {}, "y": 1}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/a", "path": "/b"}]),
                json!({"a": 1, "b": 1}),
            ),
            (
                json!({"a/b": 1, "m~n": 2}),
                json!([{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}]),
                json!({"a/b": 1}),
            ),
        ] {
            assert_eq!(patched(target, &patch), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn patches_that_do_not_fit_are_told_from_malformed_ones() {
        for patch in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "remove", "path": "/b"}]),
            json!([{"op": "replace", "path": "/b", "value": 1}]),
            json!([{"op": "add", "path": "/l/2", "value": 1}]),
            json!([{"op": "add", "path": "/l/01", "value": 1}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
        ] {
            let failed = patched(json!({"a": 1, "l": [1]}), &patch);
            assert!(matches!(failed, Err(PatchError::Unfit(_))), "{patch}");
        }
        for patch in [
            json!({}),
            json!([{"op": "other", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "value": 1}]),
            json!([{"op": "add", "path": "/a"}]),
            json!([{"op": "move", "from": "/a", "path": "/a/b"}]),
        ] {
            let failed = patched(json!({"a": {}}), &patch);
            assert!(matches!(failed, Err(PatchError::Malformed(_))), "{patch}");
        }
    }

    #[test]
    fn copies_are_limited_before_they_are_made() {
        let doubling: Vec<Value> = (0..35)
            .map(|at| json!({"op": "copy", "from": "", "path": format!("/a{at}")}))
            .collect();
        for target in [
            json!({"k": "v".repeat(1_000)}),
            json!({"k": vec![json!({}); 1_000]}),
        ] {
            let failed = patched(target, &doubling.clone().into());
            assert!(matches!(failed, Err(PatchError::TooLarge(_))));
        }
        let renaming = json!([{"op": "move", "from": "/k", "path": "/l"}]);
        let large = json!({"k": "v".repeat(4 << 20)});
        assert!(patched(large, &renaming).is_ok(), "a move copies nothing");
    }

    #[test]
    fn no_operation_nests_deeper_than_readers_accept() {
        let nested = (1..MAX_DEPTH).fold(Value::Null, |inner, _| json!({"a": inner}));
        let target = json!({"a": nested, "b": {"c": 1}});
        let deepest = "/a".repeat(MAX_DEPTH);
        for (operation, fits) in [
            (json!({"op": "add", "path": deepest, "value": 1}), true),
            (json!({"op": "add", "path": deepest, "value": {}}), false),
            (json!({"op": "replace", "path": deepest, "value": 1}), true),
            (
                json!({"op": "replace", "path": deepest, "value": []}),
                false,
            ),
            (json!({"op": "copy", "path": deepest, "from": "/b/c"}), true),
            (json!({"op": "copy", "path": deepest, "from": "/b"}), false),
            (json!({"op": "move", "path": deepest, "from": "/b/c"}), true),
            (json!({"op": "move", "path": deepest, "from": "/b"}), false),
        ] {
            match patched(target.clone(), &json!([operation])) {
                Ok(_) => assert!(fits, "{operation}"),
                Err(PatchError::Unfit(why)) => assert!(!fits && why.contains("nested"), "{why}"),
                Err(error) => panic!("{operation}: {error:?}"),
            }
        }
    }

    #[test]
    fn merging_removes_nulls_and_replaces_lists() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(
            &mut target,
            &json!({"a": {"b": null, "d": {"e": null}}, "l": [3]}),
        );
        assert_eq!(target, json!({"a": {"c": 2, "d": {}}, "l": [3]}));
    }

    proptest! {
        #[test]
        fn no_path_breaks_it(path in "(/(a|b|0|1|-|~0|~1|~2|)){0,4}|\\PC{0,8}", op in "add|remove|replace|copy|move|test") {
            let mut target = json!({"a": {"b": [1, {"a": 2}]}, "b": []});
            let _ = json_patch(&mut target, &json!([{"op": op, "path": path, "from": "/a/b/1", "value": 7}]));
        }
    }
}
