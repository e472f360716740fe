//! Types of capabilities, relationships and nodes.

use crate::document::TypeKey;
use crate::schema::PropertyDefinitions;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Number of bytes of text that weigh as much as one map entry.
const BYTES: usize = 64;

/// The allowed number of relationships, including both bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CountRange {
    /// The minimum number.
    pub least: u64,
    /// The greatest number; `None` is unbounded.
    pub most: Option<u64>,
}

/// A type of capabilities, relationships or nodes, with all that it inherits.
#[derive(Debug)]
pub(crate) struct EntityType {
    /// The type itself and the types that it is derived from, nearest first.
    pub lineage: Vec<TypeKey>,
    /// The names of the types, with the namespaces of their files.
    pub names: Vec<String>,
    /// Properties.
    pub properties: PropertyDefinitions,
    /// Capabilities of a node type.
    pub capabilities: BTreeMap<Rc<str>, Rc<CapabilityDefinition>>,
    /// Requirements of a node type, in the order of their definition.
    pub requirements: Vec<Rc<RequirementDefinition>>,
}

impl EntityType {
    /// The name with the namespace of its file.
    pub(crate) fn name(&self) -> &str {
        &self.names[0]
    }

    /// The weight of the definitions that a derived type or a node template gets from this type, in
    /// map entries.
    pub(crate) fn weight(&self) -> usize {
        let capabilities = self.capabilities.values().map(|capability| {
            // A capability is found by each of its types.
            capability.capability.lineage.len() + weight_of(&capability.properties)
        });
        let names = self.names.iter().map(|name| 1 + name.len() / BYTES);
        let names: usize = names.sum();
        let capabilities: usize = capabilities.sum();
        names + weight_of(&self.properties) + capabilities + self.requirements.len()
    }

    /// Whether this is the other type or derived from it.
    pub(crate) fn is_a(&self, other: &TypeKey) -> bool {
        self.lineage.contains(other)
    }
}

/// The weight of the definitions of properties, in map entries: each property, and its metadata.
pub(crate) fn weight_of(properties: &PropertyDefinitions) -> usize {
    let metadata = properties
        .values()
        .flat_map(|definition| &definition.metadata);
    let metadata = metadata.map(|(key, text)| 1 + (key.len() + text.len()) / BYTES);
    properties.len() + metadata.sum::<usize>()
}

/// A capability that nodes of a type offer to others.
#[derive(Clone, Debug)]
pub(crate) struct CapabilityDefinition {
    /// The capability type.
    pub capability: Rc<EntityType>,
    /// The properties of the type, with the refinements of this definition.
    pub properties: PropertyDefinitions,
    /// How many nodes may use it.
    pub count: CountRange,
}

/// A requirement that nodes of a type have of others.
#[derive(Clone, Debug)]
pub(crate) struct RequirementDefinition {
    /// The name of the requirement.
    pub name: Rc<str>,
    /// The capability that satisfies it.
    pub capability: Rc<EntityType>,
    /// The type that the other node must have.
    pub node: Option<TypeKey>,
    /// The type of the relationship.
    pub relationship: Option<Rc<EntityType>>,
    /// How many relationships it makes.
    pub count: CountRange,
}
