//! Requirements: finds the node and the capability that satisfy each.

use crate::document::TypeKind;
use crate::entity_type::{EntityType, RequirementDefinition};
use crate::problem::{SourcePosition, path_within};
use crate::template::{Instance, NodeTemplate};
use crate::topology::Relationship;
use crate::yaml::YamlNode;
use std::collections::HashMap;
use std::rc::Rc;

/// One requirement assignment of a node template.
struct Assignment {
    at: SourcePosition,
    target: RequirementTarget,
    capability: Option<String>,
    relationship: Option<Rc<EntityType>>,
}

/// The other node of an assignment, as far as it is named.
enum RequirementTarget {
    /// Nothing.
    Any,
    /// This node template.
    Node(usize),
    /// Any node of this type.
    OfType(crate::document::TypeKey),
}

/// How often each capability of each node is used, and nodes by the capabilities they offer.
#[derive(Default)]
pub(crate) struct CapabilityUse {
    used: HashMap<(usize, Rc<str>), u64>,
    offers: HashMap<crate::document::TypeKey, Vec<(usize, Rc<str>)>>,
    /// How many offers of a type, counted from the first, are used up.
    taken: HashMap<crate::document::TypeKey, usize>,
}

impl CapabilityUse {
    /// The capabilities of all nodes, by each type that they are of, in the order of node names.
    pub(crate) fn of(instance: &Instance<'_, '_>) -> Self {
        let mut offers: HashMap<_, Vec<_>> = HashMap::new();
        for (number, node) in instance.nodes.iter().enumerate() {
            for (name, definition) in &node.node_type.capabilities {
                for key in &definition.capability.lineage {
                    let offer = (number, Rc::clone(name));
                    offers.entry(key.clone()).or_default().push(offer);
                }
            }
        }
        Self {
            used: HashMap::new(),
            offers,
            taken: HashMap::new(),
        }
    }

    /// Whether a capability has all the users that it allows.
    fn is_full(&self, nodes: &[NodeTemplate], node: usize, name: &Rc<str>) -> bool {
        let definition = nodes[node].node_type.capabilities.get(name);
        let Some(most) = definition.and_then(|definition| definition.count.most) else {
            return false;
        };
        let used = self.used.get(&(node, Rc::clone(name)));
        used.copied().unwrap_or(0) >= most
    }

    /// How many offers of a type, counted from the first, are full. Users are never removed, so
    /// earlier counts stay valid.
    fn taken(&mut self, nodes: &[NodeTemplate], wanted: &crate::document::TypeKey) -> usize {
        let offers = self.offers.get(wanted).map_or(&[][..], Vec::as_slice);
        let before = self.taken.get(wanted).copied().unwrap_or(0);
        let more = offers[before..]
            .iter()
            .take_while(|(node, name)| self.is_full(nodes, *node, name));
        let taken = before + more.count();
        self.taken.insert(wanted.clone(), taken);
        taken
    }
}

