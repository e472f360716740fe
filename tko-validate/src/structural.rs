//! The structural schema of a custom kind: the parts of a `CustomResourceDefinition` that an API
//! server uses before it validates a resource. It removes nulls, applies defaults, and evaluates
//! rules.

use crate::rules::CelRule;
use serde_json::{Map, Value};
use std::collections::HashMap;
use tko_core::hash::size_of_value;

/// Maximum number of bytes that the defaults of one resource may add. Defaults apply to every item
/// of a list, so a small resource could otherwise become a huge one.
const MAX_DEFAULT_BYTES: usize = 4 << 20;

/// The type of a value, as far as rules distinguish it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ValueType {
    /// Any type, including "an integer or text".
    #[default]
    Any,
    /// A number that counts as a double, also if it has no fraction.
    Number,
    /// Text with `format: date-time` or `date`.
    Time,
    /// Text with `format: duration`.
    Duration,
    /// Text with `format: byte`.
    Bytes,
}

/// One schema of the tree.
#[derive(Debug, Default)]
pub(crate) struct Structural {
    nullable: bool,
    default: Option<Value>,
    pub(crate) properties: HashMap<String, Structural>,
    pub(crate) additional: Option<Box<Structural>>,
    pub(crate) items: Option<Box<Structural>>,
    pub(crate) value_type: ValueType,
    rules: Vec<CelRule>,
    has_rules: bool,
}

/// Why defaults could not be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyDefaults;

impl Structural {
    /// Reads a schema. Everything that has the wrong type is ignored; compiling the schema reports
    /// it. The schema must be shallow.
    pub(crate) fn read(schema: &Value) -> Self {
        let child = |keyword: &str| {
            let schema = schema.get(keyword).filter(|schema| schema.is_object())?;
            Some(Box::new(Self::read(schema)))
        };
        let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
        let mut properties: HashMap<String, Self> = HashMap::new();
        if let Some(Value::Object(named)) = schema.get("properties") {
            properties.extend(
                named
                    .iter()
                    .map(|(name, schema)| (name.clone(), Self::read(schema))),
            );
        }
        let rules: Vec<CelRule> = match schema.get("x-kubernetes-validations") {
            Some(Value::Array(rules)) => rules.iter().filter_map(CelRule::read).collect(),
            _ => Vec::new(),
        };
        let (additional, items) = (child("additionalProperties"), child("items"));
        let has_rules = !rules.is_empty()
            || properties.values().any(|schema| schema.has_rules)
            || additional.as_ref().is_some_and(|schema| schema.has_rules)
            || items.as_ref().is_some_and(|schema| schema.has_rules);
        Self {
            nullable: schema.get("nullable") == Some(&Value::Bool(true)),
            default: schema
                .get("default")
                .filter(|value| !value.is_null())
                .cloned(),
            properties,
            additional,
            items,
            value_type: match (text("type"), text("format")) {
                (Some("number"), _) => ValueType::Number,
                (Some("string"), Some("date-time" | "datetime" | "date")) => ValueType::Time,
                (Some("string"), Some("duration")) => ValueType::Duration,
                (Some("string"), Some("byte")) => ValueType::Bytes,
                _ => ValueType::Any,
            },
            rules,
            has_rules,
        }
    }

    /// Returns true if this schema or one within it has rules.
    pub(crate) fn has_rules(&self) -> bool {
        self.has_rules
    }

    /// Returns the first rule that does not parse, with the reason.
    pub(crate) fn unusable_rule(&self) -> Option<String> {
        if !self.has_rules {
            return None;
        }
        let own = self.rules.iter().find_map(CelRule::fault);
        let mut within = self
            .properties
            .values()
            .chain(self.additional.as_deref())
            .chain(self.items.as_deref());
        own.or_else(|| within.find_map(Self::unusable_rule))
    }

