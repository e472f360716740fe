//! A wrapper around the schema library: the only module that compiles schemas.

use crate::cost::{self, MAX_CHECKS, MAX_LISTED_CHECKS};
use crate::finding::{Findings, SchemaFinding};
use crate::formats;
use crate::guard;
use crate::message::{Explainer, cut, path};
use crate::rules;
use crate::structural::Structural;
use crate::unique::{UNIQUE_BY, UniqueBy};
use jsonschema::{Draft, PatternOptions, ValidationOptions, Validator};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use tko_core::Resource;

/// Maximum size in bytes of a compiled pattern. Patterns match in linear time.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// Sizes in bytes as which compiled patterns are counted: each as the first one that is enough for
/// it. The smallest step is 16 KiB, because even a small pattern has tables of about that size.
const PATTERN_STEPS: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, MAX_PATTERN_BYTES];
/// Maximum size in bytes of all compiled patterns of a schema. Compiled schemas are kept.
const MAX_PATTERNS_BYTES: usize = 16 << 20;

/// A compiled schema.
pub(crate) struct CompiledSchema {
    validator: Validator,
    /// The number of checks for each unit of a value's [extent](cost::extent).
    width: usize,
    /// The source of the schema, once a large resource needed it to count its checks.
    source: OnceLock<Value>,
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
        check_patterns(rules)?;
        let validator = options().build(rules).map_err(|error| {
            let place = path(error.instance_path().as_str(), rules);
            match place.trim_start_matches("['$defs'].resource.") {
                "" => error.to_string(),
                place => format!("{place}: {error}"),
            }
        })?;
        Ok(Self {
            validator,
            width: cost::width(rules),
            source: OnceLock::new(),
            structural,
        })
    }

    /// Returns the first validation rule that does not parse, with the reason.
    pub(crate) fn unusable_rule(&self) -> Option<String> {
        self.structural.as_ref()?.unusable_rule()
    }

    /// Validates a resource in at most a fraction of a second, and returns at most `limit` findings.
    /// Returns `None` if that can take longer: see [`validate`](Self::validate).
    ///
    /// `rules` returns the source of this schema. It is called only if a message needs it.
    pub(crate) fn validate_quickly(
        &self,
        resource: &Resource,
        complete: bool,
        limit: usize,
        rules: impl Fn() -> Value,
    ) -> Option<Findings> {
        if complete && self.has_rules() {
            return None;
        }
        let value = match self.completed(resource, complete) {
            Ok(value) => value,
            Err(findings) => return Some(findings),
        };
        if self.has_many_checks(&value) {
            return None;
        }
        if self.validator.is_valid(&value) {
            return Some(Findings::default());
        }
        Some(self.explain(resource, &value, limit, rules))
    }

    /// Validates a resource on a blocking thread, and returns at most `limit` findings.
    ///
    /// The evaluation of rules and the count of checks end early, with any outcome, once `stop` is
    /// set. `rules` returns the source of this schema.
    pub(crate) fn validate(
        &self,
        resource: &Resource,
        complete: bool,
        limit: usize,
        stop: &AtomicBool,
        rules: impl Fn() -> Value,
    ) -> Findings {
        let value = match self.completed(resource, complete) {
            Ok(value) => value,
            Err(findings) => return findings,
        };
        let mut checks = 0;
        if self.has_many_checks(&value) {
            let source = self.source.get_or_init(&rules);
            checks = cost::checks(source, &value, MAX_CHECKS, stop);
        }
        if checks > MAX_CHECKS {
            return of_whole(
                "is too large for the schema of its kind; make it smaller, or give the schema \
                 fewer alternatives",
            );
        }
        if self.validator.is_valid(&value) {
            return match &self.structural {
                Some(structural) if complete && structural.has_rules() => {
                    rules::check(structural, &value, limit, stop)
                }
                _ => Findings::default(),
            };
        }
        if checks > MAX_LISTED_CHECKS {
            return of_whole(
                "is not valid, and is too large for the schema of its kind to list the \
                 violations; make it smaller, or give the schema fewer alternatives",
            );
        }
        self.explain(resource, &value, limit, rules)
    }

    /// Returns true if a complete resource is validated by rules.
    fn has_rules(&self) -> bool {
        let structural = self.structural.as_ref();
        structural.is_some_and(Structural::has_rules)
    }

    /// Returns true if the schema may make more than [`MAX_LISTED_CHECKS`] checks of a value. Takes
    /// far less time than to count them.
    fn has_many_checks(&self, value: &Value) -> bool {
        self.width.saturating_mul(cost::extent(value)) > MAX_LISTED_CHECKS
    }

    /// Returns the value to validate: without nulls that mean "not given", and with defaults if it
    /// is complete.
    ///
    /// # Errors
    /// The finding that it has too many defaults.
    fn completed<'a>(
        &self,
        resource: &'a Resource,
        complete: bool,
    ) -> Result<Cow<'a, Value>, Findings> {
        let mut value = Cow::Borrowed(resource.value());
        if let Some(structural) = &self.structural {
            structural.prune_nulls(value.to_mut());
            if complete && structural.apply_defaults(value.to_mut()).is_err() {
                return Err(of_whole(
                    "becomes too large with the defaults of its kind; make it smaller",
                ));
            }
        }
        Ok(value)
    }

    /// Returns the violations of an invalid value.
    fn explain(
        &self,
        resource: &Resource,
        value: &Value,
        limit: usize,
        rules: impl Fn() -> Value,
    ) -> Findings {
        if !guard::has_short_pointers(value) {
            return of_whole(
                "is not valid, and its keys are too long to list the violations; use shorter keys",
            );
        }
        let again = OnceCell::new();
        let mut explainer = Explainer::new(value, limit, || again.get_or_init(&rules));
        if *resource.gvk().kind == *"Secret" && resource.gvk().group.is_empty() {
            explainer.hide_values();
        }
        for error in self.validator.iter_errors(value) {
            explainer.add(&error);
        }
        explainer.finish()
    }
}