impl Instance<'_, '_> {
    /// The relationships of a node, in the order of its requirements.
    pub(crate) fn relationships(
        &mut self,
        node: usize,
        uses: &mut CapabilityUse,
    ) -> Vec<Relationship> {
        let section = format!("{}.requirements", self.path_of(node));
        let node_type = Rc::clone(&self.nodes[node].node_type);
        let mut assigned: HashMap<Rc<str>, Vec<Option<Assignment>>> = HashMap::new();
        for item in Rc::clone(&self.nodes[node].requirements).iter() {
            let steps = node_type.requirements.len();
            if !self.analysis.search(steps, item.at, &section) {
                return Vec::new();
            }
            let Some([entry]) = item.as_map().map(|map| map.as_slice()) else {
                let message = "a requirement is a map with one key, its name";
                self.analysis.problems.error(item.at, &section, message);
                continue;
            };
            if !node_type
                .requirements
                .iter()
                .any(|known| known.name == entry.key)
            {
                let message = format!(
                    "node type {} declares no requirement \"{}\"",
                    node_type.name(),
                    entry.key
                );
                self.analysis.problems.error(entry.at, &section, message);
                continue;
            }
            let path = path_within(&section, &entry.key);
            let read = self.assignment(&entry.value, &path);
            assigned
                .entry(Rc::clone(&entry.key))
                .or_default()
                .push(read);
        }
        let mut relationships = Vec::new();
        for definition in &node_type.requirements {
            let own = assigned.remove(&definition.name).unwrap_or_default();
            let path = path_within(&section, &definition.name);
            let at = self.nodes[node].at;
            let count = own.len() as u64;
            if let Some(most) = definition.count.most.filter(|most| count > *most) {
                let message = format!("{count} relationships, and at most {most} are allowed");
                self.analysis.problems.error(at, &path, message);
            }
            let missing = definition.count.least.saturating_sub(count);
            for assignment in own.into_iter().flatten() {
                relationships.extend(self.satisfy(node, definition, &assignment, uses, &path));
            }
            // More than the number of nodes cannot be satisfied, which is reported once.
            for _ in 0..missing.min(self.nodes.len() as u64 + 1) {
                let any = Assignment {
                    at,
                    target: RequirementTarget::Any,
                    capability: None,
                    relationship: None,
                };
                match self.satisfy(node, definition, &any, uses, &path) {
                    Some(relationship) => relationships.push(relationship),
                    None => break,
                }
            }
        }
        relationships
    }

    /// Reads one assignment: the name of a node template or type, or a map.
    fn assignment(&mut self, value: &YamlNode, path: &str) -> Option<Assignment> {
        let (mut capability, mut relationship) = (None, None);
        let name = if value.as_map().is_some() {
            let allowed = ["node", "capability", "relationship"];
            let refused = [
                "node_filter",
                "directives",
                "count",
                "occurrences",
                "optional",
            ];
            let skipped = ["allocation"];
            self.analysis
                .problems
                .keys(value, path, &allowed, &refused, &skipped);
            if let Some(name) = value.get("capability") {
                capability = Some(self.analysis.problems.text(name, path)?.to_owned());
            }
            if let Some(value) = value.get("relationship") {
                let name = if value.as_map().is_some() {
                    let skipped = ["interfaces", "properties"];
                    self.analysis
                        .problems
                        .keys(value, path, &["type"], &[], &skipped);
                    value.get("type")
                } else {
                    Some(value)
                };
                if let Some(name) = name {
                    let kind = TypeKind::Relationship;
                    relationship = Some(self.analysis.entity_type_named(kind, 0, name, path)?);
                }
            }
            value.get("node")
        } else {
            Some(value)
        };
        let target = match name {
            None => RequirementTarget::Any,
            Some(name) => {
                let text = self.analysis.problems.text(name, path)?;
                if let Some(node) = self.numbers.get(text) {
                    RequirementTarget::Node(*node)
                } else {
                    let text = text.to_owned();
                    let kind = TypeKind::Node;
                    if self.analysis.lookup(kind, 0, &text).is_empty() {
                        let message = format!("there is no node template \"{text}\"");
                        self.analysis.problems.error(name.at, path, message);
                        return None;
                    }
                    RequirementTarget::OfType(self.analysis.find(kind, 0, &text, name.at, path)?)
                }
            }
        };
        Some(Assignment {
            at: value.at,
            target,
            capability,
            relationship,
        })
    }

