//! Exports of templates and sites as files, and back: for backups, reviews and GitOps.
//!
//! ```text
//! tko-export.json                  the version of the layout
//! templates/nf/upf@v1/             template nf/upf:v1
//!   template.json                  id and given metadata
//!   package.yaml                   the package
//! sites/india/south-100/
//!   site.json                      id, template and given metadata
//!   package.yaml
//! ```
//!
//! The same content gives the same bytes. A folder of templates is a catalog, and one of sites an
//! inventory, of the executor `directory`.

mod layout;
mod read;
mod write;

pub use read::{ImportReport, import};
pub use write::{ExportReport, export};
