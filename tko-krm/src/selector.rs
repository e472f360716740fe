//! Selections by labels and fields.
//!
//! The part that [`Select`] can express narrows what is read; every object is then checked against
//! the whole selection.

mod fields;
mod labels;

use crate::failure::KrmAnswer;
use crate::query::Query;
use fields::FieldSelector;
use labels::LabelSelector;
use tko_core::{Kind, Record, Select};

/// A selection of the objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectSelector {
    kind: Kind,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl ObjectSelector {
    /// Reads `labelSelector` and `fieldSelector`.
    pub(crate) fn of(kind: Kind, query: &Query) -> KrmAnswer<Self> {
        Ok(Self {
            kind,
            labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(kind, query.get("fieldSelector").unwrap_or_default())?,
        })
    }

    /// The same selection, of only the object with this name.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.fields.require_name(name);
        self
    }

    /// The kind of the objects.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// A selection of TKO that has at least the objects of this one; `None` if no object can match.
    pub(crate) fn to_select(&self) -> Option<Select> {
        let select = Select::all(self.kind).deleting(true);
        let select = self.fields.narrow(self.kind, select)?;
        Some(self.labels.narrow(select))
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, record: &Record) -> bool {
        record.entity.key.kind() == self.kind
            && self.fields.matches(record)
            && self.labels.matches(record)
    }

    /// Whether an object can enter or leave the selection while it exists.
    pub(crate) fn can_change(&self) -> bool {
        !self.labels.is_empty() || self.fields.can_change()
    }
}
