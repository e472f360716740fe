//! Messages for people who write manifests.

mod path;
mod phrases;

pub(crate) use path::path;
pub(crate) use phrases::nearest;

use crate::finding::{Findings, SchemaFinding};
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use path::join;
use phrases::{format_in_words, one_of, types, unknown_property};
use serde_json::Value;
use std::borrow::Cow;

/// Maximum number of bytes that a message quotes of a validation rule or of a reason.
pub(crate) const QUOTED_BYTES: usize = 200;
/// Maximum number of characters of a value that a message quotes.
const SHOWN_CHARACTERS: usize = 60;
/// Maximum depth at which choices within choices are explained.
const MAX_CHOICES: usize = 8;

/// Collects findings about one resource.
pub(crate) struct Explainer<'a, R> {
    resource: &'a Value,
    limit: usize,
    rules: R,
    hidden: bool,
    found: Findings,
}

impl<'a, 'r, R: Fn() -> &'r Value> Explainer<'a, R> {
    /// Creates an explainer that keeps at most `limit` findings and counts the rest. `rules`
    /// returns the schema and is called only if a message needs it.
    pub(crate) fn new(resource: &'a Value, limit: usize, rules: R) -> Self {
        Self {
            resource,
            limit,
            rules,
            hidden: false,
            found: Findings::default(),
        }
    }

    /// Stops quoting values, because they are secret.
    pub(crate) fn hide_values(&mut self) {
        self.hidden = true;
    }

    /// Adds the findings of an error.
    pub(crate) fn add(&mut self, error: &ValidationError<'_>) {
        self.explain(error, 0);
    }

    /// Returns everything that was added.
    pub(crate) fn finish(self) -> Findings {
        self.found
    }

    fn is_full(&self) -> bool {
        self.found.list.len() >= self.limit
    }

    fn say(&mut self, path: String, message: String) {
        let finding = SchemaFinding { path, message };
        if self.found.list.contains(&finding) {
            return;
        }
        if self.is_full() {
            self.found.more += 1;
        } else {
            self.found.list.push(finding);
        }
    }

