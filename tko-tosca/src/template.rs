//! Node templates and inputs: the elements of the topology, with their values.

use crate::analysis::Analysis;
use crate::document::TypeKind;
use crate::entity_type::EntityType;
use crate::function::CallSite;
use crate::problem::{SourcePosition, path_within};
use crate::schema::{PropertyDefinition, PropertyDefinitions};
use crate::yaml::{YamlContent, YamlEntry, YamlNode};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// The value of a property: it is computed when it is first needed.
#[derive(Clone, Debug)]
pub(crate) enum ComputedValue {
    /// Not yet.
    Pending,
    /// It is being computed: a call that needs it now closes a cycle.
    Open,
    /// Computed; `None` if that failed, with a problem.
    Done(Option<YamlNode>),
}

/// A property of a node template or of one of its capabilities.
#[derive(Clone, Debug)]
pub(crate) struct PropertySlot {
    /// The definition in the type.
    pub definition: Rc<PropertyDefinition>,
    /// The assigned value, or the default.
    pub given: YamlNode,
    /// The document whose keywords apply to it.
    pub document: usize,
    /// The value after all functions were evaluated.
    pub computed: ComputedValue,
}

/// Properties that have a value, by name.
pub(crate) type PropertySlots = BTreeMap<Rc<str>, PropertySlot>;

/// A node template of a known type.
#[derive(Debug)]
pub(crate) struct NodeTemplate {
    /// The name of the node template.
    pub name: Rc<str>,
    /// The position of its name.
    pub at: SourcePosition,
    /// The node type.
    pub node_type: Rc<EntityType>,
    /// The metadata of the node template.
    pub metadata: BTreeMap<String, String>,
    /// The properties, by name.
    pub properties: PropertySlots,
    /// The properties of its capabilities.
    pub capabilities: HashMap<Rc<str>, PropertySlots>,
    /// The requirements, as they are written.
    pub requirements: Rc<Vec<YamlNode>>,
}

/// The state of an input.
#[derive(Clone, Debug)]
pub(crate) enum InputValue {
    /// It has this value.
    Given(YamlNode),
    /// It is optional, and has none.
    Absent,
    /// It has a problem, which is reported.
    Wrong,
}

/// A topology while its values are computed.
pub(crate) struct Instance<'i, 'a> {
    /// Documents, types and problems.
    pub analysis: &'i mut Analysis<'a>,
    /// Inputs by name.
    pub inputs: HashMap<String, InputValue>,
    /// Node templates, by name in order.
    pub nodes: Vec<NodeTemplate>,
    /// The numbers of node templates by name.
    pub numbers: HashMap<Rc<str>, usize>,
    /// Levels of functions that are being evaluated.
    pub levels: usize,
    /// Bytes of text that functions made.
    pub made_bytes: usize,
    /// Values in lists and maps that functions were filled into.
    pub filled_values: usize,
}

impl<'i, 'a> Instance<'i, 'a> {
    /// Reads the topology of the service template.
    pub(crate) fn read(analysis: &'i mut Analysis<'a>, inputs: &Map<String, Value>) -> Self {
        let mut instance = Self {
            analysis,
            inputs: HashMap::new(),
            nodes: Vec::new(),
            numbers: HashMap::new(),
            levels: 0,
            made_bytes: 0,
            filled_values: 0,
        };
        for document in 1..instance.analysis.documents.len() {
            if let Some(topology) = &instance.analysis.documents[document].topology {
                let key = instance.analysis.documents[document].grammar.topology;
                let message = format!("the {key} of an imported file has no effect");
                let at = topology.at;
                instance.analysis.problems.warning(at, key, message);
            }
        }
        let Some(topology) = instance.analysis.documents[0].topology.clone() else {
            return instance;
        };
        let grammar = instance.analysis.documents[0].grammar;
        let problems = &mut instance.analysis.problems;
        problems.keys(
            &topology,
            grammar.topology,
            &[
                "description",
                "metadata",
                "inputs",
                "node_templates",
                "outputs",
            ],
            &["relationship_templates"],
            &["groups", "policies", "workflows", "substitution_mappings"],
        );
        instance.read_inputs(&topology, inputs);
        instance.read_nodes(&topology);
        instance
    }

