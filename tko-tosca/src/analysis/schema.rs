//! Reading of schemas and property definitions.

use super::Analysis;
use crate::constraint::ToscaConstraint;
use crate::document::TypeKind;
use crate::primitive::Primitive;
use crate::problem::path_within;
use crate::schema::{PropertyDefinition, PropertyDefinitions, ToscaSchema, ToscaType};
use crate::yaml::YamlNode;
use std::rc::Rc;

impl Analysis<'_> {
    /// The type that a name means in a document.
    fn value_type(&mut self, document: usize, name: &YamlNode, path: &str) -> Option<ToscaType> {
        let text = self.problems.text(name, path)?.to_owned();
        if let Some(primitive) = Primitive::named(&text) {
            return Some(ToscaType::Primitive(primitive));
        }
        if self.is_unsupported_type(document, name) {
            self.problems
                .error(name.at, path, format!("type \"{text}\" is not supported"));
            return None;
        }
        self.find(TypeKind::Data, document, &text, name.at, path)
            .map(ToscaType::Named)
    }

    /// Whether a name means a type of TOSCA 2.0 itself that is not supported.
    pub(crate) fn is_unsupported_type(&self, document: usize, name: &YamlNode) -> bool {
        let unsupported = matches!(name.as_scalar(), Some("scalar" | "bytes"));
        unsupported && self.documents[document].grammar.is_2_0()
    }

    /// Reads a schema: the name of a type, or a map.
    fn schema(&mut self, document: usize, value: &YamlNode, path: &str) -> Option<Rc<ToscaSchema>> {
        if value.as_map().is_none() {
            let value_type = self.value_type(document, value, path)?;
            return self
                .finish_schema(document, value, None, value_type, Vec::new(), path)
                .map(Rc::new);
        }
        let constraints_key = self.documents[document].grammar.constraints;
        let allowed = [
            "type",
            "description",
            constraints_key,
            "key_schema",
            "entry_schema",
        ];
        self.problems.keys(
            value,
            path,
            &allowed,
            &[],
            &["required", "default", "metadata"],
        );
        let Some(name) = value.get("type") else {
            self.problems
                .error(value.at, path, "key \"type\" is missing");
            return None;
        };
        let value_type = self.value_type(document, name, path)?;
        let constraints = self.constraints(document, value, path);
        self.finish_schema(document, value, None, value_type, constraints, path)
            .map(Rc::new)
    }

    /// Adds the schemas of keys and entries; inherited ones are used if none are given.
    pub(crate) fn finish_schema(
        &mut self,
        document: usize,
        definition: &YamlNode,
        inherited: Option<&ToscaSchema>,
        value_type: ToscaType,
        constraints: Vec<ToscaConstraint>,
        path: &str,
    ) -> Option<ToscaSchema> {
        let mut part = |key: &str, inherited: Option<&Rc<ToscaSchema>>| match definition.get(key) {
            Some(value) => self
                .schema(document, value, &format!("{path}.{key}"))
                .map(Some),
            None => Some(inherited.cloned()),
        };
        let keys = part(
            "key_schema",
            inherited.and_then(|schema| schema.keys.as_ref()),
        )?;
        let entries = part(
            "entry_schema",
            inherited.and_then(|schema| schema.entries.as_ref()),
        )?;
        let needs = matches!(
            value_type,
            ToscaType::Primitive(Primitive::List | Primitive::Map)
        );
        if needs && entries.is_none() {
            let message = "key \"entry_schema\" is missing: it says the type of the entries";
            self.problems.error(definition.at, path, message);
            return None;
        }
        Some(ToscaSchema {
            value_type,
            constraints,
            keys,
            entries,
        })
    }

    /// Whether values of a type are values of another one too.
    fn is_compatible(&mut self, narrow: &ToscaType, wide: &ToscaType) -> bool {
        if narrow == wide {
            return true;
        }
        let ToscaType::Named(key) = narrow else {
            return false;
        };
        let Some(data_type) = self.data_type(key) else {
            // The problem of the type itself is already reported.
            return true;
        };
        match wide {
            ToscaType::Named(wide) => data_type.lineage.contains(wide),
            ToscaType::Primitive(wide) => data_type.primitive == Some(*wide),
        }
    }

    /// Reads property definitions that refine inherited ones, and adds those that are inherited.
    pub(crate) fn properties(
        &mut self,
        document: usize,
        definitions: Option<&YamlNode>,
        inherited: &PropertyDefinitions,
        path: &str,
    ) -> PropertyDefinitions {
        let mut properties = inherited.clone();
        for entry in self.problems.map(definitions, path).iter() {
            let path = path_within(path, &entry.key);
            let wide = inherited.get(&entry.key);
            if let Some(own) = self.property(document, &entry.value, wide, &path) {
                properties.insert(Rc::clone(&entry.key), Rc::new(own));
            }
        }
        properties
    }

    /// Reads one property definition.
    fn property(
        &mut self,
        document: usize,
        value: &YamlNode,
        inherited: Option<&Rc<PropertyDefinition>>,
        path: &str,
    ) -> Option<PropertyDefinition> {
        let constraints_key = self.documents[document].grammar.constraints;
        let allowed = [
            "type",
            "required",
            "default",
            "description",
            "status",
            constraints_key,
            "key_schema",
            "entry_schema",
            "metadata",
        ];
        self.problems.keys(
            value,
            path,
            &allowed,
            &["value", "mapping"],
            &["external-schema"],
        );
        value.as_map()?;
        let value_type = match (value.get("type"), inherited) {
            (Some(name), _) => self.value_type(document, name, &format!("{path}.type"))?,
            (None, Some(inherited)) => inherited.schema.value_type.clone(),
            (None, None) => {
                self.problems
                    .error(value.at, path, "key \"type\" is missing");
                return None;
            }
        };
        let mut constraints = self.constraints(document, value, path);
        let mut kept = None;
        if let Some(wide) = inherited {
            if !self.expand(wide.schema.constraints.len(), value.at, path) {
                return None;
            }
            if self.is_compatible(&value_type, &wide.schema.value_type) {
                constraints.extend(wide.schema.constraints.iter().cloned());
                kept = Some(&wide.schema);
            } else {
                let message = "the type is not the inherited one, nor derived from it";
                self.problems.error(value.at, path, message);
            }
        }
        let required = self
            .problems
            .boolean(value.get("required"), &format!("{path}.required"));
        let must = inherited.is_some_and(|wide| wide.required);
        if required == Some(false) && must {
            let message = "an inherited property is required: it cannot become optional";
            self.problems.error(value.at, path, message);
        }
        let schema = self.finish_schema(document, value, kept, value_type, constraints, path)?;
        let metadata = self
            .problems
            .metadata(value.get("metadata"), &format!("{path}.metadata"));
        let default = value.get("default").cloned();
        let inherited_default = inherited.and_then(|wide| wide.default.clone());
        Some(PropertyDefinition {
            at: value.at,
            document,
            schema,
            required: required.unwrap_or_else(|| inherited.is_none_or(|wide| wide.required)),
            default: default.or(inherited_default),
            metadata,
        })
    }
}
