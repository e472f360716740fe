//! Inventories: sites from outside.
//!
//! | file | contents |
//! |---|---|
//! | `entry` | the properties of an inventory |
//! | `item` | a site as its source says it, and the trait of executors |
//! | `mapping` | expressions that make ids, templates, metadata and packages |
//! | `sync` | compares the items with the sites of the inventory |
//! | `adopt` | adopts the sites of inventories that no longer exist |
//! | `guard` | the guard against a disappearance of many sites, or of their metadata |
//! | `directory`, `git`, `ansible`, `kubernetes`, `netbox`, `command` | the executors |

mod adopt;
mod ansible;
mod command;
mod directory;
pub(crate) mod entry;
mod git;
mod guard;
pub(crate) mod item;
mod kubernetes;
mod mapping;
mod netbox;
pub(crate) mod sync;

use crate::executor::unknown_executor;
use crate::settings::CatalogSettings;
use entry::InventoryEntry;
use item::InventorySource;
use tko_core::Result;

/// The names of the executors that can read an inventory.
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
        other => {
            let known = &INVENTORY_EXECUTORS;
            return Err(unknown_executor(other, "an inventory", known));
        }
    })
}
