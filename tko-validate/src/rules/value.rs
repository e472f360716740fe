//! Values of rules. Values of the resource are borrowed; the evaluation creates the others.

use super::fault::RuleFault;
use super::moment;
use super::rule_text::RuleText;
use crate::formats::quantity::Quantity;
use crate::structural::{Structural, ValueType};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(RuleText<'a>),
    Bytes(Rc<Vec<u8>>),
    /// A list of the resource.
    Items(&'a [Value], Option<&'a Structural>),
    /// A map of the resource.
    Fields(&'a Map<String, Value>, Option<&'a Structural>),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<Vec<(Val<'a>, Val<'a>)>>),
    /// Nanoseconds since 1970.
    Time(i128),
    /// Nanoseconds.
    Duration(i128),
    Optional(Option<Rc<Val<'a>>>),
    Quantity(Quantity),
    Address(IpAddr),
    /// A network: address and length of the prefix.
    Network(IpAddr, u8),
    Type(&'static str),
}

/// The value of an expression, or why there is none.
pub(super) type Evaluated<'a> = Result<Val<'a>, RuleFault>;

impl<'a> Val<'a> {
    /// Makes a value of the resource one of a rule.
    pub(super) fn wrap(value: &'a Value, schema: Option<&'a Structural>) -> Self {
        let value_type = schema.map_or(ValueType::Any, |schema| schema.value_type);
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) if value_type == ValueType::Number => {
                Self::Double(number.as_f64().unwrap_or_default())
            }
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::Uint(number),
                (None, None) => Self::Double(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => {
                let special = match value_type {
                    ValueType::Time => moment::time(text).map(Self::Time),
                    ValueType::Duration => {
                        crate::formats::duration_nanoseconds(text).map(Self::Duration)
                    }
                    ValueType::Bytes => {
                        crate::formats::from_base64(text).map(|bytes| Self::Bytes(Rc::new(bytes)))
                    }
                    ValueType::Any | ValueType::Number => None,
                };
                special.unwrap_or(Self::Text(RuleText::Given(text)))
            }
            Value::Array(list) => {
                Self::Items(list, schema.and_then(|schema| schema.items.as_deref()))
            }
            Value::Object(map) => Self::Fields(map, schema),
        }
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self::Text(RuleText::Made(text.into()))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(items))
    }

    pub(super) fn some(value: Self) -> Self {
        Self::Optional(Some(Rc::new(value)))
    }

    /// Returns the name of the type, as `type()` gives it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Items(..) | Self::List(_) => "list",
            Self::Fields(..) | Self::Map(_) => "map",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Optional(_) => "optional_type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Address(_) => "net.IP",
            Self::Network(..) => "net.CIDR",
            Self::Type(_) => "type",
        }
    }

    /// Returns the number of items of a list or map.
    pub(super) fn length(&self) -> Option<usize> {
        Some(match self {
            Self::Items(list, _) => list.len(),
            Self::List(list) => list.len(),
            Self::Fields(map, _) => map.len(),
            Self::Map(map) => map.len(),
            _ => return None,
        })
    }

    /// Returns an item of a list.
    pub(super) fn item(&self, index: usize) -> Option<Self> {
        match self {
            Self::Items(list, schema) => Some(Self::wrap(list.get(index)?, *schema)),
            Self::List(list) => list.get(index).cloned(),
            _ => None,
        }
    }

    /// Returns an entry of a map: key and value.
    pub(super) fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Fields(map, schema) => Some(
                map.iter()
                    .map(|(name, value)| {
                        let schema = schema.and_then(|schema| schema.field(name));
                        (Self::Text(RuleText::Given(name)), Self::wrap(value, schema))
                    })
                    .collect(),
            ),
            Self::Map(map) => Some(map.to_vec()),
            _ => None,
        }
    }

    /// Returns the value of a key.
    pub(super) fn at(&self, key: &Self) -> Option<Self> {
        match (self, key) {
            (Self::Fields(map, schema), Self::Text(name)) => {
                let schema = schema.and_then(|schema| schema.field(name));
                map.get(name.as_ref())
                    .map(|value| Self::wrap(value, schema))
            }
            (Self::Map(map), key) => {
                let found = map.iter().find(|(there, _)| there.equals(key));
                found.map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }

    /// Returns a field by the name that a rule uses for it.
    pub(super) fn select(&self, name: &str) -> Result<Option<Self>, RuleFault> {
        match self {
            Self::Fields(map, schema) => {
                let plain = match schema {
                    Some(schema) if !schema.properties.is_empty() && !map.contains_key(name) => {
                        unescaped(name)
                    }
                    _ => name.to_owned(),
                };
                let schema = schema.and_then(|schema| schema.field(&plain));
                Ok(map.get(&plain).map(|value| Self::wrap(value, schema)))
            }
            Self::Map(_) => Ok(self.at(&Self::text(name))),
            other => Err(RuleFault::Failed(format!(
                "{} has no field {name}",
                other.type_name()
            ))),
        }
    }

    /// Compares for equality, as `==` does. Numbers of different types can be equal.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Optional(one), Self::Optional(other)) => match (one, other) {
                (Some(one), Some(other)) => one.equals(other),
                (None, None) => true,
                _ => false,
            },
            (Self::Address(one), Self::Address(other)) => one == other,
            (Self::Network(one, length), Self::Network(other, same)) => {
                one == other && length == same
            }
            (Self::Type(one), Self::Type(other)) => one == other,
            (Self::Items(..) | Self::List(_), Self::Items(..) | Self::List(_)) => {
                self.length() == other.length()
                    && (0..self.length().unwrap_or_default()).all(|index| {
                        matches!((self.item(index), other.item(index)),
                            (Some(one), Some(other)) if one.equals(&other))
                    })
            }
            (Self::Fields(..) | Self::Map(_), Self::Fields(..) | Self::Map(_)) => {
                self.length() == other.length()
                    && self
                        .entries()
                        .unwrap_or_default()
                        .iter()
                        .all(|(key, value)| other.at(key).is_some_and(|other| value.equals(&other)))
            }
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// Compares values that have an order.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some((**one).cmp(&**other)),
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            (Self::Time(one), Self::Time(other)) | (Self::Duration(one), Self::Duration(other)) => {
                Some(one.cmp(other))
            }
            (Self::Quantity(one), Self::Quantity(other)) => Some(one.cmp(other)),
            _ => match (self.integer(), other.integer()) {
                (Some(one), Some(other)) => Some(one.cmp(&other)),
                _ => self.double()?.partial_cmp(&other.double()?),
            },
        }
    }

    fn integer(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(i128::from(*number)),
            Self::Uint(number) => Some(i128::from(*number)),
            _ => None,
        }
    }

    /// Returns a number of any type as a double.
    #[allow(clippy::cast_precision_loss)] // As comparisons between these types are defined.
    pub(super) fn double(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns how many steps it takes to read the whole value, at most `limit`.
    pub(super) fn weight(&self, limit: u64) -> u64 {
        match self {
            Self::Text(text) => 1 + text.len() as u64 / 10,
            Self::Bytes(bytes) => 1 + bytes.len() as u64 / 10,
            Self::Items(list, _) => {
                let mut left = limit;
                list.iter().for_each(|value| spend(value, &mut left));
                limit - left
            }
            Self::Fields(map, _) => {
                let mut left = limit;
                map.values().for_each(|value| spend(value, &mut left));
                limit - left
            }
            Self::List(list) => list.iter().fold(1, |sum, value| {
                if sum >= limit {
                    sum
                } else {
                    sum + value.weight(limit - sum)
                }
            }),
            Self::Map(map) => map.iter().fold(1, |sum, (key, value)| {
                if sum >= limit {
                    sum
                } else {
                    sum + key.weight(limit - sum) + value.weight(limit - sum)
                }
            }),
            _ => 1,
        }
    }
}

/// Subtracts the steps that it takes to read a value.
fn spend(value: &Value, left: &mut u64) {
    if *left == 0 {
        return;
    }
    let own = match value {
        Value::String(text) => 1 + text.len() as u64 / 10,
        _ => 1,
    };
    *left = left.saturating_sub(own);
    match value {
        Value::Array(list) => list.iter().for_each(|value| spend(value, left)),
        Value::Object(map) => map.values().for_each(|value| spend(value, left)),
        _ => {}
    }
}

/// Returns the property that a rule calls by an escaped name, such as `a__dash__b`.
fn unescaped(name: &str) -> String {
    const KEYWORDS: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    let inner = name
        .strip_prefix("__")
        .and_then(|name| name.strip_suffix("__"));
    if let Some(keyword) = inner.filter(|inner| KEYWORDS.contains(inner)) {
        return keyword.to_owned();
    }
    name.replace("__dot__", ".")
        .replace("__dash__", "-")
        .replace("__slash__", "/")
        .replace("__underscores__", "__")
}
