//! The results that a function reports: messages with a severity and a place.

use serde_json::{Map, Value, json};
use std::fmt;

/// The severity of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For information; also the severity of a result without one.
    #[default]
    Info,
    /// Suspicious, but the function succeeded.
    Warning,
    /// The function failed.
    Error,
}

impl Severity {
    /// The name in a `ResourceList`: `info`, `warning` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One result of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionResult {
    /// The message for people; more than 2 KiB are truncated.
    pub message: String,
    /// Whether the function failed; [`Severity::Info`] if the function wrote none.
    pub severity: Severity,
    /// The resource as `Kind namespace/name`; empty if the result has none.
    pub resource: String,
    /// The path of the field; empty if the result has none.
    pub field: String,
    /// The content as the function wrote it; null for a native function.
    raw: Value,
}

/// Maximum length of one part of a result, in bytes; longer texts are truncated.
const LONGEST: usize = 2_048;

impl FunctionResult {
    /// A result without a place. A message of more than 2 KiB is truncated.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self {
            message: shortened(&message),
            severity,
            ..Self::default()
        }
    }

    /// Sets the resource that the result is about. More than 2 KiB of its name are truncated.
    #[must_use]
    pub fn with_resource(mut self, value: &Value) -> Self {
        let text = |path: [&str; 2]| {
            let found = value.get(path[0]).and_then(|value| value.get(path[1]));
            found.and_then(Value::as_str).unwrap_or_default()
        };
        let kind = value
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = name_of(
            kind,
            text(["metadata", "namespace"]),
            text(["metadata", "name"]),
        );
        self.resource = shortened(&name);
        self
    }

    /// Sets the path of the field that the result is about. More than 2 KiB of it are truncated.
    #[must_use]
    pub fn with_field(mut self, path: impl Into<String>) -> Self {
        let path: String = path.into();
        self.field = shortened(&path);
        self
    }

    /// Reads a result as the KRM functions specification defines it. Unknown severities become
    /// info, and long texts are truncated.
    pub(crate) fn read(value: Value) -> Self {
        let text =
            |value: Option<&Value>| shortened(value.and_then(Value::as_str).unwrap_or_default());
        let reference = value.get("resourceRef");
        let part = |name: &str| text(reference.and_then(|reference| reference.get(name)));
        let severity = match value.get("severity").and_then(Value::as_str) {
            Some("error") => Severity::Error,
            Some("warning") => Severity::Warning,
            _ => Severity::Info,
        };
        Self {
            message: text(value.get("message")),
            severity,
            resource: name_of(&part("kind"), &part("namespace"), &part("name")),
            field: text(value.get("field").and_then(|field| field.get("path"))),
            raw: value,
        }
    }

    /// The content in a `ResourceList`.
    pub(crate) fn to_value(&self) -> Value {
        if !self.raw.is_null() {
            return self.raw.clone();
        }
        let mut map = Map::new();
        map.insert("message".to_owned(), json!(self.message));
        map.insert("severity".to_owned(), json!(self.severity.as_str()));
        if let Some((kind, name)) = self.resource.split_once(' ') {
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            let mut reference = Map::new();
            reference.insert("kind".to_owned(), json!(kind));
            reference.insert("name".to_owned(), json!(name));
            if !namespace.is_empty() {
                reference.insert("namespace".to_owned(), json!(namespace));
            }
            map.insert("resourceRef".to_owned(), Value::Object(reference));
        }
        if !self.field.is_empty() {
            map.insert("field".to_owned(), json!({ "path": self.field }));
        }
        Value::Object(map)
    }
}

/// The text, truncated if it is too long for a part of a result.
pub(crate) fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

fn name_of(kind: &str, namespace: &str, name: &str) -> String {
    match (kind, namespace) {
        ("", _) => String::new(),
        (kind, "") => format!("{kind} {name}"),
        (kind, namespace) => format!("{kind} {namespace}/{name}"),
    }
}

/// Formats the result as `Kind name: field: message`.
impl fmt::Display for FunctionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.resource, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// Writes results to the log.
pub(crate) fn log(
    subject: &tko_plugin::log::LogSubject,
    function: &str,
    results: &[FunctionResult],
) {
    /// Maximum number of results of one call that are logged.
    const MOST: usize = 200;
    for result in results.iter().take(MOST) {
        let tko_plugin::log::LogSubject {
            plugin,
            deployment,
            resource,
            ..
        } = subject;
        match result.severity {
            Severity::Info => {
                tracing::info!(plugin, deployment, resource, function, "{result}");
            }
            Severity::Warning => {
                tracing::warn!(plugin, deployment, resource, function, "{result}");
            }
            Severity::Error => {
                tracing::error!(plugin, deployment, resource, function, "{result}");
            }
        }
    }
    if results.len() > MOST {
        let dropped = results.len() - MOST;
        tracing::warn!(function, dropped, "the function reported too many results");
    }
}
