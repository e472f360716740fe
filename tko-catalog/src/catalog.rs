//! Catalogs: templates from outside.
//!
//! | file | contents |
//! |---|---|
//! | `entry` | the properties of a catalog |
//! | `layout` | which folders are packages, and which template id each has |
//! | `offer` | what a source offers, and the trait of executors |
//! | `sync` | compares the offers with what is registered, and registers the difference |
//! | `directory`, `git`, `http`, `oci` | the executors |

pub(crate) mod directory;
pub(crate) mod entry;
mod git;
mod http;
pub(crate) mod layout;
mod oci;
pub(crate) mod offer;
pub(crate) mod sync;

use crate::settings::CatalogSettings;
use entry::CatalogEntry;
pub use oci::oci_file;
use offer::CatalogSource;
use tko_core::{Error, Result};

/// The executors of catalogs.
pub const CATALOG_EXECUTORS: [&str; 4] = ["directory", "git", "http", "oci"];

/// Makes the source of a catalog.
///
/// # Errors
/// `BadArgument`: there is no such executor, or it cannot read this URL.
pub(crate) async fn source(
    entry: &CatalogEntry,
    settings: &CatalogSettings,
) -> Result<Box<dyn CatalogSource>> {
    Ok(match entry.executor.as_str() {
        "directory" => Box::new(directory::DirectoryCatalog::new(entry, settings)?),
        "git" => Box::new(git::GitCatalog::new(entry, settings).await?),
        "http" => Box::new(http::HttpCatalog::new(entry, settings).await?),
        "oci" => Box::new(oci::OciCatalog::new(entry, settings).await?),
        other => {
            let why = format!(
                "unknown executor {other:?} of a catalog; expected {}",
                CATALOG_EXECUTORS.join(", ")
            );
            return Err(Error::bad("executor", why));
        }
    })
}
