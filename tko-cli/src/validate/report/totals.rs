//! Counts of checked and unchecked resources.

use super::ResourceStatus;
use crate::validate::plural;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use tko_core::Gvk;

/// Maximum number of kinds without a schema that are named.
const NAMED_KINDS: usize = 8;

/// Counts of resources.
#[derive(Clone, Debug, Default)]
pub(in crate::validate) struct Totals {
    pub(in crate::validate) files: u64,
    pub(super) valid: u64,
    pub(super) invalid: u64,
    /// Resources, documents and files that could not be read or checked.
    pub(in crate::validate) errors: u64,
    pub(super) skipped: u64,
    pub(super) without_schema: u64,
    pub(super) rules: u64,
    pub(in crate::validate) violations: u64,
    /// Whether a source of schemas or packages was not available.
    pub(in crate::validate) is_unavailable: bool,
    kinds: BTreeSet<Gvk>,
}

impl Totals {
    /// Counts one resource.
    pub(super) fn add(
        &mut self,
        status: ResourceStatus,
        problems: usize,
        skipped_rules: usize,
        gvk: Option<&Gvk>,
    ) {
        let count = match status {
            ResourceStatus::Valid => &mut self.valid,
            ResourceStatus::Invalid => &mut self.invalid,
            ResourceStatus::Error => &mut self.errors,
            ResourceStatus::Skipped => &mut self.skipped,
            ResourceStatus::WithoutSchema => &mut self.without_schema,
        };
        *count += 1;
        self.rules += skipped_rules as u64;
        if status == ResourceStatus::Invalid {
            self.violations += problems as u64;
        }
        if status == ResourceStatus::WithoutSchema
            && self.kinds.len() <= NAMED_KINDS
            && let Some(gvk) = gvk
        {
            self.kinds.insert(gvk.clone());
        }
    }

    /// Returns the number of resources, and of documents that are not resources.
    pub(super) fn documents(&self) -> u64 {
        self.valid + self.invalid + self.errors + self.skipped + self.without_schema
    }

    /// Returns the counts since `before`.
    pub(in crate::validate) fn since(&self, before: &Self) -> Self {
        Self {
            files: self.files - before.files,
            valid: self.valid - before.valid,
            invalid: self.invalid - before.invalid,
            errors: self.errors - before.errors,
            skipped: self.skipped - before.skipped,
            without_schema: self.without_schema - before.without_schema,
            rules: self.rules - before.rules,
            violations: self.violations - before.violations,
            is_unavailable: self.is_unavailable,
            kinds: self.kinds.difference(&before.kinds).cloned().collect(),
        }
    }

    fn unchecked(&self) -> Vec<String> {
        let mut unchecked = Vec::new();
        if self.without_schema > 0 {
            let named: Vec<String> = self
                .kinds
                .iter()
                .take(NAMED_KINDS)
                .map(ToString::to_string)
                .collect();
            let more = if self.kinds.len() > NAMED_KINDS {
                ", …"
            } else {
                ""
            };
            let named = match named.len() {
                0 => String::new(),
                _ => format!(" ({}{more})", named.join(", ")),
            };
            unchecked.push(format!("{} without a schema{named}", self.without_schema));
        }
        if self.rules > 0 {
            unchecked.push(format!(
                "{} validation {}",
                self.rules,
                plural("rule", self.rules)
            ));
        }
        if self.skipped > 0 {
            unchecked.push(format!("{} skipped", self.skipped));
        }
        unchecked
    }

    /// Returns all counts in one line.
    pub(super) fn in_full(&self) -> String {
        format!(
            "{} {} found in {} {} - Valid: {}, Invalid: {}, Errors: {}, Skipped: {}, Not checked: {} without a schema, {} validation rules",
            self.documents(),
            plural("resource", self.documents()),
            self.files,
            plural("file", self.files),
            self.valid,
            self.invalid,
            self.errors,
            self.skipped,
            self.without_schema,
            self.rules,
        )
    }

    /// Returns all counts as JSON, with kubeconform's names where it has them.
    pub(super) fn json(&self) -> Value {
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .take(NAMED_KINDS)
            .map(ToString::to_string)
            .collect();
        json!({
            "valid": self.valid,
            "invalid": self.invalid,
            "errors": self.errors,
            "skipped": self.skipped,
            "withoutSchema": self.without_schema,
            "kindsWithoutSchema": kinds,
            "rulesNotChecked": self.rules,
            "files": self.files,
            "violations": self.violations,
        })
    }
}

/// Writes `3 resources, valid; not checked: 1 without a schema (example.com/v1/Foo)`.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}, ",
            self.documents(),
            plural("resource", self.documents())
        )?;
        match (self.violations, self.errors) {
            (0, 0) => write!(f, "valid")?,
            (count, 0) => write!(f, "{count} {}", plural("violation", count))?,
            (0, errors) => write!(f, "{errors} {}", plural("error", errors))?,
            (count, errors) => write!(
                f,
                "{count} {}, {errors} {}",
                plural("violation", count),
                plural("error", errors)
            )?,
        }
        let unchecked = self.unchecked();
        if !unchecked.is_empty() {
            write!(f, "; not checked: {}", unchecked.join(", "))?;
        }
        Ok(())
    }
}
