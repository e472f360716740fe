//! Storage, and nothing else.

use crate::change::{Ack, ChangeRecord, ChangeSet, Committed, FeedPosition, Modification};
use crate::entity::{Record, Want};
use crate::error::Result;
use crate::id::Key;
use crate::revision::Revision;
use crate::select::{Count, List, Page, Select, pages};
use crate::work::{Claim, ClaimRequest, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Keeps entities, their bodies, due work, claims, and the feed of changes.
///
/// Knows no merging, validation, plugin or rule: [`Store`](crate::Store) makes a
/// [`DataApi`](crate::Data) of it. What holds for every backend is said here and checked by
/// `tko-conformance`.
///
/// - Every call is atomic. Dropped at an await, it happened or did not.
/// - What a call has answered, every later call in any process sees; but a listing or count that
///   may be of [any revision](Want::allow_stale). Few backends have an older one: most ignore it.
/// - Time is the backend's: durations go in, deadlines come out.
/// - `Unavailable` and `Internal` may come from anywhere; other errors as listed.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What it is, for people: such as `memory`.
    fn name(&self) -> &str;

    /// In the order asked for, at one instant; what is being deleted included. At most
    /// [`MAX_CHANGES`](crate::MAX_CHANGES) keys.
    ///
    /// # Errors
    /// - `BadArgument`: too many keys.
    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>>;

    /// One page in key order, consistent in itself. Its cost is bounded whatever the selection: it
    /// may be short or empty and yet not be the last.
    async fn list(&self, list: &List) -> Result<Page>;

    /// All pages from this one on, at least one: each as [`list`](Self::list) gives it, and of
    /// its own instant. May read ahead, as far as does not grow with the selection. Ends after the
    /// last page or the first error; dropped, it stops reading. To be taken within a runtime.
    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        pages(list, move |list| {
            let backend = self.clone();
            async move { backend.list(&list).await }
        })
        .boxed()
    }

    /// How many match, exactly up to `bound`. Of `want` only
    /// [`allow_stale`](Want::allow_stale) counts.
    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count>;

    /// All of it or nothing.
    ///
    /// # Errors
    /// - `Conflict`: a requirement failed; names every failing key.
    /// - `NotFound`, `AlreadyExists`: only requirements that something exists, or is absent, failed.
    /// - `Busy`: a put or delete of a key that is under another's edit.
    /// - `Timeout`: `under` has lapsed, or is a lease that is not live any more.
    /// - `NotFound` (of the claim): `under` is an edit that was never made, used or given up.
    /// - `BadArgument`: too many changes, a key twice, progress over
    ///   [`MAX_PROGRESS`](crate::work::MAX_PROGRESS).
    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed>;

    /// Nobody else puts or deletes this key until the token is used, given up or late.
    ///
    /// # Errors
    /// - `NotFound`: no such entity, or being deleted.
    /// - `Busy`: under another's edit.
    async fn start_modification(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification>;

    /// Leases due work: lanes in turn, earliest first in a lane. Waits up to `wait` while nothing
    /// is due. A lapsed lease is due work. What three workers did not bring to an end is claimed
    /// alone.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>>;

    /// To `ttl` from now, each by itself. False: not live any more.
    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>>;

    /// Ends leases, or gives up edits, each by itself. False: was not live.
    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>>;

    /// Where the feed is, and the store's time.
    async fn feed_position(&self) -> Result<FeedPosition>;

    /// Every change after `after`, once, in order, with the previous state, without end. The first
    /// item may be `Expired`; after an error it ends. `want.package` includes bodies.
    ///
    /// For any number of readers: a backend reads its log once a process. A slow reader is held
    /// back or told `Expired`; it never misses a change.
    ///
    /// A revision that the store has not reached is `Expired` too: it stems from an earlier life of
    /// the store, such as before a restart of the memory backend or a restored backup.
    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>>;

    /// Changes of one entity before `before`, newest first, with bodies: at most `limit`, and as
    /// far back as history is kept.
    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>>;
}
