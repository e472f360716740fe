//! One file: its version, namespace, imports, type definitions and topology.

use crate::grammar::Grammar;
use crate::problem::ProblemList;
use crate::yaml::{YamlEntry, YamlNode};
use std::collections::HashMap;
use std::rc::Rc;

/// The kind of a type that a file defines by name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum TypeKind {
    /// Types of values.
    Data,
    /// Types of capabilities.
    Capability,
    /// Types of relationships.
    Relationship,
    /// Types of nodes.
    Node,
}

impl TypeKind {
    /// Every kind, in the order in which they refer to each other.
    pub(crate) const ALL: [Self; 4] =
        [Self::Data, Self::Capability, Self::Relationship, Self::Node];

    /// The key that holds the definitions.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Data => "data_types",
            Self::Capability => "capability_types",
            Self::Relationship => "relationship_types",
            Self::Node => "node_types",
        }
    }

    /// The kind in messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Data => "data type",
            Self::Capability => "capability type",
            Self::Relationship => "relationship type",
            Self::Node => "node type",
        }
    }
}

/// The definition of a type, which identifies it under any name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TypeKey {
    /// The kind of the type.
    pub kind: TypeKind,
    /// The number of the document that defines it.
    pub document: usize,
    /// The name of the definition in that document.
    pub name: Rc<str>,
}

/// A file that another one imports.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// The number of the imported document.
    pub document: usize,
    /// The prefix of its names in this file.
    pub prefix: Option<String>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct ToscaDocument {
    /// The keywords of its version.
    pub grammar: &'static Grammar,
    /// The namespace of its types in other files.
    pub namespace: Option<String>,
    /// Imports as they are written.
    pub import_list: Rc<Vec<YamlNode>>,
    /// Imports that could be read.
    pub imports: Vec<Import>,
    /// Type definitions.
    pub types: HashMap<TypeKind, HashMap<Rc<str>, YamlEntry>>,
    /// The topology, as it is written.
    pub topology: Option<YamlNode>,
}

impl ToscaDocument {
    /// Reads the top level of a file. `None`, with the problem, if it is not TOSCA.
    pub(crate) fn read(node: &YamlNode, problems: &mut ProblemList) -> Option<Self> {
        if node.as_map().is_none() {
            problems.error(node.at, "", format!("a file is a map, not {}", node.kind()));
            return None;
        }
        let key = "tosca_definitions_version";
        let Some(version) = node.get(key) else {
            problems.error(node.at, "", format!("key \"{key}\" is missing"));
            return None;
        };
        let Some(grammar) = version.as_scalar().and_then(Grammar::of) else {
            let shown = version.as_scalar().unwrap_or_else(|| version.kind());
            let message = format!(
                "version \"{shown}\" is not supported: use tosca_simple_yaml_1_3 or tosca_2_0"
            );
            problems.error(version.at, key, message);
            return None;
        };
        let mut allowed = vec![key, grammar.namespace, grammar.topology];
        allowed.extend(["metadata", "description", "dsl_definitions", "imports"]);
        allowed.extend(TypeKind::ALL.map(TypeKind::section));
        if !grammar.is_2_0() {
            allowed.extend(["template_name", "template_author", "template_version"]);
        }
        problems.keys(
            node,
            "",
            &allowed,
            &["repositories", "functions"],
            grammar.skipped,
        );
        let namespace = node.get(grammar.namespace);
        let namespace = namespace.and_then(|value| problems.text(value, grammar.namespace));
        let import_list = problems.list(node.get("imports"), "imports");
        let mut types = HashMap::new();
        for kind in TypeKind::ALL {
            let mut definitions = HashMap::new();
            for entry in problems
                .map(node.get(kind.section()), kind.section())
                .iter()
            {
                definitions.insert(Rc::clone(&entry.key), entry.clone());
            }
            types.insert(kind, definitions);
        }
        Some(Self {
            grammar,
            namespace: namespace.map(str::to_owned),
            import_list,
            imports: Vec::new(),
            types,
            topology: node.get(grammar.topology).cloned(),
        })
    }
}
