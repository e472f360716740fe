//! The API of the data service: [`DataApi`] for people and programs, [`WorkerApi`] for workers.
//!
//! [`Store`](crate::Store) implements both within the process, and the gRPC client implements both
//! remotely, so controllers, frontends and tests run unchanged against either. Packages are whole
//! here: a deployment's package contains its Deployment resource.

mod approval;
mod comparison;
mod delegate;
mod guard;
mod guarded;
mod requests;
mod steps;

pub use approval::approve_one;
pub use comparison::{DeploymentComparison, EarlierState, compare_deployment};
pub use guard::{ApiCall, CallKind, Guard};
pub use guarded::Guarded;
pub use requests::{
    About, Bulk, EntityUpdate, Event, Expect, MAX_SKIPPED, NewDeployment, NewPlugin, NewSite,
    NewTemplate, PackageUpdate, Watch,
};
pub use steps::{Effect, MAX_EFFECTS, PrepareStep, ScheduleStep};

use crate::caller::Caller;
use crate::change::{ChangeRecord, FeedPosition, Modification};
use crate::entity::{Condition, Record, Want};
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key};
use crate::package::Package;
use crate::revision::{Generation, Revision, Version};
use crate::select::{Count, List, Page, Select, pages};
use crate::shared_value::SharedLimits;
use crate::work::{Claim, ClaimRequest, Enqueue, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// The operations of people and programs.
///
/// Every call may also fail with `Unavailable` or `Internal`, and remotely with `Unauthenticated`
/// or `Forbidden`; other errors are listed with each method.
///
/// ```
/// use std::sync::Arc;
/// use tko_core::{DataApi, Key, Kind, List, Result, Select, Want};
///
/// /// Reads the keys of all sites, page by page.
/// async fn sites(data: Arc<dyn DataApi>) -> Result<Vec<Key>> {
///     let mut list = List::new(Select::all(Kind::Site));
///     let mut keys = Vec::new();
///     loop {
///         let page = data.list(&list).await?;
///         keys.extend(page.items.iter().map(|site| site.entity.key.clone()));
///         if page.next.is_none() {
///             return Ok(keys);
///         }
///         list.after = page.next;
///     }
/// }
/// ```
#[async_trait]
pub trait DataApi: Send + Sync + 'static {
    /// The same API on behalf of `caller`, whose name becomes part of the
    /// [cause](crate::Cause) of every change.
    ///
    /// The caller replaces any earlier one. A remote API ignores it: there, the credentials of the
    /// connection decide who calls. A wrapper passes it on to the API that it wraps.
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi>;

    /// The same API in a dry run: writes are checked completely but not performed. `None`: this API
    /// does not support dry runs.
    ///
    /// A dry run returns the version before the write, or 0 for a new entity. Deletions, purges,
    /// approvals and modifications are not part of it.
    fn dry_run(self: Arc<Self>) -> Option<Arc<dyn DataApi>> {
        None
    }

    /// Describes the data service.
    async fn about(&self) -> Result<About>;

    /// Creates or replaces a template. Deployments and sites that were made from it earlier do not
    /// change.
    ///
    /// # Errors
    /// - `BadArgument`: the package is not even partially valid; lists every violation.
    /// - `AlreadyExists`, `NotFound`, `Conflict`: the template is not as `expect` requires.
    /// - `Busy`: the template is being deleted.
    async fn register_template(&self, new: NewTemplate) -> Result<Version>;

    /// Creates or replaces a site. Its deployments stay assigned to it.
    ///
    /// # Errors
    /// - `BadArgument`: the template does not exist, or the merged package is not completely valid;
    ///   lists every violation.
    /// - `AlreadyExists`, `NotFound`, `Conflict`: the site is not as `expect` requires.
    /// - `Busy`: the site is being deleted.
    async fn register_site(&self, new: NewSite) -> Result<Version>;

    /// Creates or replaces a plugin.
    ///
    /// # Errors
    /// - `BadArgument`: the executor is empty, or a trigger lacks a version or kind.
    /// - `Busy`: the plugin is being deleted.
    async fn register_plugin(&self, new: NewPlugin) -> Result<Version>;

    /// Creates a deployment and returns its id.
    ///
    /// If a deployment with the same idempotency key exists, also one that is being deleted, it
    /// creates nothing and returns that one's id.
    ///
    /// A deployment that is created as prepared is approved if its package says `approve: Auto`.
    /// With another policy it waits for a person, unless it is created as approved.
    ///
    /// # Errors
    /// - `BadArgument`: the template, site or parent does not exist; or the [idempotency
    ///   key](NewDeployment::idempotency_key) is reserved for children. Also if the merged package
    ///   is not partially valid or, if prepared, not completely valid, or is approved but not
    ///   prepared.
    /// - `AlreadyExists`: the given id is in use.
    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId>;

    /// Creates many deployments, each atomically but independently of the others. Returns one
    /// result for each, in order.
    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>>;

    /// Reads one entity.
    ///
    /// # Errors
    /// - `NotFound`: it does not exist, or is being deleted and `want.deleting` is false.
    async fn get(&self, key: &Key, want: Want) -> Result<Record>;

    /// Reads one page of a listing, in key order. See [`Page`].
    async fn list(&self, list: &List) -> Result<Page>;

    /// Streams all pages of a listing from this one on; at least one. Each page shows the state at
    /// its own instant.
    ///
    /// The stream may read a bounded number of pages ahead. It ends after the last page or the
    /// first error, and stops reading when it is dropped. Call it within a runtime.
    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        pages(list, move |list| {
            let data = self.clone();
            async move { data.list(&list).await }
        })
        .boxed()
    }

    /// Counts the matching entities, exactly up to `bound`.
    ///
    /// Only [`allow_stale`](Want::allow_stale) of `want` has an effect.
    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count>;

    /// Deletes one entity, and clears the relations of other entities to it.
    ///
    /// Relations are cleared at once if they are few, and in the background if they are many; no
    /// deployment is deleted with the entity. A deployment that is placed on a site, and a site
    /// that a scheduler has worked on, are hidden at once. They are removed when the scheduler
    /// reports that nothing is left.
    ///
    /// # Errors
    /// - `NotFound`: it does not exist, or is already being deleted.
    /// - `Busy`: it is a deployment under a modification.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Deletes one entity as [`delete`](Self::delete) does, if it still has the version that was
    /// read.
    ///
    /// The version is checked in the transaction that removes or hides the entity, so no change can
    /// come in between.
    ///
    /// # Errors
    /// - `NotFound`: it does not exist, or is already being deleted.
    /// - `Conflict`: it has another version; read it again.
    /// - `Busy`: it is a deployment under a modification.
    /// - `NotImplemented`: this API cannot do that; the default.
    async fn delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        let _ = (key, expect);
        Err(Error::NotImplemented(
            "deleting an entity at a version".into(),
        ))
    }

    /// Deletes all matching entities, as [`delete`](Self::delete) does. Skips those that are under
    /// a modification.
    async fn purge(&self, select: &Select) -> Result<Bulk>;

    /// Approves all matching deployments that are prepared and not approved. Skips those that are
    /// under a modification. To approve a single one, see [`approve_one`].
    ///
    /// # Errors
    /// - `BadArgument`: the selection does not select deployments.
    async fn approve(&self, select: &Select) -> Result<Bulk>;

    /// Replaces a deployment's package if the deployment still has the version that was read.
    ///
    /// # Errors
    /// - `NotFound`: it does not exist, or is being deleted.
    /// - `Conflict`: it has another version; read it again.
    /// - `Busy`: it is under a modification.
    /// - `BadArgument`: as [`create_deployment`](Self::create_deployment); or the package names
    ///   another template, or none although the deployment's template exists.
    async fn update(&self, id: &DeploymentId, expect: Version, package: Package)
    -> Result<Version>;

    /// Changes the given metadata, the package, or both, of an entity that still has the version that
    /// was read. Relations that the package does not name stay.
    ///
    /// The default implementation supports only the package of a deployment.
    ///
    /// # Errors
    /// - `NotFound`: it does not exist, or is being deleted.
    /// - `Conflict`: it has another version; read it again.
    /// - `Busy`: it is under a modification.
    /// - `BadArgument`: the package is not valid, as when the entity is created; or the entity is a
    ///   plugin, which has no package.
    /// - `NotImplemented`: this API cannot do that.
    async fn update_entity(&self, update: EntityUpdate) -> Result<Version> {
        match update {
            EntityUpdate {
                key: Key::Deployment(id),
                expect,
                metadata: None,
                package: Some(PackageUpdate::Replace(package)),
            } => self.update(&id, expect, package).await,
            _ => Err(Error::NotImplemented(
                "changing metadata of existing entities".into(),
            )),
        }
    }

    /// Starts a modification of a deployment's package for `ttl`. Until it ends, nobody else can
    /// change the package.
    ///
    /// # Errors
    /// - `NotFound`: it does not exist, or is being deleted.
    /// - `Busy`: it is under another modification.
    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification>;

    /// Commits the package of a modification and ends it. If the package is refused, the
    /// modification stays open.
    ///
    /// # Errors
    /// - `ClaimExpired`: the modification has expired; nothing was written.
    /// - `NotFound`: the token is unknown, was used, or was cancelled.
    /// - `BadArgument`: as [`update`](Self::update).
    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version>;

    /// Cancels a modification without changing the package.
    ///
    /// # Errors
    /// - `ClaimExpired`, `NotFound`: as [`end_modification`](Self::end_modification).
    async fn cancel_modification(&self, token: &Token) -> Result<()>;

    /// Makes work that waits for its next attempt due at once: that of the entity and, for a
    /// deployment, that of its site. Returns the number of these pieces of work.
    ///
    /// Earlier attempts still count. Leased work, and work that is already due, stays unchanged.
    ///
    /// # Errors
    /// - `NotFound`: the entity does not exist.
    /// - `NotImplemented`: this API cannot do that; the default.
    async fn retry(&self, key: &Key) -> Result<usize> {
        let _ = key;
        Err(Error::NotImplemented("retrying at once".into()))
    }

    /// Returns the extent of the change feed, and the store's time.
    async fn feed_position(&self) -> Result<FeedPosition>;

    /// Streams the changes of the matching entities, without end.
    ///
    /// To follow a selection completely, list it, then watch from the revision of the first page.
    /// The stream ends after an error.
    ///
    /// # Errors
    /// - `Expired`: the feed does not continue from this revision; list again and watch from there.
    /// - `BadArgument`: the selection cannot be [watched](Select::is_watchable).
    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>>;

    /// Returns the changes of one entity before revision `before`, newest first, with packages, at
    /// most `limit`. Each names its [cause](crate::Cause).
    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>>;

    /// Streams the changes of all entities after a revision, or of all that the feed keeps, oldest
    /// first, without packages. It ends at the revision that is the last one when the stream
    /// begins.
    ///
    /// # Errors
    /// - `Expired`: the feed does not continue from this revision.
    /// - `NotImplemented`: the API does not support this; the default.
    fn changes(&self, after: Option<Revision>) -> BoxStream<'static, Result<ChangeRecord>> {
        let _ = after;
        let refusal = Error::NotImplemented("listing the changes of all entities".into());
        futures_util::stream::iter([Err(refusal)]).boxed()
    }
}

