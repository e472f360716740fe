//! Checks values against schemas, and turns them into JSON.

use crate::analysis::Analysis;
use crate::constraint::ToscaConstraint;
use crate::data_type::DataType;
use crate::primitive::Primitive;
use crate::problem::path_within;
use crate::schema::{PropertyDefinitions, ToscaSchema, ToscaType};
use crate::yaml::{YamlEntry, YamlNode};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// A value without functions, its schema, and its position.
struct CheckedPlace<'c> {
    schema: &'c ToscaSchema,
    path: &'c str,
    depth: usize,
}

impl Analysis<'_> {
    /// Checks a value that has no functions. `None` if it is wrong; every mistake in it is reported,
    /// unless reading ends early.
    pub(crate) fn check(
        &mut self,
        value: &YamlNode,
        schema: &ToscaSchema,
        path: &str,
    ) -> Option<Value> {
        if self.is_stopped() {
            return None;
        }
        let before = self.problems.errors();
        let checked = CheckedPlace {
            schema,
            path,
            depth: 0,
        };
        let json = self.check_value(value, &checked);
        json.filter(|_| self.problems.errors() == before)
    }

    fn check_value(&mut self, value: &YamlNode, checked: &CheckedPlace<'_>) -> Option<Value> {
        if checked.depth > self.limits.depth {
            let message = format!(
                "the value is nested deeper than {} levels, with defaults filled in",
                self.limits.depth
            );
            self.problems.error(value.at, checked.path, message);
            return None;
        }
        self.checked_values += 1;
        self.checked_bytes += value.as_scalar().map_or(0, str::len);
        let most_bytes = self
            .limits
            .total_bytes
            .saturating_add(self.limits.function_bytes as u64);
        if self.checked_values > self.limits.values || self.checked_bytes as u64 > most_bytes {
            let message = "the properties hold too much, with functions and defaults filled in";
            self.stop(value.at, checked.path, message);
            return None;
        }
        match &checked.schema.value_type {
            ToscaType::Primitive(primitive) => {
                let entries = checked.schema.entries.as_ref();
                let keys = checked.schema.keys.as_ref();
                let json = self.check_primitive(value, *primitive, keys, entries, checked)?;
                self.check_constraints(&checked.schema.constraints, *primitive, value, checked);
                Some(json)
            }
            ToscaType::Named(key) => {
                let data_type = self.data_type(key)?;
                if let Some(primitive) = data_type.primitive {
                    let entries = checked
                        .schema
                        .entries
                        .as_ref()
                        .or(data_type.entries.as_ref());
                    let keys = checked.schema.keys.as_ref().or(data_type.keys.as_ref());
                    let json = self.check_primitive(value, primitive, keys, entries, checked)?;
                    self.check_constraints(&data_type.constraints, primitive, value, checked);
                    let own = &checked.schema.constraints;
                    self.check_constraints(own, primitive, value, checked);
                    Some(json)
                } else {
                    let json = self.check_fields(value, &data_type, checked)?;
                    // A value with fields is a map.
                    let own = &checked.schema.constraints;
                    for constraints in [&data_type.constraints, own] {
                        self.check_constraints(constraints, Primitive::Map, value, checked);
                    }
                    Some(json)
                }
            }
        }
    }

    fn check_constraints(
        &mut self,
        constraints: &[ToscaConstraint],
        primitive: Primitive,
        value: &YamlNode,
        checked: &CheckedPlace<'_>,
    ) {
        for constraint in constraints {
            self.satisfies(constraint, primitive, value, checked.path);
        }
    }

    fn check_primitive(
        &mut self,
        value: &YamlNode,
        primitive: Primitive,
        keys: Option<&Rc<ToscaSchema>>,
        entries: Option<&Rc<ToscaSchema>>,
        checked: &CheckedPlace<'_>,
    ) -> Option<Value> {
        let scalar = value.as_scalar();
        let json = match primitive {
            Primitive::String => value.as_text().map(Value::from),
            Primitive::Integer => value.as_integer().map(Value::from),
            Primitive::Boolean => value.as_boolean().map(Value::from),
            Primitive::Float => value
                .as_float()
                .and_then(Number::from_f64)
                .map(Value::Number)
                .or_else(|| value.as_integer().map(Value::from)),
            Primitive::Timestamp | Primitive::Version | Primitive::Scalar(_) => {
                primitive.rank(value).and(scalar).map(Value::from)
            }
            Primitive::Range => range(value),
            Primitive::List => match value.as_list() {
                Some(items) => return self.check_list(items, entries, checked),
                None => None,
            },
            Primitive::Map => match value.as_map() {
                Some(_) => return self.check_map(value, keys, entries, checked),
                None => None,
            },
        };
        if json.is_none() {
            self.wrong_type(
                value,
                &format!("{}{}", primitive.name(), primitive.example()),
                checked,
            );
        }
        json
    }

    /// Reports a value of the wrong type.
    fn wrong_type(&mut self, value: &YamlNode, expected: &str, checked: &CheckedPlace<'_>) {
        let found = match (value.as_scalar(), value.as_map().map(|map| map.as_slice())) {
            (Some(text), _) if text.chars().count() <= 60 => format!("{} ({text})", value.kind()),
            // A mistyped function looks like a map with one key.
            (None, Some([entry])) => format!("a map, or the unknown function \"{}\"", entry.key),
            _ => value.kind().to_owned(),
        };
        let message = format!("expected {expected}, found {found}");
        self.problems.error(value.at, checked.path, message);
    }

    fn check_list(
        &mut self,
        items: &[YamlNode],
        entries: Option<&Rc<ToscaSchema>>,
        checked: &CheckedPlace<'_>,
    ) -> Option<Value> {
        let schema = Rc::clone(entries?);
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if self.is_stopped() {
                return None;
            }
            let path = format!("{}[{index}]", checked.path);
            let inner = CheckedPlace {
                schema: &schema,
                path: &path,
                depth: checked.depth + 1,
            };
            list.extend(self.check_value(item, &inner));
        }
        Some(Value::Array(list))
    }

    fn check_map(
        &mut self,
        value: &YamlNode,
        keys: Option<&Rc<ToscaSchema>>,
        entries: Option<&Rc<ToscaSchema>>,
        checked: &CheckedPlace<'_>,
    ) -> Option<Value> {
        let schema = Rc::clone(entries?);
        let mut map = Map::new();
        for entry in value.as_map()?.iter() {
            if self.is_stopped() {
                return None;
            }
            let path = path_within(checked.path, &entry.key);
            if let Some(keys) = keys {
                let key = YamlNode::text(entry.at, &entry.key);
                let inner = CheckedPlace {
                    schema: keys,
                    path: &path,
                    depth: checked.depth + 1,
                };
                self.check_value(&key, &inner);
            }
            let inner = CheckedPlace {
                schema: &schema,
                path: &path,
                depth: checked.depth + 1,
            };
            if let Some(json) = self.check_value(&entry.value, &inner) {
                map.insert(entry.key.to_string(), json);
            }
        }
        Some(Value::Object(map))
    }

    fn check_fields(
        &mut self,
        value: &YamlNode,
        data_type: &DataType,
        checked: &CheckedPlace<'_>,
    ) -> Option<Value> {
        let Some(entries) = value.as_map() else {
            self.wrong_type(value, &format!("a map of type {}", data_type.name), checked);
            return None;
        };
        // A type with many optional fields takes time for each value, even for an empty one.
        let steps = entries.len().saturating_add(data_type.fields.len());
        if !self.search(steps, value.at, checked.path) {
            return None;
        }
        let by_name: HashMap<&str, &YamlEntry> =
            entries.iter().map(|entry| (&*entry.key, entry)).collect();
        let mut map = Map::new();
        for entry in entries.iter() {
            if !data_type.fields.contains_key(&entry.key) {
                let message = format!(
                    "data type {} declares no property \"{}\"",
                    data_type.name, entry.key
                );
                self.problems.error(entry.at, checked.path, message);
            }
        }
        for (name, definition) in &data_type.fields {
            if self.is_stopped() {
                return None;
            }
            let given = by_name
                .get(&**name)
                .map(|entry| &entry.value)
                .or(definition.default.as_ref());
            let Some(given) = given else {
                if definition.required {
                    let message = format!("required property \"{name}\" is missing");
                    self.problems.error(value.at, checked.path, message);
                }
                continue;
            };
            let path = path_within(checked.path, name);
            let inner = CheckedPlace {
                schema: &definition.schema,
                path: &path,
                depth: checked.depth + 1,
            };
            if let Some(json) = self.check_value(given, &inner) {
                map.insert(name.to_string(), json);
            }
        }
        Some(Value::Object(map))
    }

    /// Checks the defaults of definitions, except those with functions, which are checked when
    /// used.
    pub(crate) fn check_defaults(&mut self, properties: &PropertyDefinitions, path: &str) {
        for (name, definition) in properties {
            let Some(default) = &definition.default else {
                continue;
            };
            if self.is_stopped() {
                return;
            }
            let path = format!("{}.default", path_within(path, name));
            let prefix = self.documents[definition.document].grammar.function_prefix;
            if self.is_constant(default, prefix, &path) != Some(true) {
                continue;
            }
            self.check(default, &definition.schema, &path);
        }
    }
}

/// A range as JSON: two integers, of which the second may be `UNBOUNDED`.
fn range(value: &YamlNode) -> Option<Value> {
    let [low, high] = value.as_list()?.as_slice() else {
        return None;
    };
    let low = low.as_integer()?;
    if high.as_scalar() == Some("UNBOUNDED") {
        return Some(Value::from(vec![
            Value::from(low),
            Value::from("UNBOUNDED"),
        ]));
    }
    let high = high.as_integer().filter(|high| *high >= low)?;
    Some(Value::from(vec![low, high]))
}
