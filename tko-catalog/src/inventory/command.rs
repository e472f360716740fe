//! Inventories that a program prints: JSON or YAML, a map for each site.

use super::entry::InventoryEntry;
use super::item::{InventoryItem, InventoryListing, InventorySource, scalar};
use crate::program::inventory_output;
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use serde_json::Value;
use tko_core::{Dialect, Error, Format, Limits, Package, Result};
use tko_plugin::environment;
use tko_plugin::process::Program;

/// Maximum number of bytes that the program prints. Any YAML may follow, and a sync needs several
/// times as much memory.
const MAX_OUTPUT: usize = 64 << 20;

/// A program that prints sites.
pub(super) struct CommandInventory {
    program: Program,
}

impl CommandInventory {
    pub(super) fn new(entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Self> {
        if !settings.local {
            return Err(Error::bad(
                "executor",
                "this controller runs no programs, because its plugins are restricted",
            ));
        }
        let Some((path, arguments)) = entry.arguments.split_first() else {
            let why = "the inventory names no program; add it after --";
            return Err(Error::bad("arguments", why));
        };
        Ok(Self {
            program: Program {
                path: path.clone(),
                arguments: arguments.to_vec(),
            },
        })
    }
}

#[async_trait]
impl InventorySource for CommandInventory {
    async fn list(
        &mut self,
        entry: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        let program = &self.program;
        let command = environment::command(program, None, &[]);
        let most = settings.max_listing_bytes.min(MAX_OUTPUT);
        let out = inventory_output(&entry.name, program, command, most, settings).await?;
        let limits = Limits::new().bytes(most).documents(settings.max_sites);
        let values = tko_core::encoding::decode(&out, Format::Yaml, Dialect::Programs, &limits)
            .map_err(|error| {
                let what = format!("run {}", program.path);
                Error::bad(what, format!("cannot read its output: {error}"))
            })?;
        drop(out);
        let mut listing = InventoryListing::default();
        for value in values {
            let name = ["name", "id"]
                .iter()
                .find_map(|key| scalar(value.get(key)?));
            let Some(name) = name else {
                listing
                    .problems
                    .push(SyncProblem::new("a site", "it has neither name nor id"));
                continue;
            };
            listing.items.push(item(name, value));
        }
        Ok(listing)
    }
}

fn item(name: String, value: Value) -> InventoryItem {
    let metadata = value.get("metadata").and_then(Value::as_object);
    let metadata = metadata.into_iter().flatten();
    let package = match value.get("package").and_then(Value::as_array) {
        Some(resources) => Package::from_values(resources.iter().cloned()),
        None => Ok(Package::default()),
    };
    let (package, fault) = match package {
        Ok(package) => (package, None),
        Err(error) => (Package::default(), Some(error.chain().clone())),
    };
    InventoryItem {
        name,
        metadata: metadata
            .filter_map(|(key, value)| Some((key.clone(), scalar(value)?)))
            .collect(),
        template: value
            .get("template")
            .and_then(Value::as_str)
            .map(str::to_owned),
        package,
        fault,
        value,
    }
}
