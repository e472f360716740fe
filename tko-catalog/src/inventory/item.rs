//! A site as its source describes it, and the trait of executors.

use super::entry::InventoryEntry;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;
use tko_core::{Error, Package, Result};

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

impl InventoryItem {
    /// Reads the template and the metadata from the fields of the item. A field of another type is a
    /// fault: a site must not lose what it has. `as_text` is `None` for a value that metadata
    /// cannot have.
    pub(super) fn read_fields(&mut self, as_text: fn(&Value) -> Option<String>) {
        match text_field(&self.value, "template") {
            Ok(template) => self.template = template,
            Err(error) => self.add_fault(&error),
        }
        match metadata_field(&self.value, as_text) {
            Ok(metadata) => self.metadata = metadata,
            Err(error) => self.add_fault(&error),
        }
    }

    /// Records a problem with the item, unless it has one.
    pub(super) fn add_fault(&mut self, error: &Error) {
        self.fault.get_or_insert_with(|| error.chain());
    }
}

/// A field that is text; `None` if it is absent or null.
///
/// # Errors
/// `BadArgument`: it has another type.
pub(super) fn text_field(value: &Value, key: &'static str) -> Result<Option<String>> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::bad(key, "it is not text")),
    }
}

/// The metadata of an item. A value that is null counts as absent.
///
/// # Errors
/// `BadArgument`: they are not a map, or `as_text` refuses a value.
fn metadata_field(
    value: &Value,
    as_text: fn(&Value) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    let pairs = match value.get("metadata") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(pairs)) => pairs,
        Some(_) => return Err(Error::bad("metadata", "they are not a map")),
    };
    let pairs = pairs.iter().filter(|(_, value)| !value.is_null());
    pairs
        .map(|(key, value)| match as_text(value) {
            Some(text) => Ok((key.clone(), text)),
            None => Err(Error::bad(
                "metadata",
                format!("the value of {key:?} is not text"),
            )),
        })
        .collect()
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
    /// Reads the secrets of the entry and their lists of hosts again. Each sync of a known source
    /// begins with this. What was read from the source stays.
    ///
    /// # Errors
    /// `BadArgument`: a secret cannot be read, or is not for the host. The sync must not go on.
    async fn renew_secrets(&mut self, _: &InventoryEntry, _: &CatalogSettings) -> Result<()> {
        Ok(())
    }

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
