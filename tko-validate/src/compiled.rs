//! A wrapper around the schema library: the only module that compiles schemas.

use crate::guard;
use crate::message::{Explainer, path};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::cell::OnceCell;
use tko_core::Resource;

/// Maximum size in bytes of a compiled pattern. Patterns match in linear time.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// One problem in a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaFinding {
    /// Path such as `spec.containers[0].image`; empty for the whole resource.
    pub(crate) path: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

/// The problems in a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Problems in the order of the schema.
    pub(crate) list: Vec<SchemaFinding>,
    /// Number of further problems that are not listed.
    pub(crate) more: usize,
}

impl Findings {
    /// Creates a list with one problem.
    pub(crate) fn one(finding: SchemaFinding) -> Self {
        Self {
            list: vec![finding],
            more: 0,
        }
    }
}

/// A compiled schema.
pub(crate) struct CompiledSchema(Validator);

impl CompiledSchema {
    /// Compiles a self-contained JSON Schema 2020-12.
    ///
    /// # Errors
    /// The reason why the schema cannot be used, for people.
    pub(crate) fn new(rules: &Value) -> Result<Self, String> {
        guard::check_schema(rules)?;
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_format("byte", is_base64)
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
            .build(rules)
            .map(Self)
            .map_err(|error| {
                let place = path(error.instance_path().as_str(), rules);
                match place.trim_start_matches("['$defs'].resource.") {
                    "" => error.to_string(),
                    place => format!("{place}: {error}"),
                }
            })
    }

    /// Validates a value and returns at most `limit` findings.
    ///
    /// `rules` returns the source of this schema. It is called only if a message needs it.
    pub(crate) fn validate(
        &self,
        resource: &Resource,
        limit: usize,
        rules: impl Fn() -> Value,
    ) -> Findings {
        let value = resource.value();
        if self.0.is_valid(value) {
            return Findings::default();
        }
        let again = OnceCell::new();
        let mut explainer = Explainer::new(value, limit, || again.get_or_init(&rules));
        if *resource.gvk().kind == *"Secret" && resource.gvk().group.is_empty() {
            explainer.hide_values();
        }
        for error in self.0.iter_errors(value) {
            explainer.add(&error);
        }
        explainer.finish()
    }
}

/// Returns true for padded standard base64, as Kubernetes accepts it for bytes: line breaks are
/// ignored.
fn is_base64(text: &str) -> bool {
    let mut length = 0_usize;
    let mut padding = 0_usize;
    for byte in text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        match byte {
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return false,
        }
        length += 1;
    }
    length.is_multiple_of(4) && padding <= 2
}

#[cfg(test)]
mod tests {
    use super::{CompiledSchema, is_base64};
    use serde_json::json;

    #[test]
    fn base64_is_recognized() {
        for good in ["", "YQ==", "YWI=", "YWJj", "YWJj\nYWJj\r\n"] {
            assert!(is_base64(good), "{good:?}");
        }
        for bad in ["Y", "YQ", "YQ=", "Y===", "YQ==YQ==", "a-_b", "YW Jj", "ä"] {
            assert!(!is_base64(bad), "{bad:?}");
        }
    }

    #[test]
    fn patterns_over_the_memory_limit_are_refused() {
        for pattern in ["(((a{100}){100}){100})", "(?=lookahead)", "("] {
            assert!(
                CompiledSchema::new(&json!({"pattern": pattern})).is_err(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn an_invalid_schema_is_refused_with_its_path() {
        let error = CompiledSchema::new(
            &json!({"$defs": {"resource": {"properties": {"a": {"type": "text"}}}}}),
        )
        .err()
        .expect("refused");
        assert!(error.starts_with("properties.a.type: "), "{error}");
    }
}
