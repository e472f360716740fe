//! Reading of constraints.

use super::Analysis;
use crate::constraint::ToscaConstraint;
use crate::primitive::Primitive;
use crate::problem::SourcePosition;
use crate::yaml::{YamlContent, YamlNode};
use regex::{Error, Regex, RegexBuilder};
use std::cmp::Ordering;
use std::rc::Rc;

/// Limits in bytes with which a pattern is compiled, one after the other until one is enough. Each
/// that was tried counts. The first is not smaller, because small patterns have large tables.
const PATTERN_BYTES: [usize; 2] = [64 << 10, 256 << 10];

/// Names of constraints, for messages.
const NAMES: [&str; 11] = [
    "equal",
    "greater_than",
    "greater_or_equal",
    "less_than",
    "less_or_equal",
    "in_range",
    "valid_values",
    "length",
    "min_length",
    "max_length",
    "pattern",
];

impl Analysis<'_> {
    /// Reads a list of constraints (1.3), or a validation clause (2.0).
    pub(crate) fn constraints(
        &mut self,
        document: usize,
        definition: &YamlNode,
        path: &str,
    ) -> Vec<ToscaConstraint> {
        let grammar = self.documents[document].grammar;
        let path = format!("{path}.{}", grammar.constraints);
        let Some(value) = definition.get(grammar.constraints) else {
            return Vec::new();
        };
        let mut constraints = Vec::new();
        if grammar.is_2_0() {
            self.validation(value, &path, 0, &mut constraints);
            return constraints;
        }
        for item in self.problems.list(Some(value), &path).iter() {
            if let Some([entry]) = item.as_map().map(|map| map.as_slice()) {
                constraints.extend(self.constraint(&entry.key, item, &entry.value, &path));
            } else {
                let message = "a constraint is a map with one key";
                self.problems.error(item.at, &path, message);
            }
        }
        constraints
    }

    /// Reads a validation clause: `$and` of `$NAME: [$value, ARGUMENT…]`.
    fn validation(
        &mut self,
        clause: &YamlNode,
        path: &str,
        depth: usize,
        into: &mut Vec<ToscaConstraint>,
    ) {
        let Some([entry]) = clause.as_map().map(|map| map.as_slice()) else {
            let message = "a validation clause is a map with one key, the name of a function";
            self.problems.error(clause.at, path, message);
            return;
        };
        let name = entry.key.strip_prefix('$').unwrap_or(&entry.key);
        let arguments = self.problems.list(Some(&entry.value), path);
        if name == "and" && depth < self.limits.depth {
            for argument in arguments.iter() {
                self.validation(argument, path, depth + 1, into);
            }
            return;
        }
        let name = if name == "matches" { "pattern" } else { name };
        let [first, rest @ ..] = arguments.as_slice() else {
            let message = format!("{} needs arguments, the first of them $value", entry.key);
            self.problems.error(entry.at, path, message);
            return;
        };
        if first.as_scalar() != Some("$value") || !NAMES.contains(&name) || rest.is_empty() {
            let message = format!(
                "validation {} is not supported: use $and of $equal, $in_range, $matches and the \
                 like, with $value as the first argument",
                entry.key
            );
            self.problems.error(entry.at, path, message);
            return;
        }
        let several = matches!(name, "in_range" | "valid_values") && rest.len() > 1;
        let argument = match rest {
            [one] if !several => one.clone(),
            several => YamlNode::new(entry.value.at, YamlContent::List(Rc::new(several.to_vec()))),
        };
        into.extend(self.constraint(name, clause, &argument, path));
    }

    /// Reads one constraint.
    fn constraint(
        &mut self,
        name: &str,
        whole: &YamlNode,
        value: &YamlNode,
        path: &str,
    ) -> Option<ToscaConstraint> {
        use Ordering::{Equal, Greater, Less};
        let compare = |allowed: &'static [Ordering]| {
            Some(ToscaConstraint::Compare {
                name: match name {
                    "equal" => "equal to",
                    "greater_than" => "greater than",
                    "greater_or_equal" => "greater than or equal to",
                    "less_than" => "less than",
                    _ => "less than or equal to",
                },
                other: value.clone(),
                allowed,
            })
        };
        let wrong = |analysis: &mut Self, expected: &str| {
            let message = format!("constraint {name} needs {expected}, not {}", value.kind());
            analysis.problems.error(value.at, path, message);
            None
        };
        let length = || {
            value
                .as_integer()
                .and_then(|number| usize::try_from(number).ok())
        };
        match name {
            "equal" => compare(&[Equal]),
            "greater_than" => compare(&[Greater]),
            "greater_or_equal" => compare(&[Greater, Equal]),
            "less_than" => compare(&[Less]),
            "less_or_equal" => compare(&[Less, Equal]),
            "in_range" => match value.as_list().map(|list| list.as_slice()) {
                Some([low, high]) => {
                    let high = (high.as_scalar() != Some("UNBOUNDED")).then(|| high.clone());
                    Some(ToscaConstraint::InRange(low.clone(), high))
                }
                _ => wrong(self, "a list of two bounds"),
            },
            "valid_values" => match value.as_list() {
                Some(list) => Some(ToscaConstraint::ValidValues(Rc::clone(list))),
                None => wrong(self, "a list"),
            },
            "length" => match length() {
                Some(exact) => Some(ToscaConstraint::Length(exact, exact)),
                None => wrong(self, "an integer from 0"),
            },
            "min_length" => match length() {
                Some(least) => Some(ToscaConstraint::Length(least, usize::MAX)),
                None => wrong(self, "an integer from 0"),
            },
            "max_length" => match length() {
                Some(most) => Some(ToscaConstraint::Length(0, most)),
                None => wrong(self, "an integer from 0"),
            },
            "pattern" => {
                let Some(text) = value.as_scalar() else {
                    return wrong(self, "a regular expression");
                };
                let pattern = self.pattern(text, value.at, path)?;
                Some(ToscaConstraint::Pattern(text.to_owned(), Box::new(pattern)))
            }
            "schema" => {
                let message = "constraint schema is not supported";
                self.problems.error(whole.at, path, message);
                None
            }
            _ => {
                let message = format!(
                    "unknown constraint \"{name}\": expected {}",
                    crate::keys::either(&NAMES)
                );
                self.problems.error(whole.at, path, message);
                None
            }
        }
    }

    /// Compiles a pattern that a whole text must match, within the limit for all patterns together.
    fn pattern(&mut self, text: &str, at: SourcePosition, path: &str) -> Option<Regex> {
        if let Some(known) = self.patterns.get(text) {
            return Some(known.clone());
        }
        let whole = format!("^(?:{text})$");
        let mut reason = String::new();
        for bytes in PATTERN_BYTES {
            let limit = self.limits.pattern_bytes;
            if self.pattern_bytes.saturating_add(bytes) > limit {
                let message = format!("patterns take more than {limit} bytes");
                self.problems.error(at, path, message);
                return None;
            }
            match RegexBuilder::new(&whole).size_limit(bytes).build() {
                Ok(pattern) => {
                    self.pattern_bytes += bytes;
                    self.patterns.insert(text.to_owned(), pattern.clone());
                    return Some(pattern);
                }
                Err(error) => {
                    reason = error.to_string();
                    if !matches!(error, Error::CompiledTooBig(_)) {
                        break;
                    }
                    // It took as long as one that is not too large.
                    self.pattern_bytes += bytes;
                }
            }
        }
        let reason = reason.lines().last().unwrap_or_default();
        let message = format!("\"{text}\" is not a regular expression: {reason}");
        self.problems.error(at, path, message);
        None
    }

    /// Checks a value of a primitive type against a constraint.
    pub(crate) fn satisfies(
        &mut self,
        constraint: &ToscaConstraint,
        primitive: Primitive,
        value: &YamlNode,
        path: &str,
    ) {
        // Counting takes time for each allowed value, too.
        if self.is_stopped() || !self.search(constraint.steps(value), value.at, path) {
            return;
        }
        if let Some(reason) = constraint.violation(primitive, value) {
            self.problems.error(value.at, path, reason);
        }
    }
}
