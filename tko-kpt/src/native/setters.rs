//! `apply-setters` and `create-setters`: values of fields with a comment `# kpt-set:`.

use super::fields::{Config, config, scalar, texts};
use super::growth::{WriteBudget, check_length, names, substituted};
use super::scalars::{replacement, visit};
use crate::annotations;
use crate::reference::FunctionVersion;
use crate::resource_list::{Item, ResourceList};
use crate::results::{FunctionResult, Severity, shortened};
use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;
use tko_core::encoding::{Format, decode};
use tko_core::{Dialect, Limits};

/// Maximum number of setters in a comment whose current values are searched in the field.
const SEARCHED: usize = 64;
/// Maximum product of the bytes of such a comment and of its field. The search may look at each
/// byte of one for each byte of the other.
const SEARCH: usize = 64 << 20;

/// Values of setters, in the order of the configuration.
type Setters = Vec<(String, String)>;

fn read(list: &ResourceList, kind: &str) -> Result<Setters, String> {
    let setters = match config(list, kind)? {
        Config::Data(_, data) => texts(Some(&Value::Object(data)), "data")?,
        Config::Own(own) => texts(own.get("setters").or_else(|| own.get("data")), "setters")?,
    };
    if setters.is_empty() {
        return Err("its data is empty; expected a value for at least one setter".to_owned());
    }
    Ok(setters)
}

pub(super) fn apply(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let setters = read(list, "ApplySetters")?;
    let pairs = setters.iter();
    let setters: HashMap<&str, &str> = pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for item in &mut list.items {
        let patterns = item.setters.clone();
        for (pointer, pattern) in &patterns {
            let Some(old) = item.value.pointer(pointer) else {
                continue;
            };
            if !names(pattern)
                .iter()
                .any(|name| setters.contains_key(*name))
            {
                continue;
            }
            let new = match old {
                Value::Array(_) => array(pattern, &setters),
                Value::Object(_) => continue,
                old => text(pattern, &setters, old).map(|text| replacement(old, pointer, &text)),
            };
            let result = |severity, message| {
                FunctionResult::new(severity, message)
                    .with_resource(&item.value)
                    .with_field(pointer.trim_start_matches('/').replace('/', "."))
            };
            match new {
                Ok(new) => {
                    budget.take_copy(&new)?;
                    let message = format!("set field value to {new}");
                    results.push(result(Severity::Info, message));
                    if let Some(place) = item.value.pointer_mut(pointer) {
                        *place = new;
                    }
                }
                Err(message) => errors.push(result(Severity::Error, message)),
            }
        }
        // The elements of a replaced list are not those that had setters.
        let value = &item.value;
        item.setters
            .retain(|pointer, _| value.pointer(pointer).is_some());
    }
    if results.is_empty() && errors.is_empty() {
        let message = "no field has a comment kpt-set with one of these setters";
        results.push(FunctionResult::new(Severity::Info, message));
    }
    list.results.extend(results);
    list.results.extend(errors);
    Ok(())
}

/// The text that results from a pattern. Setters without a value keep their current text in the
/// field.
fn text(pattern: &str, setters: &HashMap<&str, &str>, old: &Value) -> Result<String, String> {
    if check_length(pattern.len()).is_err() {
        return Err("its comment kpt-set is longer than 1 MiB".to_owned());
    }
    let mut open = names(pattern);
    open.retain(|name| !setters.contains_key(*name));
    let old = scalar(old).unwrap_or_default();
    let kept = if open.is_empty() {
        HashMap::new()
    } else {
        current(pattern, &old)
    };
    open.retain(|name| !kept.contains_key(*name));
    if !open.is_empty() {
        return Err(format!(
            "values for setters {} must be provided",
            open.join(", ")
        ));
    }
    // A value may look like a setter; only the names in the pattern are replaced.
    substituted(pattern, |name| {
        setters.get(name).or_else(|| kept.get(name)).copied()
    })
}

/// The current values of the setters of a pattern, as far as the field reveals them. None if the
/// search would take long.
fn current<'t>(pattern: &'t str, old: &'t str) -> HashMap<&'t str, &'t str> {
    let names = names(pattern);
    if names.len() > SEARCHED || pattern.len().saturating_mul(old.len()) > SEARCH {
        return HashMap::new();
    }
    let Ok(expression) = Regex::new(&expression(pattern)) else {
        return HashMap::new();
    };
    let Some(found) = expression.captures(old) else {
        return HashMap::new();
    };
    let values: Vec<&str> = found
        .iter()
        .skip(1)
        .flatten()
        .map(|part| part.as_str())
        .collect();
    if values.len() != names.len() || values.iter().any(|value| value.is_empty()) {
        return HashMap::new();
    }
    let mut current = HashMap::new();
    for (name, value) in names.into_iter().zip(values) {
        // The first counts, if a name is there several times.
        current.entry(name).or_insert(value);
    }
    current
}