    fn read_inputs(&mut self, topology: &YamlNode, given: &Map<String, Value>) {
        let section = "inputs";
        let definitions = topology.get(section).cloned();
        let none = PropertyDefinitions::new();
        let known = self
            .analysis
            .properties(0, definitions.as_ref(), &none, section);
        let at = definitions.as_ref().map_or(topology.at, |node| node.at);
        for name in given
            .keys()
            .filter(|name| !known.contains_key(name.as_str()))
        {
            let message = format!("there is no input \"{name}\"");
            self.analysis.problems.error(at, section, message);
        }
        for (name, definition) in &known {
            let path = path_within(section, name);
            let value = match given.get(&**name) {
                Some(value) => Some(from_json(value, definition.at)),
                None => definition.default.clone(),
            };
            let value = match value {
                Some(value) => {
                    let site = CallSite {
                        node: None,
                        document: definition.document,
                        path: &path,
                    };
                    let value = self.evaluate(&value, site);
                    let right =
                        |v: &YamlNode| self.analysis.check(v, &definition.schema, &path).is_some();
                    value
                        .filter(right)
                        .map_or(InputValue::Wrong, InputValue::Given)
                }
                None if definition.required => {
                    let message = "a required input has no value: give it one";
                    self.analysis.problems.error(definition.at, &path, message);
                    InputValue::Wrong
                }
                None => InputValue::Absent,
            };
            self.inputs.insert(name.to_string(), value);
        }
        if let Some(entries) = definitions.as_ref().and_then(YamlNode::as_map) {
            // The name is known even if its definition could not be read.
            for entry in entries.iter() {
                self.inputs
                    .entry(entry.key.to_string())
                    .or_insert(InputValue::Wrong);
            }
        }
    }

    fn read_nodes(&mut self, topology: &YamlNode) {
        let section = "node_templates";
        let entries = self.analysis.problems.map(topology.get(section), section);
        let mut sorted: Vec<&YamlEntry> = entries.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for entry in sorted {
            if self.analysis.is_stopped() {
                return;
            }
            if let Some(node) = self.read_node(entry, &path_within(section, &entry.key)) {
                self.numbers.insert(Rc::clone(&node.name), self.nodes.len());
                self.nodes.push(node);
            }
        }
    }

