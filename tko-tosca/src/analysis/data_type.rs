//! Resolving of data types.

use super::Analysis;
use crate::data_type::DataType;
use crate::document::TypeKey;
use crate::entity_type::weight_of;
use crate::primitive::Primitive;
use crate::problem::path_within;
use crate::schema::{PropertyDefinitions, ToscaSchema, ToscaType};
use std::rc::Rc;

impl Analysis<'_> {
    /// Resolves a data type. `None` if it has problems; they are reported once.
    pub(crate) fn data_type(&mut self, key: &TypeKey) -> Option<Rc<DataType>> {
        if let Some(known) = self.data_types.get(key) {
            return known.clone();
        }
        let entry = self.documents[key.document].types[&key.kind]
            .get(&key.name)?
            .clone();
        if !self.enter(key, entry.at) {
            return None;
        }
        let resolved = self.resolve_data_type(key, &entry.value);
        self.open_types.pop();
        let resolved = resolved.map(Rc::new);
        self.data_types.insert(key.clone(), resolved.clone());
        // Defaults are checked last, because they may be of the type itself.
        if let Some(data_type) = &resolved {
            let path = format!("{}.properties", path_within("data_types", &key.name));
            self.check_defaults(&data_type.fields, &path);
        }
        resolved
    }

    fn resolve_data_type(
        &mut self,
        key: &TypeKey,
        definition: &crate::yaml::YamlNode,
    ) -> Option<DataType> {
        let path = path_within("data_types", &key.name);
        let constraints_key = self.documents[key.document].grammar.constraints;
        let allowed = [
            "derived_from",
            "version",
            "description",
            "metadata",
            "properties",
            constraints_key,
            "key_schema",
            "entry_schema",
        ];
        let refused = ["data_type", "units", "canonical_unit", "prefixes"];
        self.problems
            .keys(definition, &path, &allowed, &refused, &[]);
        definition.as_map()?;
        let base = definition.get("derived_from");
        if let Some(base) = base.filter(|base| self.is_unsupported_type(key.document, base)) {
            let name = base.as_scalar().unwrap_or_default();
            let message = format!("type \"{name}\" is not supported");
            self.problems.error(base.at, &path, message);
            return None;
        }
        let primitive = definition
            .get("derived_from")
            .and_then(|name| Primitive::named(name.as_scalar()?));
        let parent = if primitive.is_some() {
            None
        } else {
            let parent = self.parent(key, definition, &path)?;
            match parent {
                Some(parent) => Some(self.data_type(&parent)?),
                None => None,
            }
        };
        let primitive = primitive.or_else(|| parent.as_ref().and_then(|p| p.primitive));
        let mut constraints = self.constraints(key.document, definition, &path);
        let no_fields = PropertyDefinitions::new();
        let mut lineage = vec![key.clone()];
        let (mut keys, mut entries) = (None, None);
        if let Some(parent) = &parent {
            let inherited = weight_of(&parent.fields) + parent.constraints.len();
            if !self.expand(inherited, definition.at, &path) {
                return None;
            }
            lineage.extend(parent.lineage.iter().cloned());
            constraints.extend(parent.constraints.iter().cloned());
            keys.clone_from(&parent.keys);
            entries.clone_from(&parent.entries);
        }
        let inherited = parent.as_ref().map_or(&no_fields, |parent| &parent.fields);
        let fields_path = format!("{path}.properties");
        let fields = definition.get("properties");
        if let (Some(fields), Some(primitive)) = (fields, primitive) {
            let message = format!("a type derived from {} has no properties", primitive.name());
            self.problems.error(fields.at, &path, message);
        }
        let fields = self.properties(key.document, fields, inherited, &fields_path);
        if let Some(primitive) = primitive {
            let known = ToscaSchema {
                value_type: ToscaType::Primitive(primitive),
                constraints: Vec::new(),
                keys,
                entries,
            };
            let value_type = ToscaType::Primitive(primitive);
            let schema = self.finish_schema(
                key.document,
                definition,
                Some(&known),
                value_type,
                Vec::new(),
                &path,
            )?;
            (keys, entries) = (schema.keys, schema.entries);
        }
        Some(DataType {
            name: self.canonical(key),
            lineage,
            primitive,
            fields,
            constraints,
            keys,
            entries,
        })
    }
}
