//! Reads maps, lists and text, and reports values of the wrong kind.

use crate::problem::{ProblemList, path_within};
use crate::yaml::{YamlEntry, YamlNode};
use std::collections::BTreeMap;
use std::rc::Rc;

impl ProblemList {
    /// Checks the keys of a map.
    ///
    /// A key of `refused` is a feature that is not supported; a key of `skipped` has no effect, with
    /// a warning. Any other key that is not in `allowed` is unknown.
    pub(crate) fn keys(
        &mut self,
        map: &YamlNode,
        path: &str,
        allowed: &[&str],
        refused: &[&str],
        skipped: &[&str],
    ) {
        let Some(entries) = map.as_map() else {
            self.error(
                map.at,
                path,
                format!("expected a map, found {}", map.kind()),
            );
            return;
        };
        for entry in entries.iter() {
            let key = &*entry.key;
            if allowed.contains(&key) {
                continue;
            }
            if refused.contains(&key) {
                self.error(entry.at, path, format!("\"{key}\" is not supported"));
            } else if skipped.contains(&key) {
                self.warning(entry.at, path, format!("\"{key}\" has no effect"));
            } else {
                let message = format!("unknown key \"{key}\": expected {}", either(allowed));
                self.error(entry.at, path, message);
            }
        }
    }

    /// The text of a scalar, or a problem.
    pub(crate) fn text<'a>(&mut self, value: &'a YamlNode, path: &str) -> Option<&'a str> {
        let text = value.as_scalar();
        if text.is_none() {
            self.error(
                value.at,
                path,
                format!("expected text, found {}", value.kind()),
            );
        }
        text
    }

    /// A boolean, or a problem.
    pub(crate) fn boolean(&mut self, value: Option<&YamlNode>, path: &str) -> Option<bool> {
        let value = value?;
        let boolean = value.as_boolean();
        if boolean.is_none() {
            self.error(
                value.at,
                path,
                format!("expected a boolean, found {}", value.kind()),
            );
        }
        boolean
    }

    /// The entries of a map; none if it is absent or null, or with a problem if it is not a map.
    pub(crate) fn map(&mut self, value: Option<&YamlNode>, path: &str) -> Rc<Vec<YamlEntry>> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Rc::default();
        };
        value.as_map().cloned().unwrap_or_else(|| {
            self.error(
                value.at,
                path,
                format!("expected a map, found {}", value.kind()),
            );
            Rc::default()
        })
    }

    /// The items of a list; none if it is absent or null, or with a problem if it is not a list.
    pub(crate) fn list(&mut self, value: Option<&YamlNode>, path: &str) -> Rc<Vec<YamlNode>> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Rc::default();
        };
        value.as_list().cloned().unwrap_or_else(|| {
            self.error(
                value.at,
                path,
                format!("expected a list, found {}", value.kind()),
            );
            Rc::default()
        })
    }

    /// Metadata: a map of scalars.
    pub(crate) fn metadata(
        &mut self,
        value: Option<&YamlNode>,
        path: &str,
    ) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::new();
        for entry in self.map(value, path).iter() {
            if let Some(text) = self.text(&entry.value, &path_within(path, &entry.key)) {
                metadata.insert(entry.key.to_string(), text.to_owned());
            }
        }
        metadata
    }
}

/// Names in a sentence: `a, b or c`.
pub(crate) fn either<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}
