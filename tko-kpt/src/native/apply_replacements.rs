//! `apply-replacements`: copies values between fields, as the replacements of kustomize do.
//!
//! Versions up to v0.1.1 skip fields of targets that do not exist; later ones refuse them.

use super::fields::{group, kind, name, namespace, scalar};
use super::growth::{WriteBudget, check_length};
use super::scalars::implied;
use crate::reference::FunctionVersion;
use crate::resource_list::ResourceList;
use crate::results::{FunctionResult, Severity};
use serde_json::{Map, Value};

mod path;
mod selector;

use path::FieldPath;
use selector::ReplacementSelector;

/// Maximum number of replacements of one configuration.
const MOST: usize = 10_000;

/// Options that select a part of a text to read or replace.
#[derive(Default)]
struct FieldOptions {
    delimiter: String,
    index: i64,
    create: bool,
    base64: bool,
}

pub(super) fn run(
    list: &mut ResourceList,
    version: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let Some(config) = list.function_config.clone() else {
        return Err("it is missing; expected an ApplyReplacements".to_owned());
    };
    let replacements = match config.get("replacements") {
        Some(Value::Array(replacements)) => replacements,
        None | Some(Value::Null) => return Err("its field replacements is missing".to_owned()),
        Some(_) => return Err("its field replacements is not a list".to_owned()),
    };
    if replacements.len() > MOST {
        return Err(format!("it has more than {MOST} replacements"));
    }
    let skips = version < FunctionVersion::new(0, 1, 2);
    let mut count = 0;
    for (at, replacement) in replacements.iter().enumerate() {
        let applied = apply(list, replacement, skips, budget);
        count += applied.map_err(|problem| format!("replacement {}: {problem}", at + 1))?;
    }
    let message = format!("{count} values replaced");
    list.results
        .push(FunctionResult::new(Severity::Info, message));
    Ok(())
}

/// Applies one replacement; returns how many values it set.
fn apply(
    list: &mut ResourceList,
    replacement: &Value,
    skips: bool,
    budget: &mut WriteBudget,
) -> Result<usize, String> {
    let value = source_value(list, replacement, budget)?;
    let targets = match replacement.get("targets") {
        Some(Value::Array(targets)) if !targets.is_empty() => targets,
        _ => return Err("it has no targets".to_owned()),
    };
    let mut count = 0;
    let mut warnings = Vec::new();
    for target in targets {
        let select = target.get("select").filter(|select| select.is_object());
        let select = ReplacementSelector::read(select.ok_or("a target has no select")?)?;
        let reject = match target.get("reject") {
            Some(Value::Array(reject)) => reject
                .iter()
                .map(ReplacementSelector::read)
                .collect::<Result<Vec<_>, _>>()?,
            _ => Vec::new(),
        };
        let options = FieldOptions::read(target.get("options"))?;
        let paths = match target.get("fieldPaths") {
            Some(Value::Array(paths)) if !paths.is_empty() => paths
                .iter()
                .map(|path| FieldPath::parse(path.as_str().unwrap_or_default()))
                .collect::<Result<Vec<_>, _>>()?,
            _ => vec![FieldPath::parse("metadata.name")?],
        };
        for item in &mut list.items {
            let is_rejected = reject.iter().any(|reject| reject.matches(&item.value));
            if is_rejected || !select.matches(&item.value) {
                continue;
            }
            for path in &paths {
                if options.create {
                    // The keys of the path may be created.
                    budget.take(path.bytes());
                    budget.check()?;
                }
                let mut failure = None;
                let found = path.edit(&mut item.value, options.create, &mut |place| match options
                    .set(place, &value, budget)
                {
                    Ok(()) => count += 1,
                    Err(problem) => failure = Some(problem),
                });
                let named = || {
                    let (kind, name) = (kind(&item.value), name(&item.value));
                    format!("{kind} {name}: {path}")
                };
                if let Some(problem) = failure {
                    return Err(format!("{}: {problem}", named()));
                }
                if found == 0 && !options.create {
                    let problem =
                        format!("{} is not there; set it, or allow options.create", named());
                    if !skips {
                        return Err(problem);
                    }
                    budget.take(problem.len());
                    budget.check()?;
                    warnings.push(FunctionResult::new(Severity::Warning, problem));
                }
            }
        }
    }
    list.results.extend(warnings);
    Ok(count)
}

