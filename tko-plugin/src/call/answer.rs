//! The answer of a plugin.

use super::PackageResources;
use crate::failure::Unreadable;
use crate::stderr::printable;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::encoding::{self, DecodeError};
use tko_core::{Dialect, Format, Limits, Package, Resource};

/// The answer of a plugin. Unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginAnswer {
    /// Errors in the plugin's own words; empty on success.
    pub errors: Vec<String>,
    /// Preparers only: true if [`package`](Self::package) is the new package.
    pub prepared: bool,
    /// Preparers only: the new package. It is not read unless [`prepared`](Self::prepared) is true.
    pub package: Option<Package>,
}

/// A package as a call sent it: its resources, and the document with their text.
///
/// An answer that repeats the text of a resource shares the resource. It is not decoded again, and
/// later comparisons find the same value in memory.
#[derive(Clone, Debug)]
pub struct SentPackage {
    resources: PackageResources,
    document: Arc<[u8]>,
}

impl SentPackage {
    /// Remembers what was sent. `document` is the input of a preparer with this package.
    pub fn new(resources: PackageResources, document: Arc<[u8]>) -> Self {
        Self {
            resources,
            document,
        }
    }

    /// The resources by their text.
    fn texts(&self) -> Option<HashMap<&str, &Arc<Resource>>> {
        /// The part of the document that has the package.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct SentText<'a> {
            #[serde(borrow)]
            deployment_package: Vec<&'a RawValue>,
        }
        let sent: SentText<'_> = serde_json::from_slice(&self.document).ok()?;
        let texts = sent.deployment_package.into_iter().map(RawValue::get);
        Some(texts.zip(self.resources.0.iter()).collect())
    }
}

impl PluginAnswer {
    /// Decodes an answer. The time grows with its size.
    ///
    /// `error` is a string or a list of strings; null and empty strings count as absent.
    ///
    /// # Errors
    /// - The bytes are not YAML, are not exactly one map, or exceed the limits.
    /// - A known key has a value of the wrong type.
    /// - The package is invalid.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, Unreadable> {
        let unreadable = |problem: String| Unreadable::new(problem, bytes);
        let mut documents = documents(bytes, limits)
            .map_err(|error| unreadable(format!("it is not valid YAML ({error})")))?;
        let answer = match (documents.pop(), documents.is_empty()) {
            (Some(Value::Object(answer)), true) => answer,
            (None, _) => return Err(unreadable("it is empty".to_owned())),
            _ => return Err(unreadable("it is more than one map".to_owned())),
        };
        Self::of(answer).map_err(unreadable)
    }

    /// Decodes the answer to a preparer's call as [`decode`](Self::decode) does, but shares the
    /// resources whose text is as it was sent.
    ///
    /// Those were decoded before. They count towards the limit on bytes only.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_sharing(
        bytes: &[u8],
        sent: &SentPackage,
        limits: &Limits,
    ) -> Result<Self, Unreadable> {
        match Self::shared(bytes, sent, limits) {
            Some(answer) => Ok(answer),
            None => Self::decode(bytes, limits),
        }
    }

    /// Decodes an answer in JSON with a package, and reuses the resources that were sent. Returns
    /// `None` for any other form of answer, and for an invalid one.
    fn shared(bytes: &[u8], sent: &SentPackage, limits: &Limits) -> Option<Self> {
        /// An answer whose package is text.
        #[derive(Deserialize)]
        struct AnswerText<'a> {
            #[serde(default)]
            error: Value,
            prepared: bool,
            #[serde(borrow)]
            package: Vec<&'a RawValue>,
        }
        if bytes.len() > limits.bytes {
            return None;
        }
        let answer: AnswerText<'_> = serde_json::from_slice(bytes).ok()?;
        if !answer.prepared {
            return None;
        }
        let sent = sent.texts()?;
        let texts = answer.package.into_iter().map(RawValue::get);
        let texts: Vec<_> = texts.map(|text| (text, sent.get(text).copied())).collect();
        let changed = texts.iter().filter(|(_, shared)| shared.is_none());
        let changed: Vec<&str> = changed.map(|(text, _)| *text).collect();
        // As one list, so that the limits apply to all of them together.
        let list = format!("[{}]", changed.join(","));
        let list = list.as_bytes();
        let values = encoding::decode(list, Format::Json, Dialect::Programs, limits).ok()?;
        let mut values = values.into_iter();
        let resources = texts.into_iter().map(|(_, shared)| match shared {
            Some(resource) => Some(resource.clone()),
            None => Resource::new(values.next()?).map(Arc::new).ok(),
        });
        let package = Package::new(resources.collect::<Option<_>>()?).ok()?;
        Some(Self {
            errors: errors(Some(answer.error)).ok()?,
            prepared: true,
            package: Some(package),
        })
    }

    fn of(mut answer: Map<String, Value>) -> Result<Self, String> {
        let errors = errors(answer.remove("error"))?;
        let prepared = match answer.remove("prepared") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(prepared)) => prepared,
            Some(other) => return Err(wrong("prepared", "true or false", &other)),
        };
        let package = match answer.remove("package") {
            None | Some(Value::Null) => None,
            Some(Value::Array(package)) => prepared.then_some(package),
            Some(other) => return Err(wrong("package", "a list of resources", &other)),
        };
        let package = package.map(Package::from_values).transpose();
        Ok(Self {
            errors,
            prepared,
            package: package.map_err(|error| format!("its {}", error.chain()))?,
        })
    }
}

/// The texts of the key `error`.
fn errors(error: Option<Value>) -> Result<Vec<String>, String> {
    let errors = match error {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(wrong("error", "a string or a list of strings", &other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong("error", "a string or a list of strings", &other)),
    };
    Ok(errors
        .iter()
        .map(|text| printable(text.trim().as_bytes()))
        .filter(|text| !text.is_empty())
        .collect())
}

/// Tries JSON first: most plugins write it, and it decodes many times faster than YAML. Text that
/// is not JSON may still be YAML in flow style.
fn documents(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, DecodeError> {
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Ok(documents) = encoding::decode(bytes, Format::Json, Dialect::Programs, limits)
    {
        return Ok(documents);
    }
    encoding::decode(bytes, Format::Yaml, Dialect::Programs, limits)
}

fn wrong(key: &str, expected: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    format!("its key {key:?} must be {expected}, found {found}")
}
