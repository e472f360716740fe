//! Interfaces for time and ids.
//!
//! `tko-core` reads no clock and makes no random numbers by itself. Expiry, backoff and order can
//! therefore be tested without sleeping, and whole runs can be repeated.

use crate::id::DeploymentId;
use crate::revision::Timestamp;
use futures_core::future::BoxFuture;
use std::time::Duration;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time, which never goes back.
    fn now(&self) -> Timestamp;

    /// Completes after this duration.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Completes at this time, or at once if it has passed.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        self.sleep(deadline.since(self.now()))
    }
}

/// A generator of deployment ids.
pub trait Ids: Send + Sync + 'static {
    /// Returns an id that was never returned before. See [`DeploymentId`] for the order of ids.
    fn next(&self) -> DeploymentId;
}