/// The operations of workers, which claim queued work and commit its results.
///
/// Separate from [`DataApi`], because workers need different permissions from people.
#[async_trait]
pub trait WorkerApi: DataApi {
    /// The same API on behalf of `caller`, as [`DataApi::with_caller`].
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi>;

    /// Leases due work, as [`Backend::claim`](crate::Backend::claim).
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>>;

    /// Leases due work like [`claim`](Self::claim), and reads the entity of each piece after that.
    ///
    /// `None`: it was not read, or does not exist; [`get`](DataApi::get) tells which. The default
    /// reads no entities.
    async fn claim_records(
        &self,
        request: &ClaimRequest,
        want: Want,
    ) -> Result<Vec<(Claim, Option<Record>)>> {
        let _ = want;
        let claims = self.claim(request).await?;
        Ok(claims.into_iter().map(|claim| (claim, None)).collect())
    }

    /// Reads the first page of each of these listings, in order, as [`list`](DataApi::list).
    ///
    /// The default reads one after the other.
    async fn list_all(&self, lists: &[List]) -> Result<Vec<Page>> {
        let mut pages = Vec::with_capacity(lists.len());
        for list in lists {
            pages.push(self.list(list).await?);
        }
        Ok(pages)
    }

    /// Extends leases and modifications, as [`Backend::renew`](crate::Backend::renew).
    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>>;

