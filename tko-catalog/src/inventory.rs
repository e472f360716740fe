//! Inventories: sites from outside.
//!
//! | file | contents |
//! |---|---|
//! | `entry` | the properties of an inventory |
//! | `item` | a site as its source says it, and the trait of executors |
//! | `mapping` | expressions that make ids, templates, metadata and packages |
//! | `sync` | compares the items with the sites of the inventory; the guard against disappearance |
//! | `directory`, `git`, `ansible`, `kubernetes`, `netbox`, `command` | the executors |

mod ansible;
mod command;
mod directory;
pub(crate) mod entry;
mod git;
pub(crate) mod item;
mod kubernetes;
mod mapping;
mod netbox;
pub(crate) mod sync;

use crate::settings::CatalogSettings;
use entry::InventoryEntry;
use item::InventorySource;
use tko_core::{Error, Result};

/// The executors of inventories.
pub const INVENTORY_EXECUTORS: [&str; 6] = [
    "directory",
    "git",
    "ansible",
    "kubernetes",
    "netbox",
    "command",
];

/// Makes the source of an inventory.
///
/// # Errors
/// `BadArgument`: there is no such executor, or it cannot read this URL.
pub(crate) async fn source(
    entry: &InventoryEntry,
    settings: &CatalogSettings,
) -> Result<Box<dyn InventorySource>> {
    Ok(match entry.executor.as_str() {
        "directory" => Box::new(directory::DirectoryInventory::new(entry, settings)?),
        "git" => Box::new(git::GitInventory::new(entry, settings).await?),
        "ansible" => Box::new(ansible::AnsibleInventory::new(entry, settings)?),
        "kubernetes" => Box::new(kubernetes::KubernetesInventory::new(entry, settings).await?),
        "netbox" => Box::new(netbox::NetboxInventory::new(entry, settings).await?),
        "command" => Box::new(command::CommandInventory::new(entry, settings)?),
        other => return Err(unknown_executor(other)),
    })
}

/// Refuses an executor that [`source`] does not know.
///
/// # Errors
/// `BadArgument`: there is no such executor.
pub(crate) fn check_executor(name: &str) -> Result<()> {
    if INVENTORY_EXECUTORS.contains(&name) {
        return Ok(());
    }
    Err(unknown_executor(name))
}

fn unknown_executor(name: &str) -> Error {
    let why = format!(
        "unknown executor {name:?} of an inventory; expected {}",
        INVENTORY_EXECUTORS.join(", ")
    );
    Error::bad("executor", why)
}
