//! `search-replace`: finds fields by path or value, and sets their value or comment.

use super::fields::{Config, PARTS, config, scalar, texts};
use super::growth::{WriteBudget, names, substituted};
use super::scalars::{escaped, implied, replacement, visit};
use crate::reference::FunctionVersion;
use crate::resource_list::{Item, ResourceList};
use crate::results::{FunctionResult, Severity, shortened};
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

/// The fields that a search found.
#[derive(Default)]
struct FoundFields {
    count: usize,
    /// The paths and values of the first ones, as results show them.
    shown: Vec<(String, String)>,
}

impl FoundFields {
    /// Adds a field; `room` is the number of fields that may be shown. `value` is called for those
    /// only, because a value can be large.
    fn add(&mut self, path: &str, value: impl FnOnce() -> String, room: usize) {
        self.count += 1;
        if self.shown.len() < room {
            self.shown.push((shortened(path), shortened(&value())));
        }
    }
}

pub(super) fn run(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let search = read(list)?;
    let mut count = 0;
    let mut results = Vec::new();
    for item in &mut list.items {
        let mut found = FoundFields::default();
        let room = MOST - results.len();
        if search.is_absolute() {
            search.put_at_path(&mut item.value, budget, &mut found, room)?;
        } else {
            search.walk(item, budget, &mut found, room)?;
        }
        count += found.count;
        for (path, value) in found.shown {
            let message = format!("{} {value}", search.verb());
            let result = FunctionResult::new(Severity::Info, message);
            results.push(result.with_resource(&item.value).with_field(path));
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

    fn put_at_path(
        &self,
        value: &mut Value,
        budget: &mut WriteBudget,
        found: &mut FoundFields,
        room: usize,
    ) -> Result<(), String> {
        let keys: usize = self.path.iter().map(String::len).sum();
        budget.take(keys + self.put_value.len());
        budget.check()?;
        let mut place = value;
        let mut pointer = String::new();
        for key in &self.path {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else {
                return Ok(());
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
        found.add(&self.path.join("."), || self.put_value.clone(), room);
        Ok(())
    }

    /// Visits every field, and adds those that the search finds.
    fn walk(
        &self,
        item: &mut Item,
        budget: &mut WriteBudget,
        found: &mut FoundFields,
        room: usize,
    ) -> Result<(), String> {
        let Item { value, setters, .. } = item;
        visit(value, &mut |value, pointer, path| {
            if value.is_array() {
                if !self.put_comment.is_empty() && !pointer.is_empty() && self.is_path(path) {
                    budget.take(pointer.len() + self.put_comment.len());
                    budget.check()?;
                    setters.insert(pointer.to_owned(), pattern(&self.put_comment));
                    found.add(path, || value.to_string(), room);
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
                budget.take(pointer.len() + comment.len());
                budget.check()?;
                setters.insert(pointer.to_owned(), pattern(&comment));
            }
            if !self.put_value.is_empty() {
                let new = self.resolved(&text, &self.put_value)?;
                budget.take(new.len());
                budget.check()?;
                *value = replacement(value, pointer, &new);
            }
            found.add(path, || scalar(value).unwrap_or_default(), room);
            Ok(())
        })
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
        let captures = expression.captures(old);
        let group = |name: &str| captured(captures.as_ref(), name);
        let is_open = |name: &str| is_number(name) && group(name).is_none();
        if names(new).into_iter().any(is_open) {
            let message = "has numbered groups that by-value-regex does not have";
            return Err(format!("{new:?} {message}"));
        }
        substituted(new, group)
    }
}

/// Whether a name in `${…}` means a group of the expression.
fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text of a group by its number, from 1; empty if the group exists but matched nothing.
fn captured<'o>(captures: Option<&Captures<'o>>, number: &str) -> Option<&'o str> {
    if !is_number(number) || number.starts_with('0') {
        return None;
    }
    let captures = captures?;
    let group = number.parse::<usize>().ok()?;
    let text = captures.get(group).map_or("", |group| group.as_str());
    (group < captures.len()).then_some(text)
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
