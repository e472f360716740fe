//! `search-replace`: finds fields by path or value, and sets their value or comment.

use super::fields::{Config, PARTS, config, scalar, texts};
use super::scalars::{escaped, implied, replacement, visit};
use crate::reference::FunctionVersion;
use crate::resource_list::{Item, ResourceList};
use crate::results::{FunctionResult, Severity};
use regex::{Captures, Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Maximum memory of a compiled expression, in bytes.
const EXPRESSION: usize = 1 << 20;
/// Maximum number of results that are reported.
const MOST: usize = 1_000;
/// The comments that travel with a package.
const SETTER: &str = "kpt-set:";

/// The keys of the configuration.
const KNOWN: [&str; 5] = [
    "by-value",
    "by-value-regex",
    "by-path",
    "put-value",
    "put-comment",
];

/// The search, and the replacement.
#[derive(Default)]
struct Search {
    value: String,
    expression: Option<Regex>,
    path: Vec<String>,
    put_value: String,
    put_comment: String,
}

pub(super) fn run(list: &mut ResourceList, _: FunctionVersion) -> Result<(), String> {
    let search = read(list)?;
    let mut count = 0;
    let mut results = Vec::new();
    for item in &mut list.items {
        let found = if search.is_absolute() {
            search.put_at_path(&mut item.value)
        } else {
            search.walk(item)?
        };
        count += found.len();
        for (path, value) in found {
            if results.len() < MOST {
                let message = format!("{} {value}", search.verb());
                let result = FunctionResult::new(Severity::Info, message);
                results.push(result.with_resource(&item.value).with_field(path));
            }
        }
    }
    list.results.extend(results);
    let message = format!("{} {count} fields", search.verb());
    list.results
        .push(FunctionResult::new(Severity::Info, message));
    Ok(())
}

fn read(list: &ResourceList) -> Result<Search, String> {
    let given = match config(list, "SearchReplace")? {
        Config::Data(_, data) => texts(Some(&Value::Object(data)), "data")?,
        Config::Own(own) => texts(own.get("data"), "data")?,
    };
    let given: BTreeMap<String, String> = given.into_iter().collect();
    if let Some(unknown) = given.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        let known = KNOWN.join(", ");
        return Err(format!(
            "it has an unknown matcher {unknown:?}; expected {known}"
        ));
    }
    let text = |key: &str| given.get(key).cloned().unwrap_or_default();
    let (value, expression, path) = (text("by-value"), text("by-value-regex"), text("by-path"));
    if value.is_empty() && expression.is_empty() && path.is_empty() {
        return Err("it has none of by-value, by-value-regex and by-path".to_owned());
    }
    if !value.is_empty() && !expression.is_empty() {
        return Err("it has both by-value and by-value-regex; expected one of them".to_owned());
    }
    let put_comment = text("put-comment");
    if !put_comment.is_empty() && !put_comment.starts_with(SETTER) {
        return Err(format!(
            "its put-comment {put_comment:?} is not a setter; only comments such as \"{SETTER} \
             ${{name}}\" are kept"
        ));
    }
    let expression = match expression.as_str() {
        "" => None,
        // The expression matches the whole value, as documented.
        expression => Some(
            RegexBuilder::new(&format!("^(?:{expression})$"))
                .size_limit(EXPRESSION)
                .build()
                .map_err(|error| {
                    format!("its by-value-regex {expression:?} is invalid: {error}")
                })?,
        ),
    };
    let path: Vec<String> = match path.as_str() {
        "" => Vec::new(),
        path => path.split('.').take(PARTS + 1).map(str::to_owned).collect(),
    };
    if path.len() > PARTS {
        return Err(format!("its by-path has more than {PARTS} parts"));
    }
    Ok(Search {
        value,
        expression,
        path,
        put_value: text("put-value"),
        put_comment,
    })
}

