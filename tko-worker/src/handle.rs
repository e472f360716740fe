//! The work of a controller.

use async_trait::async_trait;
use tko_core::{Claim, Outcome, Record, Result, Want};

/// Performs claimed work. A [`Worker`](crate::Worker) calls it once for every claim.
///
/// # Guarantees
///
/// - While a call runs, its lease is renewed, and no other worker has a claim of the same key and
///   stage.
/// - If the lease is lost, or the grace period of a shutdown ends, the call's future is dropped at
///   its next `await`. Changes that must be atomic therefore belong in one commit under the claim's
///   token.
/// - A panic is caught. It counts as a failed attempt.
///
/// # Assumptions
///
/// Work can be repeated: a claim whose worker died is claimed again, with everything that was
/// committed so far.
#[async_trait]
pub trait Handle: Send + Sync + 'static {
    /// Works on one claim, and returns how the claim ends. `None` means that it has ended already,
    /// with a commit that settled it.
    ///
    /// # Errors
    ///
    /// Every error is allowed; its kind decides how the claim ends:
    ///
    /// - [`ClaimExpired`](tko_core::Error::ClaimExpired), and
    ///   [`NotFound`](tko_core::Error::NotFound) of the claim: the claim is lost; nothing is
    ///   settled.
    /// - [`NotFound`](tko_core::Error::NotFound) of the claim's own entity: the work is done.
    /// - [`Busy`](tko_core::Error::Busy): retried after a backoff of at most 15 s. The reason names
    ///   the busy entity; see [`busy_outcome`](crate::busy_outcome).
    /// - any other, such as [`Conflict`](tko_core::Error::Conflict): retried after a backoff, at
    ///   first within a second, and shown as the reason for the retry.
    async fn handle(&self, claim: &Claim) -> Result<Option<Outcome>>;

    /// The parts of the entity that [`handle_record`](Self::handle_record) needs. `None`, the
    /// default: none.
    fn want(&self) -> Option<Want> {
        None
    }

    /// Works on one claim like [`handle`](Self::handle), with the entity as it was read after the
    /// claim. `None`: it was not read, or does not exist.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    async fn handle_record(
        &self,
        claim: &Claim,
        record: Option<Record>,
    ) -> Result<Option<Outcome>> {
        drop(record);
        self.handle(claim).await
    }
}