    /// Ends leases and cancels modifications, as [`Backend::settle`](crate::Backend::settle).
    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>>;

    /// Enqueues work. Work for a key that does not exist is dropped.
    ///
    /// # Errors
    /// - `BadArgument`: more than [`MAX_CHANGES`](crate::MAX_CHANGES) pieces of work.
    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()>;

    /// Commits a step of preparation under its claim: package, effects, progress, conditions, and
    /// the end of the claim, in one transaction. Returns the deployment's new generation.
    ///
    /// A step does not approve a deployment with `approve: Manual`: such an approval has no effect.
    /// Neither does it approve a child; see [`Effect::Deployment`].
    ///
    /// # Errors
    /// - `ClaimExpired`: the claim was lost; stop.
    /// - `Conflict`: the deployment, or something that the step refers to, changed; read it again.
    /// - `Busy`: the deployment, or an entity of an effect, is being modified or deleted; retry
    ///   later.
    /// - `BadArgument`: the result is not valid; report it in a condition.
    /// - `NotFound`: the deployment was deleted; stop.
    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation>;

    /// Commits a step of scheduling under its claim. A large step is committed in chunks, each
    /// atomic; the claim ends with the last. Entities that are being deleted are removed once they
    /// are no longer placed on any site. A modification of a deployment does not exclude its
    /// placement.
    ///
    /// # Errors
    /// As [`commit_prepared`](Self::commit_prepared); also
    /// - `Conflict`: a deployment that the step reports as placed is still placed on another site.
    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()>;

    /// Merges conditions by kind into those of one entity. Does nothing if the entity does not
    /// exist, or already has these conditions.
    ///
    /// For controllers that work without claims, such as those of catalogs.
    ///
    /// # Errors
    /// - `NotImplemented`: this API cannot do that; the default.
    async fn report(&self, key: &Key, conditions: Vec<Condition>) -> Result<()> {
        let _ = (key, conditions);
        Err(Error::NotImplemented("reporting conditions".into()))
    }

    /// Shares a value with other workers, as [`Backend::put_shared`](crate::Backend::put_shared). The default
    /// shares nothing.
    ///
    /// A worker can share any value under any key. A reader can detect damage, but trusts all
    /// workers.
    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        let _ = (key, value, limits);
        Ok(())
    }

    /// Reads a value that a worker shared, as [`Backend::get_shared`](crate::Backend::get_shared). The default
    /// finds nothing.
    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        let _ = (key, age);
        Ok(None)
    }
}
