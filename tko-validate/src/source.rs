//! Where schemas come from.

mod built_in;
mod directory;
mod file_names;
mod native;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod template;

pub use built_in::BuiltIn;
pub use directory::Directory;
#[cfg(feature = "remote")]
pub use remote::UrlTemplate;

pub(crate) use native::{Native, is_free};

use crate::schema::Schema;
use async_trait::async_trait;
use std::sync::Arc;
use tko_core::{Gvk, Result};

/// Gives the schemas of some kinds.
///
/// Asked for every resource that is validated, so what was found once must be found again fast,
/// and be the same [`Schema`]: that is where what was compiled is kept.
#[async_trait]
pub trait SchemaSource: Send + Sync + 'static {
    /// The schema of a kind; `None`: this source has none, ask the next one.
    ///
    /// # Errors
    /// [`Unavailable`](tko_core::Error::Unavailable): it cannot be told now, because the source is
    /// down. [`BadArgument`](tko_core::Error::BadArgument): it has one, which cannot be read.
    /// Either way no later source is asked, and the resource does not pass.
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>>;
}
