//! Typed access to fields of topology resources, with errors that name the path.

use serde_json::{Map, Value};
use tko_core::{Error, Resource, Result};

/// A field of `spec`; null counts as absent.
pub(super) fn spec<'a>(resource: &'a Resource, field: &str) -> Option<&'a Value> {
    present(resource.get(&["spec", field]))
}

/// A field of a map; null counts as absent.
pub(super) fn of<'a>(map: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    present(map.get(field))
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// A text field; empty text counts as absent.
pub(super) fn text<'a>(value: Option<&'a Value>, path: &str) -> Result<Option<&'a str>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(path, other, "text")),
    }
}

/// A Boolean field; absent counts as false.
pub(super) fn flag(value: Option<&Value>, path: &str) -> Result<bool> {
    match value {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(wrong(path, other, "true or false")),
    }
}

/// A list; absent counts as empty.
pub(super) fn list<'a>(value: Option<&'a Value>, path: &str) -> Result<&'a [Value]> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(wrong(path, other, "a list")),
    }
}

/// A map.
pub(super) fn map<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(wrong(path, other, "a map")),
    }
}

/// One of these words; absent counts as the first.
pub(super) fn word<const N: usize>(
    value: Option<&Value>,
    path: &str,
    words: [&'static str; N],
) -> Result<&'static str> {
    let Some(text) = text(value, path)? else {
        return Ok(words[0]);
    };
    words.into_iter().find(|word| *word == text).ok_or_else(|| {
        Error::bad(
            path.to_owned(),
            format!(
                "unknown value {text:?}; expected one of {}",
                words.join(", ")
            ),
        )
    })
}

fn wrong(path: &str, value: &Value, expected: &str) -> Error {
    Error::bad(path.to_owned(), format!("{value} is not {expected}"))
}
