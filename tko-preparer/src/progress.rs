//! How far preparers are that answered `More`, as it is kept with the work.
//!
//! By resource and part, with the generation of the package that it was said of: of any other
//! package it means nothing, so it is forgotten, which costs time and never a child (effects have
//! keys of their own).

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tko_core::{Generation, Identifier};

#[derive(Debug, Default)]
pub(crate) struct Progress {
    generation: Generation,
    said: BTreeMap<String, Value>,
}

impl Progress {
    /// As it was kept. What is not in its form counts as none.
    pub(crate) fn read(kept: Option<&Value>) -> Self {
        let generation = kept.and_then(|kept| kept.get("generation")?.as_u64());
        let said = kept.and_then(|kept| kept.get("said")?.as_object());
        match (generation, said) {
            (Some(generation), Some(said)) => Self {
                generation: Generation(generation),
                said: said.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            },
            _ => Self::default(),
        }
    }

    pub(crate) fn get(
        &self,
        generation: Generation,
        target: &Identifier,
        part: &str,
    ) -> Option<&Value> {
        if self.generation != generation {
            return None;
        }
        self.said.get(&name(target, part))
    }

    /// Answers what is to be kept then. Nothing changes here before that is committed.
    pub(crate) fn with(
        &self,
        generation: Generation,
        target: &Identifier,
        part: &str,
        said: Value,
    ) -> Self {
        let mut next = Self {
            generation,
            said: BTreeMap::new(),
        };
        if self.generation == generation {
            next.said.clone_from(&self.said);
        }
        next.said.insert(name(target, part), said);
        next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// For the work; null if there is none.
    pub(crate) fn to_value(&self) -> Value {
        if self.is_empty() {
            return Value::Null;
        }
        let said: Map<String, Value> = self.said.clone().into_iter().collect();
        json!({"generation": self.generation.0, "said": said})
    }
}

fn name(target: &Identifier, part: &str) -> String {
    format!("{part} {} {target}", target.gvk.api_version())
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use serde_json::json;
    use tko_core::{Generation, Gvk, Identifier};

    #[test]
    fn progress_is_kept_by_resource_and_part_and_forgotten_with_its_package() {
        let one = Identifier::new(Gvk::new("x", "v1", "One"), "a");
        let other = Identifier::new(Gvk::new("x", "v1", "One"), "b");
        let kept = Progress::read(None)
            .with(Generation(3), &one, "p", json!(1))
            .with(Generation(3), &other, "p", json!(2))
            .with(Generation(3), &one, "q", json!(3));
        let read = Progress::read(Some(&kept.to_value()));
        assert_eq!(read.get(Generation(3), &one, "p"), Some(&json!(1)));
        assert_eq!(read.get(Generation(3), &other, "p"), Some(&json!(2)));
        assert_eq!(read.get(Generation(3), &one, "q"), Some(&json!(3)));
        assert_eq!(read.get(Generation(4), &one, "p"), None);
        let next = read.with(Generation(4), &one, "p", json!(4));
        assert_eq!(next.get(Generation(4), &other, "p"), None);
        assert_eq!(next.get(Generation(4), &one, "p"), Some(&json!(4)));
    }

    #[test]
    fn what_is_not_progress_counts_as_none() {
        for kept in [
            json!(null),
            json!(7),
            json!({"said": {}}),
            json!({"generation": 1, "said": 2}),
        ] {
            assert!(Progress::read(Some(&kept)).to_value().is_null(), "{kept}");
        }
    }
}
