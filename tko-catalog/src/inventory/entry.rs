//! The properties of an inventory.

use super::mapping::Mapping;
use crate::catalog::entry::check_names;
use crate::properties::Properties;
use crate::settings::CatalogSettings;
use std::collections::BTreeMap;
use std::time::Duration;
use tko_core::{Entity, Error, Key, PluginType, Result};

/// The names of all properties of inventories.
const NAMES: [&str; 20] = [
    "url",
    "interval",
    "id",
    "template",
    "where",
    "package",
    "metadata.",
    "limit",
    "grace",
    "user",
    "token",
    "secret",
    "ca",
    "query",
    "selector",
    "program",
    "branch",
    "root",
    "key",
    "hosts",
];

/// The time after which a vanished site is removed, unless `grace` is set.
const GRACE: Duration = Duration::from_hours(24);

/// The percentage of sites that may vanish, unless `limit` is set.
const LIMIT: f64 = 10.0;

/// An inventory as it is registered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InventoryEntry {
    pub(crate) name: String,
    pub(crate) executor: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) interval: Duration,
    /// How long a vanished site is kept, marked as gone.
    pub(crate) grace: Duration,
    /// The percentage of sites that may vanish without a person's approval.
    pub(crate) limit: f64,
    pub(crate) mapping: Mapping,
    pub(crate) properties: BTreeMap<String, String>,
}

impl InventoryEntry {
    /// Reads the properties of a plugin.
    ///
    /// # Errors
    /// `BadArgument`: a property is missing, unknown or not valid.
    pub(crate) fn read(entity: &Entity, settings: &CatalogSettings) -> Result<Self> {
        let (Some(plugin), Key::Plugin(id)) = (entity.plugin(), &entity.key) else {
            let message = format!("{} is not a plugin", entity.key);
            return Err(Error::bad("inventory", message));
        };
        if id.plugin_type() != PluginType::Inventory {
            return Err(Error::bad("inventory", format!("{id} is not an inventory")));
        }
        let properties = Properties(&plugin.properties);
        check_names(properties, &NAMES)?;
        let interval = properties.time("interval", settings.interval)?;
        let default_id = match plugin.executor.as_str() {
            "kubernetes" => "{{ metadata.namespace }}/{{ metadata.name }}",
            _ => "{{ name }}",
        };
        Ok(Self {
            name: id.name().to_owned(),
            executor: plugin.executor.clone(),
            arguments: plugin.arguments.clone(),
            interval: interval.max(settings.min_interval),
            grace: properties.time("grace", GRACE)?,
            limit: properties.number("limit", LIMIT, 0.0, 100.0)?,
            mapping: Mapping::read(properties, default_id)?,
            properties: plugin.properties.clone(),
        })
    }

    pub(crate) fn properties(&self) -> Properties<'_> {
        Properties(&self.properties)
    }
}