impl Search {
    fn verb(&self) -> &'static str {
        if self.put_value.is_empty() && self.put_comment.is_empty() {
            "matched"
        } else {
            "changed"
        }
    }

    /// Whether a value is written to one known path, which is created if it is missing.
    fn is_absolute(&self) -> bool {
        let is_plain = |part: &String| !part.is_empty() && !part.contains(['*', '[']);
        !self.path.is_empty()
            && self.path.iter().all(is_plain)
            && self.value.is_empty()
            && self.expression.is_none()
            && !self.put_value.is_empty()
    }

    fn put_at_path(&self, value: &mut Value) -> Vec<(String, String)> {
        let mut place = value;
        let mut pointer = String::new();
        for key in &self.path {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else {
                return Vec::new();
            };
            place = map.entry(key.clone()).or_insert(Value::Null);
            pointer.push('/');
            pointer.push_str(&escaped(key));
        }
        *place = match &*place {
            Value::Null if pointer.starts_with("/metadata/") => {
                Value::String(self.put_value.clone())
            }
            Value::Null => implied(&self.put_value),
            old => replacement(old, &pointer, &self.put_value),
        };
        vec![(self.path.join("."), self.put_value.clone())]
    }

    /// Visits every field; returns those that were found, with their values.
    fn walk(&self, item: &mut Item) -> Result<Vec<(String, String)>, String> {
        let Item { value, setters, .. } = item;
        let mut found = Vec::new();
        visit(value, &mut |value, pointer, path| {
            if value.is_array() {
                if !self.put_comment.is_empty() && !pointer.is_empty() && self.is_path(path) {
                    setters.insert(pointer.to_owned(), pattern(&self.put_comment));
                    found.push((path.to_owned(), value.to_string()));
                }
                return Ok(());
            }
            let Some(text) = scalar(value) else {
                return Ok(());
            };
            if !self.matches(&text, path) {
                return Ok(());
            }
            if !self.put_comment.is_empty() {
                let comment = self.resolved(&text, &self.put_comment)?;
                setters.insert(pointer.to_owned(), pattern(&comment));
            }
            if !self.put_value.is_empty() {
                let new = self.resolved(&text, &self.put_value)?;
                *value = replacement(value, pointer, &new);
            }
            found.push((path.to_owned(), scalar(value).unwrap_or_default()));
            Ok(())
        })?;
        Ok(found)
    }

    fn matches(&self, text: &str, path: &str) -> bool {
        let by_value = !self.value.is_empty() || self.expression.is_some();
        let is_value = match &self.expression {
            Some(expression) => expression.is_match(text),
            None => by_value && self.value == text,
        };
        (self.path.is_empty() || self.is_path(path)) && (is_value || !by_value)
    }

    fn is_path(&self, path: &str) -> bool {
        if self.path.is_empty() {
            return false;
        }
        let parts: Vec<&str> = path.split('.').collect();
        is_match(&parts, &self.path)
    }

    /// The text with `${1}` and so on replaced by the groups that the expression captured.
    fn resolved(&self, old: &str, new: &str) -> Result<String, String> {
        let Some(expression) = &self.expression else {
            return Ok(new.to_owned());
        };
        let groups: Option<Captures<'_>> = expression.captures(old);
        let mut text = new.to_owned();
        for (at, group) in groups.iter().flat_map(Captures::iter).enumerate().skip(1) {
            let group = group.map_or("", |group| group.as_str());
            text = text.replace(&format!("${{{at}}}"), group);
        }
        let open = text.split("${").skip(1).any(|part| {
            let name = part.split_once('}').map_or("", |(name, _)| name);
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
        });
        if open {
            let message = "has numbered groups that by-value-regex does not have";
            return Err(format!("{new:?} {message}"));
        }
        Ok(text)
    }
}

/// The pattern of a setter's comment.
fn pattern(comment: &str) -> String {
    comment.trim_start_matches(SETTER).trim().to_owned()
}

/// Whether a path matches an expression: `*` is any part, `**` any number of parts, `a[*]` any
/// element of a.
fn is_match(parts: &[&str], expression: &[String]) -> bool {
    // Row by row of the table of prefixes, so that the time is the product of the lengths.
    let mut row = vec![true];
    for wanted in expression {
        let before = row.last().is_some_and(|last| *last && wanted == "**");
        row.push(before);
    }
    for part in parts {
        let mut next = vec![false];
        for (at, wanted) in expression.iter().enumerate() {
            let matched = if wanted == "**" {
                next[at] || row[at + 1]
            } else {
                row[at] && (wanted == "*" || is_part(part, wanted))
            };
            next.push(matched);
        }
        row = next;
    }
    row.last().is_some_and(|last| *last)
}

fn is_part(part: &str, wanted: &str) -> bool {
    if part == wanted {
        return true;
    }
    let Some((name, index)) = part.split_once('[') else {
        return false;
    };
    match wanted.split_once('[') {
        Some((wanted, wanted_index)) => {
            (wanted == "*" || wanted == name) && (wanted_index == "*]" || wanted_index == index)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_match;

    #[test]
    fn path_expressions_match_as_documented() {
        for (path, expression, expected) in [
            ("a.b.c", "a.b.c", true),
            ("a.b1.c", "a.*.c", true),
            ("a.b3.d[0].f.c", "a.**.c", true),
            ("a.c", "a.**.c", true),
            ("a.b[1].c", "a.b[1].c", true),
            ("a.b[2].c", "a.b[1].c", false),
            ("a.b[2].c", "a.b[*].c", true),
            ("a.b[2].c", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("x", "**", true),
        ] {
            let parts: Vec<&str> = path.split('.').collect();
            let expression_parts: Vec<String> = expression.split('.').map(str::to_owned).collect();
            assert_eq!(
                is_match(&parts, &expression_parts),
                expected,
                "{path} {expression}"
            );
        }
    }
}
