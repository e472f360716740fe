//! The result of a service template: nodes with values, and their relationships.

use crate::analysis::Analysis;
use crate::csar::Csar;
use crate::import;
use crate::limits::ToscaLimits;
use crate::problem::{Problem, ProblemLevel};
use crate::requirement::CapabilityUse;
use crate::template::Instance;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// A valid topology: all inputs and functions are filled in, and all requirements satisfied.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Topology {
    /// Nodes by the names of their templates.
    pub nodes: BTreeMap<String, TopologyNode>,
    /// Warnings: parts that were read without effect.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
}

/// A node template with its final values.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TopologyNode {
    /// The names of its type and of the types that this is derived from, nearest first, each with
    /// the namespace of its file: `free5gc::UPF`, `nephio::Template`.
    pub types: Vec<String>,
    /// Metadata of the node template.
    pub metadata: BTreeMap<String, String>,
    /// Properties that have a value.
    pub properties: BTreeMap<String, TopologyProperty>,
    /// Relationships to other nodes, in the order of requirements.
    pub relationships: Vec<Relationship>,
}

impl TopologyNode {
    /// Whether the node is of a type, or of one derived from it.
    pub fn is_a(&self, name: &str) -> bool {
        self.types.iter().any(|known| known == name)
    }
}

/// The value of a property, after defaults, inputs and functions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TopologyProperty {
    /// The value of the property. Scalars with a unit, versions and timestamps are text.
    pub value: Value,
    /// Metadata of its definition; of the nearest one where a type refines it.
    pub metadata: BTreeMap<String, String>,
}

/// A relationship from one node to another.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Relationship {
    /// The name of the requirement that the relationship satisfies.
    pub name: String,
    /// The names of its type and of the types that this is derived from; empty if none is given.
    pub types: Vec<String>,
    /// The name of the other node's template.
    pub target: String,
    /// The name of the other node's capability.
    pub capability: String,
}

/// Reads and checks a service template.
///
/// The work is proportional to what is read, and bounded by the limits. The function blocks: call
/// it on a thread that may wait.
///
/// # Errors
/// Every problem of the service template and its imports, in the order of files, lines and columns;
/// at least one of them is an error.
///
/// # Examples
/// ```
/// use tko_tosca::{Csar, ToscaLimits, read};
///
/// let text = "
/// tosca_definitions_version: tosca_simple_yaml_1_3
/// node_types:
///   Server:
///     properties:
///       memory: {type: scalar-unit.size}
/// topology_template:
///   node_templates:
///     web: {type: Server, properties: {memory: 4 GB}}
///     db: {type: Server, properties: {memory: plenty}}
/// ";
/// let csar = Csar::from_text("service.yaml", text);
/// let problems = read(&csar, &serde_json::Map::new(), &ToscaLimits::default()).unwrap_err();
/// assert_eq!(problems.len(), 1);
/// assert!(problems[0].to_string().starts_with("service.yaml:10:45: node_templates.db"));
/// ```
pub fn read(
    csar: &Csar,
    inputs: &Map<String, Value>,
    limits: &ToscaLimits,
) -> Result<Topology, Vec<Problem>> {
    read_cancellable(csar, inputs, limits, &AtomicBool::new(false))
}

/// Reads and checks a service template as [`read`] does, until `cancelled` becomes true.
///
/// Set it when nobody waits for the result any more: a thread cannot be aborted. Files are still
/// read and parsed to their end, which the limits bound.
///
/// # Errors
/// As for [`read`]; "reading was cancelled" is one of the problems then.
pub fn read_cancellable(
    csar: &Csar,
    inputs: &Map<String, Value>,
    limits: &ToscaLimits,
    cancelled: &AtomicBool,
) -> Result<Topology, Vec<Problem>> {
    let mut analysis = Analysis::new(limits, cancelled);
    import::load(&mut analysis, csar);
    let mut topology = Topology::default();
    if !analysis.documents.is_empty() {
        analysis.resolve_all();
        let mut instance = Instance::read(&mut analysis, inputs);
        let mut uses = CapabilityUse::of(&instance);
        for number in 0..instance.nodes.len() {
            if instance.analysis.is_stopped() {
                break;
            }
            let values = instance.values(number);
            let relationships = instance.relationships(number, &mut uses);
            let node = &instance.nodes[number];
            let property = |(name, value): (String, Value)| {
                let slot = &node.properties[name.as_str()];
                let metadata = slot.definition.metadata.clone();
                (name, TopologyProperty { value, metadata })
            };
            let described = TopologyNode {
                types: node.node_type.names.clone(),
                metadata: node.metadata.clone(),
                properties: values.into_iter().map(property).collect(),
                relationships,
            };
            topology.nodes.insert(node.name.to_string(), described);
        }
    }
    let failed = analysis.problems.errors() > 0;
    let problems = analysis.problems.finish();
    if failed {
        return Err(problems);
    }
    topology.warnings = problems;
    debug_assert!(
        topology
            .warnings
            .iter()
            .all(|p| p.level == ProblemLevel::Warning)
    );
    Ok(topology)
}
