//! Phrases for types, values and names.

use jsonschema::JsonType;
use jsonschema::error::TypeKind;
use serde_json::Value;

/// Maximum number of known properties that a message lists.
const SHOWN_PROPERTIES: usize = 12;
/// Maximum number of known properties with which an unknown one is compared. Definitions of custom
/// resources can have very many.
const COMPARED_PROPERTIES: usize = 1_000;

pub(super) fn unknown_property(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied().take(COMPARED_PROPERTIES)) {
        Some(candidate) => format!("is not a known property; did you mean {candidate}?"),
        None if known.is_empty() || known.len() > SHOWN_PROPERTIES => {
            "is not a known property".to_owned()
        }
        None => format!("is not a known property; there are {}", known.join(", ")),
    }
}

/// Returns the edit distance of two names, ignoring case. Long names are never treated as typos.
pub(super) fn distance(one: &str, other: &str) -> usize {
    const LONG: usize = 64;
    if one.len() > LONG || other.len() > LONG {
        return usize::MAX;
    }
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, candidate) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *candidate);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

pub(super) fn types(kind: &TypeKind) -> String {
    let all: Vec<JsonType> = match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(set) => set.iter().collect(),
    };
    let named: Vec<&str> = all
        .iter()
        .filter(|one| all.len() == 1 || **one != JsonType::Null)
        .map(|one| match one {
            JsonType::Null => "null",
            JsonType::Boolean => "true or false",
            JsonType::Integer => "an integer",
            JsonType::Number => "a number",
            JsonType::String => "text",
            JsonType::Array => "a list",
            JsonType::Object => "a map",
        })
        .collect();
    named.join(" or ")
}

pub(super) fn one_of(options: &Value) -> String {
    let named: Vec<String> = options
        .as_array()
        .into_iter()
        .flatten()
        .filter(|option| !option.is_null() && *option != "")
        .map(|option| match option {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    match named.as_slice() {
        [one] => one.clone(),
        several => format!("one of {}", several.join(", ")),
    }
}

pub(super) fn format_in_words(format: &str) -> &str {
    crate::formats::meaning(format).unwrap_or(format)
}

/// Returns the name that is most likely meant, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .map(|(_, candidate)| candidate)
}
