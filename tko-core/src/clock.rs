//! Time, ids and chance are arguments: `tko-core` reads no clock, so expiry, backoff and order are
//! tested without sleeping, and whole runs can be replayed.

use crate::id::DeploymentId;
use crate::revision::Timestamp;
use futures_core::future::BoxFuture;
use std::time::Duration;

/// Time, and waiting for it.
pub trait Clock: Send + Sync + 'static {
    /// Now. Does not go back.
    fn now(&self) -> Timestamp;

    /// Ends when this much time has passed.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// Makes ids of deployments.
pub trait Ids: Send + Sync + 'static {
    /// One that was never given before. Ids of one maker rise, as far as the store orders by
    /// creation; see [`DeploymentId`].
    fn next(&self) -> DeploymentId;
}
