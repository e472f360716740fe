//! The state of one reading: documents, resolved types and problems.

mod constraint;
mod data_type;
mod entity_type;
mod schema;

use crate::data_type::DataType;
use crate::document::{ToscaDocument, TypeKey, TypeKind};
use crate::entity_type::EntityType;
use crate::limits::ToscaLimits;
use crate::problem::{ProblemList, SourcePosition, path_within};
use regex::Regex;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of one reading.
pub(crate) struct Analysis<'a> {
    /// The limits.
    pub limits: &'a ToscaLimits,
    /// All files; the first is the service template.
    pub documents: Vec<ToscaDocument>,
    /// The problems that were found so far.
    pub problems: ProblemList,
    /// Data types that were resolved; `None` if they have problems.
    pub data_types: HashMap<TypeKey, Option<Rc<DataType>>>,
    /// Other types that were resolved; `None` if they have problems.
    pub entity_types: HashMap<TypeKey, Option<Rc<EntityType>>>,
    /// Types that are being resolved, in order to find cycles.
    pub open_types: Vec<TypeKey>,
    /// Number of values that were checked; values repeated by functions are counted each time.
    pub checked_values: usize,
    /// Bytes of text in the checked values.
    pub checked_bytes: usize,
    /// Compiled patterns by their text.
    patterns: HashMap<String, Regex>,
    /// Bytes as which compiled patterns are counted.
    pattern_bytes: usize,
    /// Number of definitions that types inherit, and that node templates get from their types.
    expanded: usize,
    /// Number of search steps.
    steps: usize,
    /// Whether nobody needs the result any more.
    cancelled: &'a AtomicBool,
    /// Whether reading ends early; the reason is one of the problems.
    stopped: bool,
}

impl<'a> Analysis<'a> {
    /// A reading that has not begun. It ends early if `cancelled` becomes true.
    pub(crate) fn new(limits: &'a ToscaLimits, cancelled: &'a AtomicBool) -> Self {
        Self {
            limits,
            documents: Vec::new(),
            problems: ProblemList::new(limits.problems),
            data_types: HashMap::new(),
            entity_types: HashMap::new(),
            open_types: Vec::new(),
            checked_values: 0,
            checked_bytes: 0,
            patterns: HashMap::new(),
            pattern_bytes: 0,
            expanded: 0,
            steps: 0,
            cancelled,
            stopped: false,
        }
    }

    /// Whether reading must end: it exceeded a limit on its work, or it was cancelled. Loops that a
    /// small text can multiply ask for this.
    pub(crate) fn is_stopped(&mut self) -> bool {
        if !self.stopped && self.cancelled.load(Ordering::Relaxed) {
            self.stop(SourcePosition::default(), "", "reading was cancelled");
        }
        self.stopped
    }

    /// Ends reading with a problem. Only the first one is reported.
    pub(crate) fn stop(&mut self, at: SourcePosition, path: &str, message: impl Into<String>) {
        if !self.stopped {
            self.problems.error(at, path, message);
            self.stopped = true;
        }
    }

    /// Counts the definitions that a type or a node template gets from its type. Returns false if
    /// that is too much, and reports it once.
    pub(crate) fn expand(&mut self, more: usize, at: SourcePosition, path: &str) -> bool {
        let limit = self.limits.values;
        let before = self.expanded;
        self.expanded = before.saturating_add(more);
        if self.expanded > limit && before <= limit {
            let message = format!(
                "types and node templates hold more than {limit} entries, with inherited ones \
                 filled in"
            );
            self.problems.error(at, path, message);
        }
        self.expanded <= limit
    }

    /// Counts steps of a search. Returns false if reading must end, because there are too many or
    /// for another reason.
    pub(crate) fn search(&mut self, more: usize, at: SourcePosition, path: &str) -> bool {
        let limit = self.limits.steps;
        self.steps = self.steps.saturating_add(more);
        if self.steps > limit {
            self.stop(at, path, format!("searches take more than {limit} steps"));
        }
        !self.is_stopped()
    }

    /// The name of a type with the namespace of its file, such as `nephio::Template`.
    pub(crate) fn canonical(&self, key: &TypeKey) -> String {
        match &self.documents[key.document].namespace {
            Some(namespace) => format!("{namespace}::{}", key.name),
            None => key.name.to_string(),
        }
    }

    /// The type that a name denotes in a document, or a problem at `at`.
    ///
    /// Names seen through imports with prefixes add up: `core:nephio:Template`.
    pub(crate) fn find(
        &mut self,
        kind: TypeKind,
        document: usize,
        name: &str,
        at: SourcePosition,
        path: &str,
    ) -> Option<TypeKey> {
        if !self.search(self.documents.len(), at, path) {
            return None;
        }
        let mut found = self.lookup(kind, document, name);
        if found.len() > 1 {
            let mut files: Vec<String> = found.iter().map(|key| self.canonical(key)).collect();
            files.sort();
            let message = format!(
                "{} \"{name}\" is ambiguous: it may be {}; import one of their files with a prefix",
                kind.noun(),
                crate::keys::either(&files)
            );
            self.problems.error(at, path, message);
            return None;
        }
        let key = found.pop();
        if key.is_none() {
            let message = self.unknown(kind, document, name);
            self.problems.error(at, path, message);
        }
        key
    }