    /// Finds the node and the capability that satisfy a requirement.
    fn satisfy(
        &mut self,
        node: usize,
        definition: &RequirementDefinition,
        assignment: &Assignment,
        uses: &mut CapabilityUse,
        path: &str,
    ) -> Option<Relationship> {
        let wanted = &definition.capability.lineage[0];
        let by_name = assignment.capability.as_deref();
        let named_type = by_name.map(|name| self.analysis.lookup(TypeKind::Capability, 0, name));
        let mut found: Option<(usize, Rc<str>)> = None;
        let mut full = None;
        // Whether the capability of a node is one that the requirement and its assignment allow.
        let nodes = &self.nodes;
        let suits = |candidate: usize, name: &Rc<str>| {
            let other = &nodes[candidate].node_type;
            let Some(offered) = other.capabilities.get(name) else {
                return false;
            };
            let right_capability = offered.capability.is_a(wanted)
                && by_name.is_none_or(|text| {
                    **name == *text
                        || named_type
                            .iter()
                            .flatten()
                            .any(|key| offered.capability.is_a(key))
                });
            let right_node = match &assignment.target {
                RequirementTarget::Any => candidate != node,
                RequirementTarget::Node(_) => true,
                RequirementTarget::OfType(key) => candidate != node && other.is_a(key),
            };
            let right_type = definition.node.as_ref().is_none_or(|key| other.is_a(key));
            right_capability && right_node && right_type
        };
        let taken = uses.taken(&self.nodes, wanted);
        let offers = uses.offers.get(wanted).map_or(&[][..], Vec::as_slice);
        // A named target is looked up directly; its capabilities are few.
        let of_target: Vec<(usize, Rc<str>)>;
        let candidates = if let RequirementTarget::Node(target) = assignment.target {
            let capabilities = &self.nodes[target].node_type.capabilities;
            of_target = capabilities
                .keys()
                .map(|name| (target, Rc::clone(name)))
                .collect();
            of_target.as_slice()
        } else {
            let last = offers[..taken].last();
            full = last.filter(|(at, name)| suits(*at, name)).cloned();
            &offers[taken..]
        };
        for (candidate, name) in candidates {
            if !self.analysis.search(1, assignment.at, path) {
                return None;
            }
            if !suits(*candidate, name) {
                continue;
            }
            if uses.is_full(&self.nodes, *candidate, name) {
                full = Some((*candidate, Rc::clone(name)));
                continue;
            }
            found = Some((*candidate, Rc::clone(name)));
            break;
        }
        let Some((target, capability)) = found else {
            let message = self.unsatisfied(definition, assignment, full);
            self.analysis.problems.error(assignment.at, path, message);
            return None;
        };
        *uses
            .used
            .entry((target, Rc::clone(&capability)))
            .or_default() += 1;
        let relationship = assignment
            .relationship
            .as_ref()
            .or(definition.relationship.as_ref());
        let weight = relationship.map_or(1, |relationship| relationship.weight());
        if !self.analysis.expand(weight, assignment.at, path) {
            return None;
        }
        Some(Relationship {
            name: definition.name.to_string(),
            types: relationship.map_or_else(Vec::new, |types| types.names.clone()),
            target: self.nodes[target].name.to_string(),
            capability: capability.to_string(),
        })
    }

    /// Why no node satisfies a requirement.
    fn unsatisfied(
        &self,
        definition: &RequirementDefinition,
        assignment: &Assignment,
        full: Option<(usize, Rc<str>)>,
    ) -> String {
        let wanted = definition.capability.name();
        if let Some((node, capability)) = full {
            let name = &self.nodes[node].name;
            return format!(
                "capability \"{capability}\" of \"{name}\" has all the users it allows"
            );
        }
        let node_type = definition
            .node
            .as_ref()
            .map(|key| self.analysis.canonical(key));
        let of_type = node_type.map_or_else(String::new, |name| format!(" of type {name}"));
        match assignment.target {
            RequirementTarget::Node(node) => {
                let name = &self.nodes[node].name;
                if !of_type.is_empty()
                    && !definition
                        .node
                        .as_ref()
                        .is_some_and(|k| self.nodes[node].node_type.is_a(k))
                {
                    return format!("node template \"{name}\" is not{of_type}");
                }
                match &assignment.capability {
                    Some(asked) => format!(
                        "node template \"{name}\" has no capability \"{asked}\" of type {wanted}"
                    ),
                    None => format!("node template \"{name}\" has no capability of type {wanted}"),
                }
            }
            _ => format!("no node template{of_type} has a capability of type {wanted}"),
        }
    }
}
