//! Schemas and property definitions: the type of a value, and the rules for it.

use crate::constraint::ToscaConstraint;
use crate::document::TypeKey;
use crate::primitive::Primitive;
use crate::problem::SourcePosition;
use crate::yaml::YamlNode;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The type of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ToscaType {
    /// A type that TOSCA itself defines.
    Primitive(Primitive),
    /// A data type.
    Named(TypeKey),
}

/// The type of a value and the rules for it.
#[derive(Clone, Debug)]
pub(crate) struct ToscaSchema {
    /// The type.
    pub value_type: ToscaType,
    /// Rules for the value.
    pub constraints: Vec<ToscaConstraint>,
    /// The schema of a map's keys.
    pub keys: Option<Rc<ToscaSchema>>,
    /// The schema of the entries of a list or map.
    pub entries: Option<Rc<ToscaSchema>>,
}

/// A property that a type declares, with all that it inherits.
#[derive(Clone, Debug)]
pub(crate) struct PropertyDefinition {
    /// The position of its definition.
    pub at: SourcePosition,
    /// The document that defines it; names in its default are resolved there.
    pub document: usize,
    /// The schema of the property's values.
    pub schema: ToscaSchema,
    /// Whether the property must have a value.
    pub required: bool,
    /// The default value, which is used if none is assigned.
    pub default: Option<YamlNode>,
    /// Metadata; a refinement does not inherit it.
    pub metadata: BTreeMap<String, String>,
}

/// Property definitions by name.
pub(crate) type PropertyDefinitions = BTreeMap<Rc<str>, Rc<PropertyDefinition>>;
