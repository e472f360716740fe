//! The storage interface that a backend implements.

use crate::change::{Ack, ChangeRecord, ChangeSet, Committed, FeedPosition, Modification};
use crate::entity::{Record, Want};
use crate::error::Result;
use crate::hash::ContentHash;
use crate::id::Key;
use crate::revision::Revision;
use crate::select::{Count, List, Page, Select, pages};
use crate::shared_value::SharedLimits;
use crate::work::{Claim, ClaimRequest, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Storage of entities, their bodies, queued work, claims, and the feed of changes.
///
/// A backend merges nothing, validates nothing, and runs no plugin. [`Store`](crate::Store) adds
/// the rules of the model and turns it into a [`DataApi`](crate::DataApi). This trait states the
/// contract of every backend; the crate `tko-conformance` checks it. The module
/// [`commit`](crate::commit) has the rules that every backend would otherwise have to implement
/// itself.
///
/// - Every call is atomic. A call that is dropped while it is awaited takes effect completely, or
///   not at all.
/// - Once a call has returned, every later call in any process sees its effect. The only exception
///   is a listing or count that allows a [stale read](Want::allow_stale).
/// - Time is the backend's. Callers pass durations and get deadlines back. A lease or modification
///   is live *before* its deadline, and expired from the deadline on.
/// - Any call may fail with `Unavailable` or `Internal`; other errors are listed with each method.
///
/// # Tokens
///
/// A backend does not remember tokens that have ended. So it distinguishes two kinds of tokens by
/// the form of the secret, which it makes itself.
///
/// - A token of a *modification* is unknown (`NotFound`) if it was never issued, was used, or was
///   cancelled. It is expired (`ClaimExpired`) if its time passed.
/// - A token of a *lease* that is not live is always expired, whether or not it was ever issued.
/// - A token of any other form is unknown.
///
/// # Queued work
///
/// Each stage has at most one piece of work for each key.
///
/// - Enqueuing work for a key that does not exist does nothing.
/// - Deleting an entity deletes its work in all stages; a lease of that work is then not live.
/// - Work waits in a lane, in the order of its due time, then of its key. Work whose lease expired
///   waits in the order of the time at which the lease expired.
/// - Claims rotate over the lanes of their stage; the rotation of one stage does not affect
///   another.
/// - Work is *suspect* if its last lease expired and it has at least
///   [`Lane::PATIENCE`](crate::Lane::PATIENCE) attempts. Suspect work is claimed alone: the call
///   that claims it returns no other work. Attempts that ended with
///   [`Outcome::Yield`](Outcome::Yield) do not count.
/// - Enqueuing claimed work changes nothing for its claim. It makes the work due again as soon as
///   the claim ends, whatever delay was requested. After [`Outcome::Done`] the work is new: no
///   attempts, no error, no progress, and the lane of the last enqueue during the claim.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The name of the backend, for people, such as `memory`.
    fn name(&self) -> &str;

    /// Reads entities, in the order of `keys`, at one instant. Includes entities that are being
    /// deleted.
    ///
    /// # Errors
    /// - `BadArgument`: more than [`MAX_CHANGES`](crate::MAX_CHANGES) keys.
    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>>;

    /// Reads one page of a listing: records in key order, all of one instant.
    ///
    /// The cost of a page is bounded whatever the selection. A page may therefore be short or even
    /// empty without being the last; see [`Page::next`].
    ///
    /// A page contains every change up to its revision: read the revision *before* the rows, or in
    /// the same snapshot. A later revision would lose changes between listing and watching.
    async fn list(&self, list: &List) -> Result<Page>;

    /// Streams all pages of a listing from this one on, at least one. Each is as
    /// [`list`](Self::list) returns it, and shows the state at its own instant.
    ///
    /// The stream may read a bounded number of pages ahead. It ends after the last page or the
    /// first error, and stops reading when it is dropped. Call it within a runtime.
    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        pages(list, move |list| {
            let backend = self.clone();
            async move { backend.list(&list).await }
        })
        .boxed()
    }

    /// Counts the matching entities, exactly up to `bound`.
    ///
    /// Only [`allow_stale`](Want::allow_stale) of `want` has an effect.
    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count>;

    /// Commits a change set: either every change is applied, or none is.
    ///
    /// Preconditions are checked against the current state in the same transaction. The parts of
    /// the set take effect in this order: the changes, the enqueued work, the progress, and last
    /// the end of the claim. Enqueuing the leased key in the same set therefore makes it due again
    /// after [`Outcome::Done`].
    ///
    /// - Without `under`, `progress` and `settle` have no effect.
    /// - Under a modification, `progress` has no effect, and the modification ends as
    ///   [`Outcome::Done`] whatever `settle` says.
    /// - A deployment holds its idempotency key until its row is deleted, also while it is being
    ///   deleted. The deletion of the holder earlier in the same set frees the key.
    ///
    /// # Errors
    /// - `Conflict`: a precondition failed; names the key of every failed precondition.
    /// - `NotFound`, `AlreadyExists`: preconditions failed, and all of them because an entity does
    ///   not exist, or all because one does.
    /// - `Busy`: a put or delete of a key that is under another modification, unless the put is
    ///   [allowed beside it](crate::Put::beside_modification).
    /// - `ClaimExpired`: `under` has expired.
    /// - `NotFound` (of a claim): `under` is unknown.
    /// - `BadArgument`: more than [`MAX_CHANGES`](crate::MAX_CHANGES) changes, two changes of one
    ///   key, or progress of more than [`MAX_PROGRESS`](crate::work::MAX_PROGRESS) bytes.
    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed>;

    /// Starts a modification for `ttl`. Until it ends or expires, only a commit under its token can
    /// put or delete this key. Conditions can still be written, and puts that are
    /// [allowed beside it](crate::Put::beside_modification).
    ///
    /// # Errors
    /// - `NotFound`: the entity does not exist, or is being deleted.
    /// - `Busy`: the entity is under another modification.
    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification>;

    /// Leases due work, at most `max` pieces: lanes in turn, and within a lane the earliest first.
    ///
    /// If nothing is due, the call waits up to `wait` and then returns an empty list. Work whose
    /// lease has expired is due. See [Queued work](Self#queued-work) for the order.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>>;

    /// Extends leases and modifications to `ttl` from now, each independently. A shorter `ttl`
    /// brings the deadline forward.
    ///
    /// Returns, for each token, whether it was live; an unknown or expired one is not extended. A
    /// token that is named twice has the same answer twice.
    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>>;

    /// Ends leases and cancels modifications, each independently.
    ///
    /// Returns, for each token, whether it was live; an unknown or expired one changes nothing.
    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>>;

    /// Returns the extent of the feed, and the store's time.
    async fn feed_position(&self) -> Result<FeedPosition>;

    /// Streams every change after `after`, once, in order of revision, without end.
    ///
    /// Each record has the states before and after the change. Both carry their
    /// [`revision`](Record::revision), and their package if `want.package`; they carry no work.
    ///
    /// Any number of readers may follow the feed: a backend reads its log once for each process. A
    /// slow reader is delayed or gets `Expired`; it never misses a change. The stream ends after an
    /// error.
    ///
    /// # Errors
    /// - `Expired`: the feed does not continue from `after`. Either the changes after it are no
    ///   longer kept, or `after` is a revision that this store has not reached. It then comes from
    ///   an earlier state, such as before the restart of a store in memory or before a backup was
    ///   restored. Waiting for it would silently skip every change up to it.
    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>>;

    /// Returns the changes of one entity before revision `before`, newest first, at most `limit`,
    /// as far back as history is kept. The records are those of [`tail`](Self::tail), with
    /// packages.
    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>>;

    /// Shares a value with other processes, in place of an earlier one with this key.
    ///
    /// A shared value saves work, and nothing may depend on it: the backend can forget it at any
    /// time, as the default does at once. It is not an entity: it makes no revision, and is not
    /// part of backups. After the call, the remaining values are within `limits`; those that were
    /// shared earliest are forgotten first. A value that `limits` [do not
    /// admit](SharedLimits::admit) is not shared, which is not an error.
    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        let _ = (key, value, limits);
        Ok(())
    }

    /// Reads the value that was last [shared](Self::put_shared) under this key, if that was less
    /// than `age` ago. `None`: there is none, or the backend has forgotten it.
    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        let _ = (key, age);
        Ok(None)
    }
}
