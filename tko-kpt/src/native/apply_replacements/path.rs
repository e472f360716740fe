//! Field paths of replacements, such as `spec.containers.[name=main].image`.

use super::empty_map;
use crate::native::fields::{PARTS, scalar};
use serde_json::{Map, Value, json};
use std::fmt;

/// A parsed path.
pub(super) struct FieldPath {
    text: String,
    parts: Vec<Part>,
}

/// One part of a path.
enum Part {
    /// A key of a map, or the index of an element.
    Key(String),
    /// The elements of a list whose field has this text: `[name=main]`.
    Where(String, String),
    /// All elements or values.
    All,
    /// A new element at the end of a list.
    End,
}

impl FieldPath {
    /// Parses a path: parts are separated by dots, but not in brackets or after a backslash.
    ///
    /// # Errors
    /// A clause that says that it is empty or has too many parts.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut depth = 0_usize;
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let part = parts.last_mut().expect("begins with one");
            match c {
                '\\' => part.extend(rest.next()),
                '.' if depth == 0 => {
                    if parts.len() == PARTS {
                        return Err(format!("a field path has more than {PARTS} parts"));
                    }
                    parts.push(String::new());
                }
                c => {
                    match c {
                        '[' => depth += 1,
                        ']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    part.push(c);
                }
            }
        }
        if parts.iter().any(String::is_empty) {
            return Err(format!("the field path {text:?} has an empty part"));
        }
        let parts = parts.into_iter().map(|part| {
            let inner = part
                .strip_prefix('[')
                .and_then(|part| part.strip_suffix(']'));
            match (part.as_str(), inner) {
                ("*", _) => Part::All,
                ("-", _) => Part::End,
                (_, Some(inner)) => match inner.split_once('=') {
                    Some((field, value)) => Part::Where(field.to_owned(), value.to_owned()),
                    // Brackets protect the dots of a key.
                    None => Part::Key(inner.to_owned()),
                },
                _ => Part::Key(part),
            }
        });
        Ok(Self {
            text: text.to_owned(),
            parts: parts.collect(),
        })
    }

    /// The length of its text, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The value at the path; the first one if there are several.
    pub(super) fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.parts.iter().try_fold(value, |value, part| match part {
            Part::Key(key) => match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                value => value.get(key),
            },
            Part::Where(field, text) => {
                value.as_array()?.iter().find(|item| has(item, field, text))
            }
            Part::All => match value {
                Value::Array(items) => items.first(),
                Value::Object(map) => map.values().next(),
                _ => None,
            },
            Part::End => None,
        })
    }

    /// Calls `edit` with every value at the path, created if `create` allows it; returns the number
    /// of values.
    pub(super) fn edit(
        &self,
        value: &mut Value,
        create: bool,
        edit: &mut dyn FnMut(&mut Value),
    ) -> usize {
        descend(value, &self.parts, create, edit)
    }
}

fn has(item: &Value, field: &str, text: &str) -> bool {
    let found = match field {
        "" => scalar(item),
        field => item.get(field).and_then(scalar),
    };
    found.as_deref() == Some(text)
}

fn descend(
    value: &mut Value,
    parts: &[Part],
    create: bool,
    edit: &mut dyn FnMut(&mut Value),
) -> usize {
    let Some((part, rest)) = parts.split_first() else {
        edit(value);
        return 1;
    };
    if value.is_null() && create {
        *value = match part {
            Part::Key(_) => empty_map(),
            Part::Where(..) | Part::End => json!([]),
            Part::All => return 0,
        };
    }
    match (part, value) {
        (Part::Key(key), Value::Object(map)) => match map.get_mut(key) {
            Some(inner) => descend(inner, rest, create, edit),
            None if create => {
                let mut inner = Value::Null;
                let count = descend(&mut inner, rest, create, edit);
                map.insert(key.clone(), inner);
                count
            }
            None => 0,
        },
        (Part::Key(key), Value::Array(items)) => {
            let found = key
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get_mut(index));
            found.map_or(0, |inner| descend(inner, rest, create, edit))
        }
        (Part::Where(field, text), Value::Array(items)) => {
            let mut count = 0;
            for item in items.iter_mut().filter(|item| has(item, field, text)) {
                count += descend(item, rest, create, edit);
            }
            if count == 0 && create && !field.is_empty() {
                let mut map = Map::new();
                map.insert(field.clone(), json!(text));
                let mut item = Value::Object(map);
                count = descend(&mut item, rest, create, edit);
                items.push(item);
            }
            count
        }
        (Part::All, Value::Array(items)) => items
            .iter_mut()
            .map(|item| descend(item, rest, create, edit))
            .sum(),
        (Part::All, Value::Object(map)) => map
            .values_mut()
            .map(|item| descend(item, rest, create, edit))
            .sum(),
        (Part::End, Value::Array(items)) => {
            let mut item = Value::Null;
            let count = descend(&mut item, rest, create, edit);
            items.push(item);
            count
        }
        _ => 0,
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::FieldPath;
    use serde_json::{Value, json};

    fn set(path: &str, create: bool, mut value: Value) -> Value {
        let path = FieldPath::parse(path).expect("a path");
        path.edit(&mut value, create, &mut |place| *place = json!("new"));
        value
    }

    #[test]
    fn paths_find_keys_with_dots_elements_and_everything() {
        assert_eq!(
            set("a.[x.y/z]", false, json!({"a": {"x.y/z": 1}})),
            json!({"a": {"x.y/z": "new"}})
        );
        assert_eq!(
            set(r"a.x\.y", false, json!({"a": {"x.y": 1}})),
            json!({"a": {"x.y": "new"}})
        );
        assert_eq!(
            set(
                "c.[name=b].i",
                false,
                json!({"c": [{"name": "a", "i": 1}, {"name": "b", "i": 1}]})
            ),
            json!({"c": [{"name": "a", "i": 1}, {"name": "b", "i": "new"}]})
        );
        assert_eq!(
            set("c.*.i", false, json!({"c": [{"i": 1}, {"i": 2}]})),
            json!({"c": [{"i": "new"}, {"i": "new"}]})
        );
        assert_eq!(
            set("c.1", false, json!({"c": [1, 2]})),
            json!({"c": [1, "new"]})
        );
    }

    #[test]
    fn paths_are_created_only_where_they_may() {
        assert_eq!(set("a.b", false, json!({})), json!({}));
        assert_eq!(set("a.b", true, json!({})), json!({"a": {"b": "new"}}));
        assert_eq!(
            set("a.[name=x].v", true, json!({})),
            json!({"a": [{"name": "x", "v": "new"}]})
        );
        assert_eq!(
            set("a.-", true, json!({"a": [1]})),
            json!({"a": [1, "new"]})
        );
    }

    #[test]
    fn paths_without_parts_are_refused() {
        for path in ["", "a..b", ".a"] {
            assert!(FieldPath::parse(path).is_err(), "{path}");
        }
    }
}
