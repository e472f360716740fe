//! The progress of preparers that answered `More`, as it is stored with the work.
//!
//! It is stored by resource and preparer, with the generation of the package. For any other package
//! it is meaningless and is dropped. That costs time, but creates no child twice, because effects
//! have idempotency keys.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tko_core::{Generation, Identifier};

/// The progress of all preparers of one deployment.
#[derive(Debug, Default)]
pub(crate) struct PreparerProgress {
    generation: Generation,
    /// By preparer and resource.
    entries: BTreeMap<String, Value>,
}

impl PreparerProgress {
    /// Reads the stored progress. Anything malformed counts as no progress.
    pub(crate) fn read(kept: Option<&Value>) -> Self {
        let generation = kept.and_then(|kept| kept.get("generation")?.as_u64());
        let entries = kept.and_then(|kept| kept.get("said")?.as_object());
        match (generation, entries) {
            (Some(generation), Some(entries)) => Self {
                generation: Generation(generation),
                entries: entries
                    .iter()
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect(),
            },
            _ => Self::default(),
        }
    }

    /// The progress of one preparer with one resource.
    pub(crate) fn get(
        &self,
        generation: Generation,
        target: &Identifier,
        preparer: &str,
    ) -> Option<&Value> {
        if self.generation != generation {
            return None;
        }
        self.entries.get(&entry(target, preparer))
    }

    /// The progress to store after a preparer's answer. `self` stays valid until that is committed.
    pub(crate) fn with(
        &self,
        generation: Generation,
        target: &Identifier,
        preparer: &str,
        progress: Value,
    ) -> Self {
        let mut next = Self {
            generation,
            entries: BTreeMap::new(),
        };
        if self.generation == generation {
            next.entries.clone_from(&self.entries);
        }
        next.entries.insert(entry(target, preparer), progress);
        next
    }

    /// Whether there is no progress.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The form that is stored; null if there is none.
    pub(crate) fn to_value(&self) -> Value {
        if self.is_empty() {
            return Value::Null;
        }
        let entries: Map<String, Value> = self.entries.clone().into_iter().collect();
        json!({"generation": self.generation.0, "said": entries})
    }
}

fn entry(target: &Identifier, preparer: &str) -> String {
    format!("{preparer} {} {target}", target.gvk.api_version())
}

#[cfg(test)]
mod tests {
    use super::PreparerProgress;
    use serde_json::json;
    use tko_core::{Generation, Gvk, Identifier};

    #[test]
    fn progress_is_stored_by_resource_and_preparer_and_dropped_with_its_package() {
        let one = Identifier::new(Gvk::new("x", "v1", "One"), "a");
        let other = Identifier::new(Gvk::new("x", "v1", "One"), "b");
        let kept = PreparerProgress::read(None)
            .with(Generation(3), &one, "p", json!(1))
            .with(Generation(3), &other, "p", json!(2))
            .with(Generation(3), &one, "q", json!(3));
        let read = PreparerProgress::read(Some(&kept.to_value()));
        assert_eq!(read.get(Generation(3), &one, "p"), Some(&json!(1)));
        assert_eq!(read.get(Generation(3), &other, "p"), Some(&json!(2)));
        assert_eq!(read.get(Generation(3), &one, "q"), Some(&json!(3)));
        assert_eq!(read.get(Generation(4), &one, "p"), None);
        let next = read.with(Generation(4), &one, "p", json!(4));
        assert_eq!(next.get(Generation(4), &other, "p"), None);
        assert_eq!(next.get(Generation(4), &one, "p"), Some(&json!(4)));
    }

    #[test]
    fn malformed_progress_counts_as_none() {
        for kept in [
            json!(null),
            json!(7),
            json!({"said": {}}),
            json!({"generation": 1, "said": 2}),
        ] {
            assert!(
                PreparerProgress::read(Some(&kept)).to_value().is_null(),
                "{kept}"
            );
        }
    }
}
