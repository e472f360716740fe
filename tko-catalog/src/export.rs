//! Exports templates and sites to files, and imports them: for backups, reviews and GitOps.
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
//! The same content gives the same bytes. Catalogs with the property `descriptors` read the folder
//! `templates`, and inventories the folder `sites`.

pub(crate) mod layout;
pub(crate) mod read;
mod write;

pub use read::{ImportReport, import};
pub use write::{ExportReport, export};