    /// Adds the findings of an error. Once the list is full, it only counts, because a message can
    /// take long: it compares an unknown name with all that are known.
    fn explain(&mut self, error: &ValidationError<'_>, depth: usize) {
        if self.is_full() {
            self.found.more += match error.kind() {
                Kind::AdditionalProperties { unexpected } => unexpected.len(),
                _ => 1,
            };
            return;
        }
        let pointer = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let known = self.known_properties(error.schema_path().as_str());
                for (at, name) in unexpected.iter().enumerate() {
                    if self.is_full() {
                        self.found.more += unexpected.len() - at;
                        return;
                    }
                    let message = unknown_property(name, &known);
                    self.say(path(&join(pointer, name), self.resource), message);
                }
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let at = path(&join(pointer, name), self.resource);
                self.say(at, "is required and missing".to_owned());
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } if depth < MAX_CHOICES => {
                self.explain_choice(pointer, context, depth);
            }
            kind => {
                let at = path(pointer, self.resource);
                let is_told = self.found.list.iter().any(|finding| finding.path == at);
                // A value of the wrong type is not among the allowed values either; one message is
                // enough.
                if !(is_told && matches!(kind, Kind::Enum { .. })) {
                    let message = self.sentence(kind, error);
                    self.say(at, message);
                }
            }
        }
    }

    /// Explains why none of several schemas fits, with the errors of the branch that was most
    /// likely intended.
    fn explain_choice(
        &mut self,
        pointer: &str,
        branches: &[Vec<ValidationError<'_>>],
        depth: usize,
    ) {
        let here = |error: &ValidationError<'_>| error.instance_path().as_str() == pointer;
        let is_wrong_type = |branch: &&Vec<ValidationError<'_>>| {
            branch
                .iter()
                .any(|error| matches!(error.kind(), Kind::Type { .. }) && here(error))
        };
        let meant: Vec<_> = branches.iter().filter(|b| !is_wrong_type(b)).collect();
        let missing: Vec<&str> = meant
            .iter()
            .filter_map(|branch| match branch.as_slice() {
                [error] if here(error) => match error.kind() {
                    Kind::Required { property } => property.as_str(),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        if meant.is_empty() {
            for error in branches.iter().filter_map(|branch| branch.first()) {
                self.explain(error, depth + 1);
            }
        } else if missing.len() == meant.len() && missing.len() > 1 {
            let message = format!("must have one of {}", missing.join(", "));
            self.say(path(pointer, self.resource), message);
        } else if let Some(nearest) = meant.iter().min_by_key(|branch| branch.len()) {
            for error in *nearest {
                self.explain(error, depth + 1);
            }
        }
    }

    fn sentence(&self, kind: &Kind, error: &ValidationError<'_>) -> String {
        let is = self.value(error.instance());
        match kind {
            Kind::Type {
                kind: TypeKind::Multiple(all_but_null),
            } if all_but_null.len() > 4 => "is required and must not be null".to_owned(),
            Kind::Type { kind } => format!("must be {}{is}", types(kind)),
            Kind::Enum { options } => format!("must be {}{is}", one_of(options)),
            Kind::Constant { expected_value } => format!("must be {expected_value}{is}"),
            Kind::Pattern { pattern } => format!("must match the pattern {pattern}{is}"),
            Kind::Minimum { limit } => format!("must be at least {limit}{is}"),
            Kind::Maximum { limit } => format!("must be at most {limit}{is}"),
            Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}{is}"),
            Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}{is}"),
            Kind::MinLength { limit } => format!("must have at least {limit} characters{is}"),
            Kind::MaxLength { limit } => format!("must have at most {limit} characters{is}"),
            Kind::MinItems { limit } => format!("must have at least {limit} items"),
            Kind::MaxItems { limit } => format!("must have at most {limit} items"),
            Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
            Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
            Kind::UniqueItems => "must not contain duplicate items".to_owned(),
            Kind::Format { format } => format!("must be {}{is}", format_in_words(format)),
            Kind::OneOfMultipleValid { .. } => {
                "matches several alternatives; only one is allowed".to_owned()
            }
            Kind::Not { .. } => "has a form that is not allowed".to_owned(),
            Kind::FalseSchema => "is not allowed".to_owned(),
            Kind::PropertyNames { error } => {
                let key = error.instance().as_str().unwrap_or_default();
                let why = match error.kind() {
                    Kind::Format { format } => format!("it must be {}", format_in_words(format)),
                    _ => error.masked().to_string(),
                };
                format!("has an invalid key {:?}: {why}", cut(key))
            }
            Kind::Custom { message, .. } => message.clone(),
            _ => error.masked().to_string(),
        }
    }

    /// Returns `, but is …`, or nothing for a secret value.
    fn value(&self, value: &Value) -> String {
        let shown = match value {
            _ if self.hidden => return String::new(),
            Value::Object(_) => "a map".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::String(text) => match cut(text) {
                all if all.len() == text.len() => format!("the text {text:?}"),
                beginning => format!("the text {beginning:?}…"),
            },
            other => other.to_string(),
        };
        format!(", but is {shown}")
    }

    /// Returns the properties that the schema names next to `additionalProperties` at this place.
    fn known_properties(&self, schema_pointer: &str) -> Vec<&'r str> {
        let Some((parent, _)) = schema_pointer.rsplit_once('/') else {
            return Vec::new();
        };
        let properties = (self.rules)()
            .pointer(parent)
            .and_then(|schema| schema.get("properties")?.as_object());
        properties
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }
}

/// Returns the beginning of a text that a message quotes.
pub(crate) fn cut(text: &str) -> &str {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Returns a text, or its beginning and an ellipsis if it is longer than `most` bytes.
pub(crate) fn beginning(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(most);
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests;