/// Returns a finding about the whole resource.
fn of_whole(message: &str) -> Findings {
    Findings::one(SchemaFinding {
        path: String::new(),
        message: message.to_owned(),
    })
}

/// Checks how much memory the patterns of a schema take together.
///
/// # Errors
/// The problem, for people, with the first pattern that is too much.
fn check_patterns(document: &Value) -> Result<(), String> {
    let mut known = HashSet::new();
    let mut left = MAX_PATTERNS_BYTES;
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        let map = match value {
            Value::Object(map) => map,
            Value::Array(list) => {
                waiting.extend(list);
                continue;
            }
            _ => continue,
        };
        let own = map.get("pattern").and_then(Value::as_str);
        let named = map.get("patternProperties").and_then(Value::as_object);
        let names = named.into_iter().flat_map(Map::keys).map(String::as_str);
        for pattern in own.into_iter().chain(names) {
            // The library compiles equal patterns once.
            if !known.insert(pattern) {
                continue;
            }
            left = left.checked_sub(pattern_size(pattern)).ok_or_else(|| {
                format!(
                    "its patterns take more than {} MiB of memory; simplify or remove some, such as \"{}\"",
                    MAX_PATTERNS_BYTES >> 20,
                    cut(pattern)
                )
            })?;
        }
        waiting.extend(map.values());
    }
    Ok(())
}

/// Returns the size in bytes as which a compiled pattern is counted. One that does not compile is
/// reported later, with its place, and counts as the largest: it takes as long.
fn pattern_size(pattern: &str) -> usize {
    let schema = json!({"pattern": pattern});
    let is_enough = |size: usize| {
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(size));
        options.build(&schema).is_ok()
    };
    let mut sizes = PATTERN_STEPS.into_iter();
    sizes
        .find(|size| is_enough(*size))
        .unwrap_or(MAX_PATTERN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::CompiledSchema;
    use serde_json::{Value, json};
    use tko_core::Resource;

    #[test]
    fn a_resource_with_many_checks_is_not_validated_on_the_thread_of_a_request() {
        let alternatives = json!(vec![json!({"minimum": 1}); 1_000]);
        let rules = json!({"properties": {"list": {"items": {"anyOf": alternatives}}}});
        let compiled = CompiledSchema::new(&rules, None).expect("compiled");
        let is_quick = |items: usize| {
            let resource = Resource::new(json!({
                "apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"},
                "list": vec![1; items],
            }));
            let resource = resource.expect("a resource");
            let found = compiled.validate_quickly(&resource, true, 10, || rules.clone());
            found.is_some()
        };
        assert!(is_quick(100));
        assert!(!is_quick(1_000));
    }

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
    fn patterns_that_take_too_much_memory_together_are_refused() {
        let with = |count: usize, pattern: &dyn Fn(usize) -> Value| -> Value {
            let properties = (0..count).map(|number| (format!("p{number}"), pattern(number)));
            json!({"properties": properties.collect::<Value>()})
        };
        let large = |number: usize| format!("[\\p{{L}}]{{8}}{number}");
        for schema in [
            with(1_000, &|number| json!({"pattern": large(number)})),
            with(
                1_000,
                &|number| json!({"patternProperties": {large(number): {}}}),
            ),
        ] {
            let error = CompiledSchema::new(&schema, None).err().expect("refused");
            assert!(
                error.starts_with("its patterns take more than 16 MiB of memory")
                    && error.contains("[\\p{L}]{8}"),
                "{error}"
            );
        }
        // The same pattern at many places, and many small ones.
        for schema in [
            with(1_000, &|_| json!({"pattern": large(0)})),
            with(
                200,
                &|number| json!({"pattern": format!("^[a-z]([-a-z0-9]*[a-z0-9])?/{number}$")}),
            ),
        ] {
            assert_eq!(CompiledSchema::new(&schema, None).err(), None);
        }
    }

    #[test]
    fn patterns_of_usual_definitions_compile() {
        for pattern in [
            r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
            r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            r"((^((([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\.){3}([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))$)|(^(([0-9a-fA-F]{1,4}:){7,7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:|([0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,5}(:[0-9a-fA-F]{1,4}){1,2}|([0-9a-fA-F]{1,4}:){1,4}(:[0-9a-fA-F]{1,4}){1,3}|([0-9a-fA-F]{1,4}:){1,3}(:[0-9a-fA-F]{1,4}){1,4}|([0-9a-fA-F]{1,4}:){1,2}(:[0-9a-fA-F]{1,4}){1,5}|[0-9a-fA-F]{1,4}:((:[0-9a-fA-F]{1,4}){1,6})|:((:[0-9a-fA-F]{1,4}){1,7}|:))$))",
            r"^.{1,128}$",
            r"^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$",
        ] {
            let schema = json!({"pattern": pattern});
            assert_eq!(CompiledSchema::new(&schema, None).err(), None, "{pattern}");
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
