//! A wrapper around the schema library: the only module that compiles schemas.

use crate::finding::{Findings, SchemaFinding};
use crate::formats;
use crate::guard;
use crate::message::{Explainer, path};
use crate::rules;
use crate::structural::Structural;
use crate::unique::{UNIQUE_BY, UniqueBy};
use jsonschema::{Draft, PatternOptions, ValidationOptions, Validator};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::atomic::AtomicBool;
use tko_core::Resource;

/// Maximum size in bytes of a compiled pattern. Patterns match in linear time.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A compiled schema.
pub(crate) struct CompiledSchema {
    validator: Validator,
    /// The structural schema of a custom kind.
    structural: Option<Structural>,
}

/// Returns the settings of every schema: offline, with all formats and keywords.
pub(crate) fn options<'a>() -> ValidationOptions<'a> {
    let mut options = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .with_keyword(UNIQUE_BY, |_, keys, _| Ok(Box::new(UniqueBy::new(keys))))
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES));
    for (name, check, _) in formats::CUSTOM {
        options = options.with_format(*name, *check);
    }
    for (name, check, _) in formats::KUBERNETES {
        options = options
            .with_format(*name, *check)
            .with_format(format!("{name}?"), |text: &str| {
                text.is_empty() || check(text)
            });
    }
    options
}

impl CompiledSchema {
    /// Compiles a self-contained JSON Schema 2020-12. The schema of a custom kind has a structural
    /// schema, too.
    ///
    /// # Errors
    /// The reason why the schema cannot be used, for people.
    pub(crate) fn new(rules: &Value, structural: Option<Structural>) -> Result<Self, String> {
        guard::check_schema(rules)?;
        let validator = options().build(rules).map_err(|error| {
            let place = path(error.instance_path().as_str(), rules);
            match place.trim_start_matches("['$defs'].resource.") {
                "" => error.to_string(),
                place => format!("{place}: {error}"),
            }
        })?;
        Ok(Self {
            validator,
            structural,
        })
    }

    /// Returns true if validation can take long: it evaluates rules.
    pub(crate) fn has_rules(&self) -> bool {
        let structural = self.structural.as_ref();
        structural.is_some_and(Structural::has_rules)
    }

    /// Returns the first validation rule that does not parse, with the reason.
    pub(crate) fn unusable_rule(&self) -> Option<String> {
        self.structural.as_ref()?.unusable_rule()
    }

    /// Validates a value and returns at most `limit` findings.
    ///
    /// The evaluation of rules ends early, with any outcome, once `stop` is set. `rules` returns the
    /// source of this schema. It is called only if a message needs it.
    pub(crate) fn validate(
        &self,
        resource: &Resource,
        complete: bool,
        limit: usize,
        stop: &AtomicBool,
        rules: impl Fn() -> Value,
    ) -> Findings {
        let mut value = Cow::Borrowed(resource.value());
        if let Some(structural) = &self.structural {
            structural.prune_nulls(value.to_mut());
            if complete && structural.apply_defaults(value.to_mut()).is_err() {
                return Findings::one(SchemaFinding {
                    path: String::new(),
                    message: "becomes too large with the defaults of its kind; make it smaller"
                        .to_owned(),
                });
            }
        }
        if self.validator.is_valid(&value) {
            return match &self.structural {
                Some(structural) if complete && structural.has_rules() => {
                    rules::check(structural, &value, limit, stop)
                }
                _ => Findings::default(),
            };
        }
        let again = OnceCell::new();
        let mut explainer = Explainer::new(&value, limit, || again.get_or_init(&rules));
        if *resource.gvk().kind == *"Secret" && resource.gvk().group.is_empty() {
            explainer.hide_values();
        }
        for error in self.validator.iter_errors(&value) {
            explainer.add(&error);
        }
        explainer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::CompiledSchema;
    use serde_json::json;

    #[test]
    fn patterns_over_the_memory_limit_are_refused() {
        for pattern in ["(((a{100}){100}){100})", "(?=lookahead)", "("] {
            assert!(
                CompiledSchema::new(&json!({"pattern": pattern}), None).is_err(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn an_invalid_schema_is_refused_with_its_path() {
        let error = CompiledSchema::new(
            &json!({"$defs": {"resource": {"properties": {"a": {"type": "text"}}}}}),
            None,
        )
        .err()
        .expect("refused");
        assert!(error.starts_with("properties.a.type: "), "{error}");
    }
}
