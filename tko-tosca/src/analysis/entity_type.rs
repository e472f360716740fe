//! Resolving of node types, capability types and relationship types.

use super::{Analysis, is_normative_root};
use crate::document::{TypeKey, TypeKind};
use crate::entity_type::{CapabilityDefinition, CountRange, EntityType, RequirementDefinition};
use crate::problem::{SourcePosition, path_within};
use crate::schema::PropertyDefinitions;
use crate::yaml::YamlNode;
use std::collections::BTreeMap;
use std::rc::Rc;

impl Analysis<'_> {
    /// Resolves a type of capabilities, relationships or nodes. `None` if it has problems; they are
    /// reported once.
    pub(crate) fn entity_type(&mut self, key: &TypeKey) -> Option<Rc<EntityType>> {
        if let Some(known) = self.entity_types.get(key) {
            return known.clone();
        }
        let entry = self.documents[key.document].types[&key.kind]
            .get(&key.name)?
            .clone();
        if !self.enter(key, entry.at) {
            return None;
        }
        let resolved = self.resolve_entity_type(key, &entry.value).map(Rc::new);
        self.open_types.pop();
        self.entity_types.insert(key.clone(), resolved.clone());
        resolved
    }

    /// The type that a name means in a document.
    pub(crate) fn entity_type_named(
        &mut self,
        kind: TypeKind,
        document: usize,
        name: &YamlNode,
        path: &str,
    ) -> Option<Rc<EntityType>> {
        let text = self.problems.text(name, path)?.to_owned();
        let key = self.find(kind, document, &text, name.at, path)?;
        self.entity_type(&key)
    }

    fn resolve_entity_type(&mut self, key: &TypeKey, definition: &YamlNode) -> Option<EntityType> {
        let path = path_within(key.kind.section(), &key.name);
        let empty = YamlNode::empty_map(definition.at);
        let definition = if definition.is_null() {
            &empty
        } else {
            definition
        };
        let mut allowed = vec![
            "derived_from",
            "version",
            "description",
            "metadata",
            "properties",
            "attributes",
        ];
        match key.kind {
            TypeKind::Node => allowed.extend(["capabilities", "requirements"]),
            TypeKind::Capability => {
                allowed.extend(["valid_source_types", "valid_source_node_types"]);
                allowed.extend(
                    self.documents[key.document]
                        .grammar
                        .is_2_0()
                        .then_some("valid_relationship_types"),
                );
            }
            _ => allowed.extend([
                "valid_target_types",
                "valid_target_node_types",
                "valid_source_node_types",
                "valid_capability_types",
            ]),
        }
        self.problems.keys(
            definition,
            &path,
            &allowed,
            &[],
            &["interfaces", "artifacts"],
        );
        definition.as_map()?;
        let parent = match self.parent(key, definition, &path)? {
            Some(parent) => Some(self.entity_type(&parent)?),
            None => None,
        };
        let (mut lineage, mut names) = (vec![key.clone()], vec![self.canonical(key)]);
        let (mut capabilities, mut requirements) = (BTreeMap::new(), Vec::new());
        let mut inherited = PropertyDefinitions::new();
        if let Some(parent) = &parent {
            if !self.expand(parent.weight(), definition.at, &path) {
                return None;
            }
            lineage.extend(parent.lineage.iter().cloned());
            names.extend(parent.names.iter().cloned());
            capabilities.clone_from(&parent.capabilities);
            requirements.clone_from(&parent.requirements);
            inherited.clone_from(&parent.properties);
        }
        let properties_path = format!("{path}.properties");
        let properties = self.properties(
            key.document,
            definition.get("properties"),
            &inherited,
            &properties_path,
        );
        self.check_defaults(&properties, &properties_path);
        let section = format!("{path}.capabilities");
        for entry in self
            .problems
            .map(definition.get("capabilities"), &section)
            .iter()
        {
            let path = path_within(&section, &entry.key);
            let wide = capabilities.get(&entry.key).cloned();
            if let Some(own) = self.capability(key.document, &entry.value, wide.as_ref(), &path) {
                capabilities.insert(Rc::clone(&entry.key), Rc::new(own));
            }
        }
        let section = format!("{path}.requirements");
        for item in self
            .problems
            .list(definition.get("requirements"), &section)
            .iter()
        {
            if !self.search(requirements.len(), item.at, &section) {
                return None;
            }
            let Some(own) = self.requirement(key.document, item, &requirements, &section) else {
                continue;
            };
            let own = Rc::new(own);
            match requirements.iter_mut().find(|known| known.name == own.name) {
                Some(known) => *known = own,
                None => requirements.push(own),
            }
        }
        Some(EntityType {
            lineage,
            names,
            properties,
            capabilities,
            requirements,
        })
    }

    /// Reads a capability definition: the name of a type, or a map.
    fn capability(
        &mut self,
        document: usize,
        value: &YamlNode,
        wide: Option<&Rc<CapabilityDefinition>>,
        path: &str,
    ) -> Option<CapabilityDefinition> {
        let counts = self.documents[document].grammar.occurrences;
        let name = if value.as_map().is_some() {
            let allowed = [
                "type",
                "description",
                "properties",
                "attributes",
                "valid_source_types",
                "valid_source_node_types",
                "valid_relationship_types",
                "metadata",
                counts,
            ];
            self.problems.keys(value, path, &allowed, &[], &[]);
            value.get("type")
        } else {
            Some(value)
        };
        let capability = match (name, wide) {
            (Some(name), _) => {
                self.entity_type_named(TypeKind::Capability, document, name, path)?
            }
            (None, Some(wide)) => Rc::clone(&wide.capability),
            (None, None) => {
                self.problems
                    .error(value.at, path, "key \"type\" is missing");
                return None;
            }
        };
        if let Some(wide) = wide
            && !capability.is_a(&wide.capability.lineage[0])
        {
            let message = "the type is not the inherited one, nor derived from it";
            self.problems.error(value.at, path, message);
        }
        let properties = value.get("properties");
        let inherited = wide.map_or(&capability.properties, |wide| &wide.properties);
        let inherited = inherited.clone();
        let properties = self.properties(
            document,
            properties,
            &inherited,
            &format!("{path}.properties"),
        );
        // The Go reader leaves a capability unbounded below, whatever 1.3 says.
        let default = wide.map_or(
            CountRange {
                least: 0,
                most: None,
            },
            |wide| wide.count,
        );
        let count = self.count_range(value.get(counts), &format!("{path}.{counts}"));
        Some(CapabilityDefinition {
            capability,
            properties,
            count: count.unwrap_or(default),
        })
    }

    /// Reads a requirement definition: a map with one key, its name.
    fn requirement(
        &mut self,
        document: usize,
        item: &YamlNode,
        inherited: &[Rc<RequirementDefinition>],
        section: &str,
    ) -> Option<RequirementDefinition> {
        let counts = self.documents[document].grammar.occurrences;
        let Some([entry]) = item.as_map().map(|map| map.as_slice()) else {
            let message = "a requirement is a map with one key, its name";
            self.problems.error(item.at, section, message);
            return None;
        };
        let (path, value) = (path_within(section, &entry.key), &entry.value);
        let wide = inherited.iter().find(|known| known.name == entry.key);
        let capability = if value.as_map().is_some() {
            let allowed = [
                "capability",
                "node",
                "relationship",
                "description",
                "metadata",
                counts,
            ];
            self.problems
                .keys(value, &path, &allowed, &["node_filter"], &[]);
            value.get("capability")
        } else {
            Some(value)
        };
        let capability = match (capability, wide) {
            (Some(name), _) => {
                self.entity_type_named(TypeKind::Capability, document, name, &path)?
            }
            (None, Some(wide)) => Rc::clone(&wide.capability),
            (None, None) => {
                self.problems
                    .error(value.at, &path, "key \"capability\" is missing");
                return None;
            }
        };
        let node = match value.get("node") {
            Some(name) => {
                let text = self.problems.text(name, &path)?.to_owned();
                Some(self.find(TypeKind::Node, document, &text, name.at, &path)?)
            }
            None => wide.and_then(|wide| wide.node.clone()),
        };
        let relationship = match value.get("relationship") {
            Some(value) => {
                let name = if value.as_map().is_some() {
                    let allowed = ["type", "description", "metadata"];
                    self.problems
                        .keys(value, &path, &allowed, &[], &["interfaces"]);
                    value.get("type")
                } else {
                    Some(value)
                };
                let Some(name) = name else {
                    self.problems
                        .error(value.at, &path, "key \"type\" is missing");
                    return None;
                };
                Some(self.entity_type_named(TypeKind::Relationship, document, name, &path)?)
            }
            None => wide.and_then(|wide| wide.relationship.clone()),
        };
        if let Some(wide) = wide {
            let is_node = match (&node, &wide.node) {
                (Some(node), Some(wide)) => self.is_derived(node, wide, value.at, &path),
                _ => true,
            };
            let is_relationship = match (&relationship, &wide.relationship) {
                (Some(relationship), Some(wide)) => relationship.is_a(&wide.lineage[0]),
                _ => true,
            };
            let is_capability = capability.is_a(&wide.capability.lineage[0]);
            for (part, is_compatible) in [
                ("capability", is_capability),
                ("node", is_node),
                ("relationship", is_relationship),
            ] {
                if !is_compatible {
                    let message =
                        format!("the {part} type is not the inherited one, nor derived from it");
                    self.problems.error(value.at, &path, message);
                }
            }
        }
        let default = wide.map_or(
            CountRange {
                least: 1,
                most: Some(1),
            },
            |wide| wide.count,
        );
        let count = self.count_range(value.get(counts), &format!("{path}.{counts}"));
        Some(RequirementDefinition {
            name: Rc::clone(&entry.key),
            capability,
            node,
            relationship,
            count: count.unwrap_or(default),
        })
    }

    /// Whether a type is another one or derived from it. The types are not resolved: a node type
    /// may require nodes of its own type, and a type being resolved counts as a cycle. Returns true
    /// if a parent is wrong, because that is a problem of its own.
    fn is_derived(
        &mut self,
        narrow: &TypeKey,
        wide: &TypeKey,
        at: SourcePosition,
        path: &str,
    ) -> bool {
        let mut key = narrow.clone();
        for _ in 0..self.limits.lineage {
            if key == *wide {
                return true;
            }
            // Each level looks through the imports.
            if !self.search(self.documents.len(), at, path) {
                return true;
            }
            let entry = self.documents[key.document].types[&key.kind].get(&key.name);
            let parent = entry.and_then(|entry| entry.value.get("derived_from")?.as_scalar());
            let Some(parent) = parent else {
                return false;
            };
            let mut found = self.lookup(key.kind, key.document, parent);
            match found.pop() {
                Some(parent) if found.is_empty() => key = parent,
                // A root that no file defines has no parent.
                None if is_normative_root(parent) => return false,
                _ => return true,
            }
        }
        true
    }

    /// Reads `[LEAST, MOST]`; the second may be `UNBOUNDED`.
    fn count_range(&mut self, value: Option<&YamlNode>, path: &str) -> Option<CountRange> {
        let value = value?;
        let bound = |node: &YamlNode| node.as_integer().and_then(|n| u64::try_from(n).ok());
        let parsed = match value.as_list().map(|list| list.as_slice()) {
            Some([least, most]) if most.as_scalar() == Some("UNBOUNDED") => {
                bound(least).map(|least| CountRange { least, most: None })
            }
            Some([least, most]) => match (bound(least), bound(most)) {
                (Some(least), Some(most)) if least <= most => Some(CountRange {
                    least,
                    most: Some(most),
                }),
                _ => None,
            },
            _ => None,
        };
        if parsed.is_none() {
            let message = "expected two numbers such as [1, 1] or [0, UNBOUNDED]";
            self.problems.error(value.at, path, message);
        }
        parsed
    }
}