    fn read_node(&mut self, entry: &YamlEntry, path: &str) -> Option<NodeTemplate> {
        let value = &entry.value;
        let allowed = [
            "type",
            "description",
            "metadata",
            "properties",
            "capabilities",
            "requirements",
            "directives",
            "count",
        ];
        let skipped = ["attributes", "interfaces", "artifacts"];
        let problems = &mut self.analysis.problems;
        problems.keys(value, path, &allowed, &["node_filter", "copy"], &skipped);
        value.as_map()?;
        if let Some(directives) = value.get("directives")
            && directives.as_list().is_none_or(|list| !list.is_empty())
        {
            let message = "directives (substitute, select) are not supported";
            problems.error(directives.at, path, message);
        }
        if let Some(count) = value
            .get("count")
            .filter(|count| count.as_integer() != Some(1))
        {
            problems.error(
                count.at,
                path,
                "count is not supported: write each node template",
            );
        }
        let Some(name) = value.get("type") else {
            problems.error(value.at, path, "key \"type\" is missing");
            return None;
        };
        let metadata = problems.metadata(value.get("metadata"), &format!("{path}.metadata"));
        let node_type = self
            .analysis
            .entity_type_named(TypeKind::Node, 0, name, path)?;
        if !self.analysis.expand(node_type.weight(), value.at, path) {
            return None;
        }
        let section = format!("{path}.properties");
        let assigned = value.get("properties");
        let owner = format!("node type {}", node_type.name());
        let properties = self.slots(&node_type.properties, assigned, &owner, value.at, &section);
        let mut capabilities = HashMap::new();
        let section = format!("{path}.capabilities");
        let assigned = self
            .analysis
            .problems
            .map(value.get("capabilities"), &section);
        for entry in assigned.iter() {
            if !node_type.capabilities.contains_key(&entry.key) {
                let message = format!("{owner} declares no capability \"{}\"", entry.key);
                self.analysis.problems.error(entry.at, &section, message);
            }
            let path = path_within(&section, &entry.key);
            let skipped = ["attributes", "occurrences", "count", "directives"];
            self.analysis
                .problems
                .keys(&entry.value, &path, &["properties"], &[], &skipped);
        }
        let by_name: HashMap<&str, &YamlEntry> =
            assigned.iter().map(|entry| (&*entry.key, entry)).collect();
        for (name, definition) in &node_type.capabilities {
            let assigned = by_name.get(&**name);
            let properties = assigned.and_then(|entry| entry.value.get("properties"));
            let owner = format!("capability type {}", definition.capability.name());
            let path = format!("{}.properties", path_within(&section, name));
            let slots = self.slots(&definition.properties, properties, &owner, value.at, &path);
            capabilities.insert(Rc::clone(name), slots);
        }
        let requirements = self
            .analysis
            .problems
            .list(value.get("requirements"), &format!("{path}.requirements"));
        Some(NodeTemplate {
            name: Rc::clone(&entry.key),
            at: entry.at,
            node_type,
            metadata,
            properties,
            capabilities,
            requirements,
        })
    }

    /// The properties that have a value; reports undeclared ones, and required ones without value.
    fn slots(
        &mut self,
        definitions: &PropertyDefinitions,
        assigned: Option<&YamlNode>,
        owner: &str,
        at: SourcePosition,
        path: &str,
    ) -> PropertySlots {
        let assigned = self.analysis.problems.map(assigned, path);
        for entry in assigned
            .iter()
            .filter(|entry| !definitions.contains_key(&entry.key))
        {
            let message = format!("{owner} declares no property \"{}\"", entry.key);
            self.analysis.problems.error(entry.at, path, message);
        }
        let by_name: HashMap<&str, &YamlEntry> =
            assigned.iter().map(|entry| (&*entry.key, entry)).collect();
        let mut slots = PropertySlots::new();
        for (name, definition) in definitions {
            let own = by_name.get(&**name);
            let (given, document) = match (own, &definition.default) {
                (Some(entry), _) => (entry.value.clone(), 0),
                (None, Some(default)) => (default.clone(), definition.document),
                (None, None) => {
                    if definition.required {
                        let message = format!("required property \"{name}\" is missing");
                        self.analysis.problems.error(at, path, message);
                    }
                    continue;
                }
            };
            let slot = PropertySlot {
                definition: Rc::clone(definition),
                given,
                document,
                computed: ComputedValue::Pending,
            };
            slots.insert(Rc::clone(name), slot);
        }
        slots
    }

    /// The path of a node template.
    pub(crate) fn path_of(&self, node: usize) -> String {
        path_within("node_templates", &self.nodes[node].name)
    }

    /// The value of a node's property. The outer `None`: there is no such property.
    #[allow(clippy::option_option)] // Absent, and present with a problem, are two answers.
    pub(crate) fn property_of(
        &mut self,
        node: usize,
        name: &str,
        caller: &YamlNode,
        site: CallSite<'_>,
    ) -> Option<Option<YamlNode>> {
        let slot = self.nodes[node].properties.get(name)?.clone();
        let section = format!("{}.properties", self.path_of(node));
        let path = path_within(&section, name);
        Some(self.compute(node, None, name, &slot, &path, Some((caller, site))))
    }

