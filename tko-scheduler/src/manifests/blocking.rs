//! File access on threads for blocking calls.

use tko_core::{Error, Result};

/// Runs `work` on a thread for blocking calls.
///
/// Dropping the future does not stop the work. A write that ends late does no harm: its fence is
/// older than that of the next claim.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::internal("write manifests", error)),
    }
}