    /// Calls `each` with every value that has rules, and its JSON pointer, outermost first.
    pub(crate) fn each_ruled<'a>(
        &'a self,
        value: &'a Value,
        pointer: &mut String,
        each: &mut impl FnMut(&'a [CelRule], &'a Self, &'a Value, &str),
    ) {
        if !self.has_rules || value.is_null() {
            return;
        }
        if !self.rules.is_empty() {
            each(&self.rules, self, value, pointer);
        }
        let length = pointer.len();
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(schema) = self.field(name) else {
                        continue;
                    };
                    if schema.has_rules {
                        push(pointer, name);
                        schema.each_ruled(value, pointer, each);
                        pointer.truncate(length);
                    }
                }
            }
            Value::Array(list) => {
                let Some(schema) = self.items.as_deref().filter(|schema| schema.has_rules) else {
                    return;
                };
                for (index, value) in list.iter().enumerate() {
                    push(pointer, &index.to_string());
                    schema.each_ruled(value, pointer, each);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Returns the schema of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// Returns true if null means "not given" here.
    fn refuses_null(&self, value: &Value) -> bool {
        value.is_null() && !self.nullable
    }

    /// Removes nulls that mean "not given" and have no default, as API servers do before they
    /// validate.
    pub(crate) fn prune_nulls(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|name, value| {
                    let Some(schema) = self.field(name) else {
                        return true;
                    };
                    if schema.refuses_null(value) {
                        return schema.default.is_some();
                    }
                    schema.prune_nulls(value);
                    true
                });
            }
            Value::Array(list) => {
                if let Some(schema) = &self.items {
                    for value in list {
                        schema.prune_nulls(value);
                    }
                }
            }
            _ => {}
        }
    }

    /// Applies defaults.
    ///
    /// # Errors
    /// The defaults add more than [`MAX_DEFAULT_BYTES`].
    pub(crate) fn apply_defaults(&self, value: &mut Value) -> Result<(), TooManyDefaults> {
        let mut left = MAX_DEFAULT_BYTES;
        self.default_in(value, &mut left)
    }

    fn default_in(&self, value: &mut Value, left: &mut usize) -> Result<(), TooManyDefaults> {
        match value {
            Value::Object(map) => {
                self.default_fields(map, left)?;
                for (name, value) in map {
                    if let Some(schema) = self.field(name) {
                        schema.replace_null(value, left)?;
                        schema.default_in(value, left)?;
                    }
                }
            }
            Value::Array(list) => {
                if let Some(schema) = &self.items {
                    for value in list {
                        schema.replace_null(value, left)?;
                        schema.default_in(value, left)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn default_fields(
        &self,
        map: &mut Map<String, Value>,
        left: &mut usize,
    ) -> Result<(), TooManyDefaults> {
        for (name, schema) in &self.properties {
            if schema.default.is_some() && !map.contains_key(name) {
                let mut value = Value::Null;
                schema.put_default(&mut value, left)?;
                map.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn replace_null(&self, value: &mut Value, left: &mut usize) -> Result<(), TooManyDefaults> {
        if self.refuses_null(value) {
            self.put_default(value, left)?;
        }
        Ok(())
    }

    fn put_default(&self, value: &mut Value, left: &mut usize) -> Result<(), TooManyDefaults> {
        if let Some(default) = &self.default {
            let size = size_of_value(default);
            *left = left.checked_sub(size).ok_or(TooManyDefaults)?;
            *value = default.clone();
        }
        Ok(())
    }
}

/// Adds a segment to a JSON pointer.
fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use super::{Structural, TooManyDefaults};
    use serde_json::{Value, json};

    fn completed(schema: &Value, mut value: Value) -> Value {
        let schema = Structural::read(schema);
        schema.prune_nulls(&mut value);
        schema.apply_defaults(&mut value).expect("small");
        value
    }

    #[test]
    fn defaults_apply_at_every_depth_and_within_defaults() {
        let schema = json!({"properties": {"spec": {"default": {}, "properties": {
            "mode": {"default": "auto"},
            "list": {"items": {"properties": {"type": {"default": "IP"}}}},
            "map": {"additionalProperties": {"properties": {"n": {"default": 1}}}},
        }}}});
        assert_eq!(
            completed(&schema, json!({})),
            json!({"spec": {"mode": "auto"}})
        );
        assert_eq!(
            completed(
                &schema,
                json!({"spec": {"mode": "x", "list": [{}], "map": {"a": {}}}})
            ),
            json!({"spec": {"mode": "x", "list": [{"type": "IP"}], "map": {"a": {"n": 1}}}})
        );
    }

    #[test]
    fn null_becomes_the_default_or_vanishes_unless_it_is_nullable() {
        let schema = json!({"properties": {
            "a": {"default": 1}, "b": {}, "c": {"nullable": true}, "d": {"nullable": true, "default": 2},
            "map": {"additionalProperties": {"type": "string"}},
            "list": {"items": {"type": "string"}},
        }});
        assert_eq!(
            completed(
                &schema,
                json!({"a": null, "b": null, "c": null, "d": null, "map": {"x": null}, "list": [null]})
            ),
            json!({"a": 1, "c": null, "d": null, "map": {}, "list": [null]})
        );
    }

    #[test]
    fn defaults_cannot_multiply_a_resource_without_limit() {
        let schema = json!({"items": {"properties": {"a": {"default": "x".repeat(10_000)}}}});
        let mut value: Value = (0..1000).map(|_| json!({})).collect();
        assert_eq!(
            Structural::read(&schema).apply_defaults(&mut value),
            Err(TooManyDefaults)
        );
    }
}