    /// The value of a property of a node's capability. The outer `None`: there is no such property.
    #[allow(clippy::option_option)] // Absent, and present with a problem, are two answers.
    pub(crate) fn capability_property_of(
        &mut self,
        node: usize,
        capability: &str,
        name: &str,
        caller: &YamlNode,
        site: CallSite<'_>,
    ) -> Option<Option<YamlNode>> {
        let slot = self.nodes[node]
            .capabilities
            .get(capability)?
            .get(name)?
            .clone();
        let section = format!("{}.capabilities", self.path_of(node));
        let section = format!("{}.properties", path_within(&section, capability));
        let path = path_within(&section, name);
        Some(self.compute(
            node,
            Some(capability),
            name,
            &slot,
            &path,
            Some((caller, site)),
        ))
    }

    /// Computes the value of a property once.
    fn compute(
        &mut self,
        node: usize,
        capability: Option<&str>,
        name: &str,
        slot: &PropertySlot,
        path: &str,
        caller: Option<(&YamlNode, CallSite<'_>)>,
    ) -> Option<YamlNode> {
        match &slot.computed {
            ComputedValue::Done(value) => return value.clone(),
            ComputedValue::Open => {
                if let Some((caller, site)) = caller {
                    let message = format!("get_property calls form a loop through {path}");
                    self.analysis.problems.error(caller.at, site.path, message);
                }
                return None;
            }
            ComputedValue::Pending => {}
        }
        self.set(node, capability, name, ComputedValue::Open);
        let site = CallSite {
            node: Some(node),
            document: slot.document,
            path,
        };
        let value = self.evaluate(&slot.given, site);
        self.set(node, capability, name, ComputedValue::Done(value.clone()));
        value
    }

    fn set(&mut self, node: usize, capability: Option<&str>, name: &str, value: ComputedValue) {
        let node = &mut self.nodes[node];
        let slots = match capability {
            Some(capability) => node.capabilities.get_mut(capability),
            None => Some(&mut node.properties),
        };
        if let Some(slot) = slots.and_then(|slots| slots.get_mut(name)) {
            slot.computed = value;
        }
    }

    /// Computes and checks all properties of a node, and returns them as JSON.
    pub(crate) fn values(&mut self, node: usize) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        let own = self.path_of(node);
        let section = format!("{own}.properties");
        let slots: Vec<_> = self.nodes[node].properties.keys().cloned().collect();
        for name in slots {
            let slot = self.nodes[node].properties[&name].clone();
            let path = path_within(&section, &name);
            let value = self.compute(node, None, &name, &slot, &path, None);
            let json = value.and_then(|v| self.analysis.check(&v, &slot.definition.schema, &path));
            if let Some(json) = json {
                values.insert(name.to_string(), json);
            }
        }
        let mut capabilities: Vec<_> = self.nodes[node].capabilities.keys().cloned().collect();
        capabilities.sort();
        for capability in capabilities {
            let slots = self.nodes[node].capabilities[&capability].clone();
            let section = path_within(&format!("{own}.capabilities"), &capability);
            let section = format!("{section}.properties");
            for (name, slot) in slots {
                let path = path_within(&section, &name);
                let value = self.compute(node, Some(&capability), &name, &slot, &path, None);
                if let Some(value) = value {
                    self.analysis.check(&value, &slot.definition.schema, &path);
                }
            }
        }
        values
    }
}

/// An input from outside, as a value of the file.
fn from_json(value: &Value, at: SourcePosition) -> YamlNode {
    let scalar = |text: &str, plain: bool| YamlContent::Scalar {
        text: text.into(),
        plain,
    };
    let content = match value {
        Value::Null => scalar("null", true),
        Value::Bool(value) => scalar(&value.to_string(), true),
        Value::Number(number) => scalar(&number.to_string(), true),
        Value::String(text) => scalar(text, false),
        Value::Array(items) => YamlContent::List(Rc::new(
            items.iter().map(|item| from_json(item, at)).collect(),
        )),
        Value::Object(map) => YamlContent::Map(Rc::new(
            map.iter()
                .map(|(key, value)| YamlEntry {
                    key: key.as_str().into(),
                    at,
                    value: from_json(value, at),
                })
                .collect(),
        )),
    };
    YamlNode::new(at, content)
}
