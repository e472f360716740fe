//! The API: what people and programs do ([`DataApi`]), and what workers need ([`WorkerApi`]).
//!
//! Implemented by [`Store`](crate::Store) in process and by the gRPC client, so every controller,
//! frontend and test runs unchanged embedded or remote. Packages here are whole: a deployment's has
//! its Deployment resource in its place.

mod requests;
mod steps;

pub use requests::{
    About, Bulk, Event, Expect, MAX_SKIPPED, NewDeployment, NewPlugin, NewSite, NewTemplate, Watch,
};
pub use steps::{Effect, MAX_EFFECTS, PrepareStep, ScheduleStep};

use crate::caller::Caller;
use crate::change::{ChangeRecord, FeedPosition, Modification};
use crate::entity::{Record, Want};
use crate::error::Result;
use crate::id::{DeploymentId, Key};
use crate::package::Package;
use crate::revision::{Generation, Revision, Version};
use crate::select::{Count, List, Page, Select, pages};
use crate::work::{Claim, ClaimRequest, Enqueue, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// The operations of people and programs.
///
/// Besides the errors listed, every call may end in `Unavailable`, `Internal`, and, remotely,
/// `Unauthenticated` and `Forbidden`. Ids in errors and results are as given.
#[async_trait]
pub trait DataApi: Send + Sync + 'static {
    /// The same API on behalf of `caller`, whose name becomes part of the cause of every change.
    ///
    /// The caller replaces any earlier one. A remote API ignores it: there, the credentials of the
    /// connection decide who calls. A wrapper passes it on to the API that it wraps.
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi>;

    /// What serves the data, for people: such as `memory`.
    async fn about(&self) -> Result<About>;

    /// Makes or replaces a template. What was made from it earlier does not change.
    ///
    /// # Errors
    /// - `BadArgument`: the package is not even partially valid: every violation.
    /// - `AlreadyExists`, `NotFound`, `Conflict`: as `expect` says.
    /// - `Busy`: it is being deleted.
    async fn register_template(&self, new: NewTemplate) -> Result<Version>;

    /// Makes or replaces a site; its deployments stay.
    ///
    /// # Errors
    /// As [`register_template`](Self::register_template), validated completely once merged; also
    /// - `BadArgument`: no such template.
    async fn register_site(&self, new: NewSite) -> Result<Version>;

    /// Makes or replaces a plugin.
    ///
    /// # Errors
    /// - `BadArgument`: an empty executor, or a trigger without version or kind.
    async fn register_plugin(&self, new: NewPlugin) -> Result<Version>;

    /// Creates a deployment.
    ///
    /// # Errors
    /// - `BadArgument`: no such template, site or parent; not valid once merged (partially; if
    ///   prepared, completely); approved but not prepared.
    /// - `AlreadyExists`: the id that was brought is taken.
    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId>;

    /// Creates many, each atomic by itself; answers in order.
    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>>;

    /// One entity.
    ///
    /// # Errors
    /// - `NotFound`: not there, or being deleted and not `want.deleting`.
    async fn get(&self, key: &Key, want: Want) -> Result<Record>;

    /// One page in key order. See [`Page`].
    async fn list(&self, list: &List) -> Result<Page>;

    /// All pages from this one on, at least one; each of its own instant. May read ahead, as far
    /// as does not grow with the selection. Ends after the last page or the first error; dropped,
    /// it stops reading. To be taken within a runtime.
    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        pages(list, move |list| {
            let data = self.clone();
            async move { data.list(&list).await }
        })
        .boxed()
    }

    /// How many match, exactly up to `bound`. Of `want` only
    /// [`allow_stale`](Want::allow_stale) counts.
    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count>;

    /// Deletes one entity. Relations to it are cleared, at once for few, in the background for
    /// many; deployments are never deleted with it. What a scheduler has placed is hidden at once,
    /// and goes when its site reports it off.
    ///
    /// # Errors
    /// - `NotFound`.
    /// - `Busy`: a deployment under someone's modification.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Deletes all that match. What is under modification is skipped.
    async fn purge(&self, select: &Select) -> Result<Bulk>;

    /// Approves what is prepared, unapproved and matches. What is under modification is skipped.
    ///
    /// # Errors
    /// - `BadArgument`: the selection is not of deployments.
    async fn approve(&self, select: &Select) -> Result<Bulk>;

    /// Replaces a deployment's package, if it is as it was read.
    ///
    /// # Errors
    /// - `NotFound`; `Conflict`: it moved; `Busy`: under someone's modification.
    /// - `BadArgument`: as [`create_deployment`](Self::create_deployment).
    async fn update(&self, id: &DeploymentId, expect: Version, package: Package)
    -> Result<Version>;

    /// Claims a deployment's package for `ttl`.
    ///
    /// # Errors
    /// - `NotFound`; `Busy`: under someone's modification.
    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification>;

    /// Commits a modification. A refused package leaves the claim live.
    ///
    /// # Errors
    /// - `Timeout`: its time is over; nothing was written.
    /// - `NotFound`: the token is unknown, ended or cancelled.
    /// - `BadArgument`: as [`create_deployment`](Self::create_deployment).
    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version>;

    /// Gives up a modification.
    ///
    /// # Errors
    /// - `Timeout`, `NotFound`: as [`end_modification`](Self::end_modification).
    async fn cancel_modification(&self, token: &Token) -> Result<()>;

    /// Where the feed is.
    async fn feed_position(&self) -> Result<FeedPosition>;

    /// What changes, without end. Ends after an error: `Expired` (list again, watch from there),
    /// `BadArgument` (a selection that cannot be watched).
    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>>;

    /// Changes of one entity before `before`, newest first, with packages, at most `limit`.
    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>>;
}

/// What workers need. Apart from [`DataApi`]: other rights, and no frontend's business.
#[async_trait]
pub trait WorkerApi: DataApi {
    /// The same API on behalf of `caller`, as [`DataApi::with_caller`].
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi>;

    /// As [`Backend::claim`](crate::Backend::claim).
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>>;

    /// As [`Backend::renew`](crate::Backend::renew).
    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>>;

    /// As [`Backend::settle`](crate::Backend::settle).
    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>>;

    /// Makes work due; what is not there is left out.
    ///
    /// # Errors
    /// - `BadArgument`: more than [`MAX_CHANGES`](crate::MAX_CHANGES) marks.
    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()>;

    /// Commits a step of preparation with its effects, progress and conditions, and what becomes
    /// of the claim. Answers with the deployment's generation after it.
    ///
    /// # Errors
    /// - `Timeout`: lost the claim; stop.
    /// - `Conflict`: something moved; read again.
    /// - `Busy`: someone modifies it; yield.
    /// - `BadArgument`: not valid; say so in a condition.
    /// - `NotFound`: it is gone; stop.
    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation>;

    /// Commits a step of scheduling, in chunks if it is large; the claim is settled last. What is
    /// being deleted and is gone from its last site is removed.
    ///
    /// # Errors
    /// As [`commit_prepared`](Self::commit_prepared); also
    /// - `Conflict`: something that is said to be there is still placed on another site.
    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()>;
}
