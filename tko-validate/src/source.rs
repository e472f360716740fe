//! Sources of schemas.

mod built_in;
mod directory;
mod file_names;
mod known_groups;
mod native;
mod own_groups;
mod path_template;
#[cfg(feature = "remote")]
mod remote;
mod stated_kind;
mod template;

pub use built_in::BuiltIn;
pub use directory::Directory;
pub use path_template::PathTemplate;
#[cfg(feature = "remote")]
pub use remote::UrlTemplate;

pub(crate) use known_groups::unknown_kind;
pub(crate) use native::Native;
#[cfg(test)]
pub(crate) use own_groups::OWN_GROUPS;
pub(crate) use own_groups::{is_free, is_own_group};

use crate::schema::Schema;
use async_trait::async_trait;
use std::sync::Arc;
use tko_core::{Gvk, Result};

/// Provides the schemas of some kinds.
///
/// A source is queried for every resource that is validated. Repeated lookups must be fast and
/// return the same [`Schema`], because it holds the compiled form.
#[async_trait]
pub trait SchemaSource: Send + Sync + 'static {
    /// Finds the schema of a kind; `None` means that the next source is queried.
    ///
    /// # Errors
    /// - [`Unavailable`](tko_core::Error::Unavailable): the source cannot be reached now.
    /// - [`BadArgument`](tko_core::Error::BadArgument): the source has a schema that cannot be read.
    ///
    /// In both cases no later source is queried, and the resource is not admitted.
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>>;
}