    /// All types that a name may mean in a document.
    pub(crate) fn lookup(&self, kind: TypeKind, document: usize, name: &str) -> Vec<TypeKey> {
        let mut found: Vec<TypeKey> = Vec::new();
        let mut visited = HashSet::new();
        let mut queue = vec![(document, name)];
        while let Some((document, name)) = queue.pop() {
            if !visited.insert((document, name)) {
                continue;
            }
            let file = &self.documents[document];
            if let Some(entry) = file.types.get(&kind).and_then(|types| types.get(name)) {
                let name = Rc::clone(&entry.key);
                found.push(TypeKey {
                    kind,
                    document,
                    name,
                });
            }
            for import in &file.imports {
                match &import.prefix {
                    None => queue.push((import.document, name)),
                    Some(prefix) => {
                        let rest = name.strip_prefix(prefix.as_str());
                        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(':')) {
                            queue.push((import.document, rest));
                        }
                    }
                }
            }
        }
        found
    }

    /// The message for a name that nothing has.
    fn unknown(&self, kind: TypeKind, document: usize, name: &str) -> String {
        let plain = name.rsplit(':').next().unwrap_or(name);
        if plain != name && !self.lookup(kind, document, plain).is_empty() {
            let noun = kind.noun();
            return format!(
                "unknown {noun} \"{name}\": it is known here without a prefix; write \"{plain}\""
            );
        }
        let elsewhere = self.documents.iter().enumerate().any(|(number, file)| {
            number != document && file.types.get(&kind).is_some_and(|t| t.contains_key(plain))
        });
        let normative = name.starts_with("tosca.") || name.starts_with("tosca:");
        let advice = if normative {
            ": the normative types are not built in, so define it in a file and import that"
        } else if elsewhere {
            ": a file that defines it is imported elsewhere or with a prefix"
        } else {
            ""
        };
        format!("unknown {} \"{name}\"{advice}", kind.noun())
    }

    /// Resolves every type of every file, so that all their problems are found.
    pub(crate) fn resolve_all(&mut self) {
        let mut keys = Vec::new();
        for kind in TypeKind::ALL {
            for (document, file) in self.documents.iter().enumerate() {
                let mut names: Vec<Rc<str>> = file.types[&kind].keys().cloned().collect();
                names.sort();
                keys.extend(names.into_iter().map(|name| TypeKey {
                    kind,
                    document,
                    name,
                }));
            }
        }
        for key in keys {
            if self.is_stopped() {
                return;
            }
            if key.kind == TypeKind::Data {
                self.data_type(&key);
            } else {
                self.entity_type(&key);
            }
        }
    }

    /// Begins to resolve a type. Returns false, with a problem, if it is derived from itself.
    pub(crate) fn enter(&mut self, key: &TypeKey, at: SourcePosition) -> bool {
        let path = path_within(key.kind.section(), &key.name);
        if let Some(start) = self.open_types.iter().position(|open| open == key) {
            let mut names: Vec<String> = self.open_types[start..]
                .iter()
                .map(|key| self.canonical(key))
                .collect();
            names.push(self.canonical(key));
            let message = format!("types are derived from each other: {}", names.join(" -> "));
            self.problems.error(at, &path, message);
            return false;
        }
        if self.open_types.len() >= self.limits.lineage {
            let message = format!("more than {} levels of types", self.limits.lineage);
            self.problems.error(at, &path, message);
            return false;
        }
        self.open_types.push(key.clone());
        true
    }

    /// The type that `derived_from` names. The outer `None` means a problem.
    #[allow(clippy::option_option)] // Absent, present and wrong are three answers.
    pub(crate) fn parent(
        &mut self,
        key: &TypeKey,
        definition: &crate::yaml::YamlNode,
        path: &str,
    ) -> Option<Option<TypeKey>> {
        let Some(value) = definition.get("derived_from") else {
            return Some(None);
        };
        let name = self.problems.text(value, path)?.to_owned();
        if is_normative_root(&name) && self.lookup(key.kind, key.document, &name).is_empty() {
            return Some(None);
        }
        self.find(key.kind, key.document, &name, value.at, path)
            .map(Some)
    }
}

/// Whether a name is that of a root of the normative types, which needs no definition.
fn is_normative_root(name: &str) -> bool {
    name.starts_with("tosca.") && name.ends_with(".Root")
}
