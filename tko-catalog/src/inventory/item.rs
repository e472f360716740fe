//! A site as its source describes it, and the trait of executors.

use super::entry::InventoryEntry;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;
use tko_core::{Package, Result};

/// A site as its source describes it, before the mapping.
#[derive(Clone, Debug, Default)]
pub(crate) struct InventoryItem {
    /// The name in the source, for people.
    pub(crate) name: String,
    /// The variables that expressions can use: the fields of this map, and `name`.
    pub(crate) value: Value,
    /// Metadata of the site, unless the mapping overrides them.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The template, unless the mapping overrides it.
    pub(crate) template: Option<String>,
    /// The package, into which that of the mapping is merged.
    pub(crate) package: Package,
    /// The problem with the item, if any. Its site then stays unchanged, and does not count as
    /// vanished.
    pub(crate) fault: Option<String>,
}

/// Everything that a source lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct InventoryListing {
    pub(crate) revision: String,
    pub(crate) items: Vec<InventoryItem>,
    pub(crate) problems: Vec<SyncProblem>,
    /// Whether the source has a site whose id is not known. It may be any, so none counts as
    /// vanished.
    pub(crate) has_unknown_ids: bool,
}

impl InventoryListing {
    /// Reports a site whose id is not known.
    pub(super) fn add_unknown(&mut self, problem: SyncProblem) {
        self.problems.push(problem);
        self.has_unknown_ids = true;
    }
}

/// The source of one inventory.
#[async_trait]
pub(crate) trait InventorySource: Send {
    /// Lists all sites. An incomplete list is an error, never a result.
    ///
    /// # Errors
    /// The source cannot be read as a whole.
    async fn list(
        &mut self,
        entry: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing>;
}

/// A scalar as a metadata value; `None` for null, lists and maps.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
