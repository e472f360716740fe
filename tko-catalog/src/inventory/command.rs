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
            match name_of(&value) {
                Ok(name) => listing.items.push(item(name, value)),
                Err(error) => listing.add_unknown(SyncProblem::of("a site", &error)),
            }
        }
        Ok(listing)
    }
}

/// The name of a site: its `name`, or else its `id`.
///
/// # Errors
/// `BadArgument`: it has neither, or a list or a map in place of it.
fn name_of(value: &Value) -> Result<String> {
    let field = |key: &str| value.get(key).filter(|field| !field.is_null());
    let Some(name) = field("name").or_else(|| field("id")) else {
        return Err(Error::bad("name", "it has neither name nor id"));
    };
    scalar(name).ok_or_else(|| Error::bad("name", "it is not text"))
}

fn item(name: String, value: Value) -> InventoryItem {
    let mut item = InventoryItem {
        name,
        value,
        ..InventoryItem::default()
    };
    item.read_fields(scalar);
    let package = match item.value.get("package") {
        None | Some(Value::Null) => Ok(Package::default()),
        Some(Value::Array(resources)) => Package::from_values(resources.iter().cloned()),
        Some(_) => Err(Error::bad("package", "it is not a list of resources")),
    };
    match package {
        Ok(package) => item.package = package,
        Err(error) => item.add_fault(&error),
    }
    item
}