fn source_value(
    list: &ResourceList,
    replacement: &Value,
    budget: &mut WriteBudget,
) -> Result<Value, String> {
    if let Some(value) = replacement.get("sourceValue") {
        budget.take_copy(value)?;
        return Ok(value.clone());
    }
    let source = replacement
        .get("source")
        .filter(|source| source.is_object());
    let source = source.ok_or("it has no source")?;
    let select = ReplacementSelector::read(source)?;
    let mut found = list.items.iter().filter(|item| select.matches(&item.value));
    let (Some(item), None) = (found.next(), found.next()) else {
        let is_any = list.items.iter().any(|item| select.matches(&item.value));
        let problem = if is_any {
            "several resources match its source"
        } else {
            "no resource matches its source"
        };
        return Err(format!("{problem} ({select}); expected exactly one"));
    };
    let path = source
        .get("fieldPath")
        .and_then(Value::as_str)
        .unwrap_or("metadata.name");
    let path = FieldPath::parse(path)?;
    let value = path.get(&item.value).ok_or_else(|| {
        let (kind, name) = (kind(&item.value), name(&item.value));
        format!("its source {kind} {name} has no field {path}")
    })?;
    FieldOptions::read(source.get("options"))?.get(value, budget)
}

impl FieldOptions {
    fn read(options: Option<&Value>) -> Result<Self, String> {
        let Some(options) = options.filter(|options| !options.is_null()) else {
            return Ok(Self::default());
        };
        let text = |field: &str| {
            options
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        Ok(Self {
            delimiter: text("delimiter").to_owned(),
            index: options
                .get("index")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            create: options.get("create") == Some(&Value::Bool(true)),
            base64: match text("encoding") {
                "" => false,
                "base64" => true,
                other => return Err(format!("unknown encoding {other:?}; expected base64")),
            },
        })
    }

    /// The part of the source's value.
    fn get(&self, value: &Value, budget: &mut WriteBudget) -> Result<Value, String> {
        if self.delimiter.is_empty() {
            budget.take_copy(value)?;
            return Ok(value.clone());
        }
        let text = scalar(value).ok_or("delimiter is only for text, and its source is not")?;
        let mut parts = text.split(&self.delimiter);
        let part = usize::try_from(self.index)
            .ok()
            .and_then(|index| parts.nth(index));
        part.map(|part| Value::String(part.to_owned()))
            .ok_or_else(|| {
                format!("its source {text:?} has no part {} ", self.index)
                    .trim_end()
                    .to_owned()
            })
    }

    /// Sets a target.
    fn set(
        &self,
        place: &mut Value,
        value: &Value,
        budget: &mut WriteBudget,
    ) -> Result<(), String> {
        budget.take_copy(value)?;
        let mut value = value.clone();
        if self.base64 {
            let text = scalar(&value).ok_or("encoding is only for text")?;
            check_length(text.len().div_ceil(3) * 4)?;
            value = Value::String(base64(text.as_bytes()));
        }
        if !self.delimiter.is_empty() {
            let old = match &*place {
                Value::Null => String::new(),
                old => scalar(old).ok_or("delimiter is only for text, and the field is not")?,
            };
            let new = scalar(&value).ok_or("delimiter is only for text, and the value is not")?;
            check_length(old.len())?;
            let mut parts: Vec<&str> = old.split(&self.delimiter).collect();
            match usize::try_from(self.index) {
                Err(_) => parts.insert(0, &new),
                Ok(index) if index < parts.len() => parts[index] = &new,
                Ok(_) => parts.push(&new),
            }
            // A field that is its own source would otherwise double with every replacement.
            let texts: usize = parts.iter().copied().map(str::len).sum();
            let length = texts + self.delimiter.len() * (parts.len() - 1);
            check_length(length)?;
            budget.take(length);
            budget.check()?;
            value = Value::String(parts.join(&self.delimiter));
        }
        // A scalar keeps its type, so that a number stays a number and text stays text.
        *place = match (&*place, scalar(&value)) {
            (Value::String(_), Some(text)) => Value::String(text),
            (Value::Number(_) | Value::Bool(_), Some(text)) => implied(&text),
            _ => value,
        };
        Ok(())
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for at in 0..4 {
            if at <= chunk.len() {
                let letter = (bits >> (18 - 6 * at)) & 63;
                text.push(char::from(LETTERS[letter as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// An empty map, for places that are created.
fn empty_map() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_the_end() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