/// The regular expression of a pattern, with a group for each of its names.
fn expression(pattern: &str) -> String {
    let mut parts = pattern.split("${");
    let mut expression = regex::escape(parts.next().unwrap_or_default());
    for part in parts {
        if let Some((_, after)) = part.split_once('}') {
            expression.push_str("(.*)");
            expression.push_str(&regex::escape(after));
        } else {
            expression.push_str(&regex::escape("${"));
            expression.push_str(&regex::escape(part));
        }
    }
    expression
}

/// The list that results from a setter.
fn array(pattern: &str, setters: &HashMap<&str, &str>) -> Result<Value, String> {
    let is_simple =
        names(pattern).len() == 1 && pattern.starts_with("${") && pattern.ends_with('}');
    if !is_simple {
        return Err(format!(
            "the field is a list, and its comment {pattern:?} is not one setter; expected ${{NAME}}"
        ));
    }
    let name = names(pattern)[0];
    let value = setters.get(name).copied().unwrap_or_default();
    if value.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    parsed(value)
        .filter(Value::is_array)
        .ok_or_else(|| format!("setter {name} is for a list; expected a list, found {value:?}"))
}

/// The value of a text that is YAML itself; `None` if it is not.
fn parsed(text: &str) -> Option<Value> {
    // A document of one key, because the reader of packages reads maps.
    let mut document = String::from("value:\n");
    for line in text.lines() {
        document.push_str("  ");
        document.push_str(line);
        document.push('\n');
    }
    let mut read = decode(
        document.as_bytes(),
        Format::Yaml,
        Dialect::Programs,
        &Limits::default(),
    )
    .ok()?;
    let mut document = read.pop().filter(|_| read.is_empty())?;
    document.get_mut("value").map(Value::take)
}

pub(super) fn create(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let setters = read(list, "CreateSetters")?;
    let mut scalars = Vec::new();
    let mut arrays = Vec::new();
    for (name, value) in setters {
        match parsed(&value) {
            Some(Value::Array(items)) => {
                let mut texts: Vec<String> = items.iter().filter_map(scalar).collect();
                texts.sort();
                arrays.push((name, texts));
            }
            Some(Value::Object(_)) => {}
            _ if value.is_empty() => {}
            _ => scalars.push((name, value)),
        }
    }
    // The longest value first, because it is the better match if two values begin alike.
    scalars.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    let mut results = Vec::new();
    for item in &mut list.items {
        let Item { value, setters, .. } = item;
        let mut found = Vec::new();
        visit(value, &mut |value, pointer, path| {
            if pointer
                == format!(
                    "/metadata/annotations/{}",
                    annotations::PATH.replace('/', "~1")
                )
            {
                return Ok(());
            }
            if let Value::Array(items) = value {
                let mut texts: Vec<String> = items.iter().filter_map(scalar).collect();
                texts.sort();
                let is_flat = texts.len() == items.len() && !pointer.is_empty();
                let name = arrays
                    .iter()
                    .find(|(_, wanted)| is_flat && *wanted == texts);
                if let Some((name, _)) = name {
                    budget.take(pointer.len() + name.len());
                    budget.check()?;
                    found.push((pointer.to_owned(), shortened(path), format!("${{{name}}}")));
                }
                return Ok(());
            }
            let Some(text) = scalar(value).filter(|text| !text.contains('\n')) else {
                return Ok(());
            };
            if let Some(pattern) = parameterized(&text, &scalars)? {
                budget.take(pointer.len() + pattern.len());
                budget.check()?;
                found.push((pointer.to_owned(), shortened(path), pattern));
            }
            Ok(())
        })?;
        for (pointer, path, pattern) in found {
            let message = format!("added the comment kpt-set: {pattern}");
            let result = FunctionResult::new(Severity::Info, message);
            results.push(result.with_resource(value).with_field(path));
            setters.insert(pointer, pattern);
        }
    }
    if results.is_empty() {
        let message = "no field has one of these values";
        results.push(FunctionResult::new(Severity::Info, message));
    }
    list.results.extend(results);
    Ok(())
}

/// The text with every value of a setter replaced by the setter; `None` without any.
///
/// # Errors
/// A clause that says that the text becomes too long.
fn parameterized(text: &str, setters: &[(String, String)]) -> Result<Option<String>, String> {
    let mut pattern = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(first) = rest.chars().next() {
        let setter = setters
            .iter()
            .find(|(_, value)| rest.starts_with(value.as_str()));
        if let Some((name, value)) = setter {
            check_length(pattern.len() + name.len())?;
            let _ = write!(pattern, "${{{name}}}");
            rest = &rest[value.len()..];
            found = true;
        } else {
            pattern.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(found.then_some(pattern))
}
