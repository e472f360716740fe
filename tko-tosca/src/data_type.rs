//! Data types: types of values that files define.

use crate::constraint::ToscaConstraint;
use crate::document::TypeKey;
use crate::primitive::Primitive;
use crate::schema::{PropertyDefinitions, ToscaSchema};
use std::rc::Rc;

/// A data type with all that it inherits: a primitive with rules, or fields.
#[derive(Debug)]
pub(crate) struct DataType {
    /// The name with the namespace of its file.
    pub name: String,
    /// The type itself and the data types that it is derived from, nearest first.
    pub lineage: Vec<TypeKey>,
    /// The primitive that it is derived from; `None` if its values are maps of fields.
    pub primitive: Option<Primitive>,
    /// The fields of its values.
    pub fields: PropertyDefinitions,
    /// Rules for its values.
    pub constraints: Vec<ToscaConstraint>,
    /// The schema of a map's keys.
    pub keys: Option<Rc<ToscaSchema>>,
    /// The schema of the entries of a list or map.
    pub entries: Option<Rc<ToscaSchema>>,
}
