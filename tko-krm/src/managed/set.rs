//! [`FieldSet`]: a set of paths of fields, written as `FieldsV1`.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum depth of a path.
const MAX_DEPTH: usize = 64;

/// Maximum number of elements of a set that is read.
const MAX_ELEMENTS: usize = 50_000;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathElement {
    /// A key of a map, `f:`.
    Field(String),
    /// The keys of an item of a list, as a JSON object, `k:`.
    Key(String),
    /// An item of a set, as JSON, `v:`.
    Value(String),
    /// A position in a list, `i:`.
    Index(u32),
}

impl PathElement {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(2)?;
        let canonical = || {
            let value: Value = serde_json::from_str(rest).ok()?;
            Some(value.to_string())
        };
        Some(match kind {
            "f:" => Self::Field(rest.to_owned()),
            "k:" => Self::Key(canonical()?),
            "v:" => Self::Value(canonical()?),
            "i:" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    /// For people: `.name`, `["name"]`, `[key="value"]`, `[0]`.
    fn show(&self) -> String {
        match self {
            Self::Field(name)
                if name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                format!(".{name}")
            }
            Self::Field(name) => format!(".{name}"),
            Self::Key(keys) => format!("[{keys}]"),
            Self::Value(value) => format!("[={value}]"),
            Self::Index(at) => format!("[{at}]"),
        }
    }
}

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// The paths that end here.
    pub(super) members: BTreeSet<PathElement>,
    /// The longer paths, by their first step. No child is empty.
    pub(super) children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path; the empty path adds nothing.
    pub(crate) fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// The paths that are in either set.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other);
        union
    }

    /// Adds the paths of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            let own = self.children.entry(element.clone()).or_default();
            own.extend(child);
        }
    }

    /// The paths that are in this set and not in the other.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .map(|(element, child)| {
                    let rest = match other.children.get(element) {
                        Some(other) => child.difference(other),
                        None => child.clone(),
                    };
                    (element.clone(), rest)
                })
                .filter(|(_, child)| !child.is_empty())
                .collect(),
        }
    }

    /// The paths that are in both sets.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter_map(|(element, child)| {
                    let both = child.intersection(other.children.get(element)?);
                    (!both.is_empty()).then(|| (element.clone(), both))
                })
                .collect(),
        }
    }

    /// Whether a path at this step, or below it, is in the set.
    pub(super) fn touches(&self, element: &PathElement) -> bool {
        self.members.contains(element) || self.children.contains_key(element)
    }

    /// Every path, for people.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        for member in &self.members {
            paths.push(format!("{prefix}{}", member.show()));
        }
        for (element, child) in &self.children {
            child.collect(&format!("{prefix}{}", element.show()), paths);
        }
    }

    /// Reads `FieldsV1`; `None` if it is malformed or too large.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let mut left = MAX_ELEMENTS;
        match value {
            Value::Null => Some(Self::default()),
            value => Self::parse_map(value.as_object()?, 0, &mut left),
        }
    }

    fn parse_map(map: &Map<String, Value>, depth: usize, left: &mut usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut set = Self::default();
        for (key, value) in map {
            *left = left.checked_sub(1)?;
            if key == "." {
                // This entry belongs to the parent, which has already read it.
                continue;
            }
            let element = PathElement::parse(key)?;
            let value = value.as_object()?;
            if value.is_empty() || value.contains_key(".") {
                set.members.insert(element.clone());
            }
            let child = Self::parse_map(value, depth + 1, left)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }

    /// Writes `FieldsV1`.
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        let elements: BTreeSet<&PathElement> =
            self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let mut value = Map::new();
            if let Some(child) = self.children.get(element) {
                if self.members.contains(element) {
                    value.insert(".".to_owned(), Value::Object(Map::new()));
                }
                if let Value::Object(below) = child.to_value() {
                    value.extend(below);
                }
            }
            map.insert(element.to_text(), Value::Object(value));
        }
        Value::Object(map)
    }
}
