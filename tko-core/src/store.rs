//! [`Store`]: implements [`DataApi`] and [`WorkerApi`] over any [`Backend`]. It contains the rules
//! of the model.
//!
//! Every operation reads what it needs, prepares one [`ChangeSet`] with preconditions, and commits
//! it. If a precondition fails, it reads and tries again. Only admitted packages reach the backend:
//! see [`Admission`].
//!
//! | file | operations |
//! |---|---|
//! | `register` | registering templates, sites and plugins |
//! | `create` | creating deployments |
//! | `modify`, `edit`, `kept` | packages of deployments; modifications |
//! | `update` | given metadata and packages of entities of all kinds |
//! | `bulk` | approving and purging by selection |
//! | `delete` | deleting, and finishing large deletions |
//! | `prepare_step`, `schedule_step` | steps of workers |
//! | `retry` | due at once, what waits for its next attempt |
//! | `watch` | the change feed of a selection |
//!
//! Time belongs to the backend, and sessions to the frontends. Templates are cached (`templates`)
//! in such a way that several stores on one backend behave like one.
//!
//! # Terms
//!
//! - The *row* of an entity is its [`Entity`](crate::Entity): everything but the body.
//! - The *body* of a deployment is its package without the Deployment resource. A *whole* package
//!   has that resource in its place. Backends store bodies; clients see whole packages.
//! - A *referrer* of an entity names it as template, site, parent or place.
//! - A *held* entity cannot be removed before a scheduler reports it as removed.
//!
//! # Preconditions and retries
//!
//! Nothing is locked between the read and the commit. A replaced row must have the version that was
//! read, a new row must be absent, and a row that is referred to must exist. If only this store's
//! own read was outdated, the operation reads again and retries, without a pause. If the caller
//! stated a version or generation that no longer holds, the caller gets `Conflict`.
//!
//! A missing reference is a `BadArgument`; `NotFound` is about the entity or the token of the
//! request.
//!
//! # Acknowledgement
//!
//! Changes by clients, and the removal of rows, wait until they have revisions ([`Ack::Numbered`]).
//! So a client finds its own write in every later listing and watch. Steps of workers wait only for
//! durability ([`Ack::Durable`]).
//!
//! Every change names its cause, such as `created` or `modified`, and the caller if there is one.

mod bulk;
mod create;
mod delete;
mod draft;
mod edit;
mod kept;
mod modify;
mod prepare_step;
mod register;
mod retry;
mod schedule_step;
mod templates;
mod update;
mod watch;

use crate::annotation;
use crate::api::{
    About, Bulk, DataApi, EntityUpdate, Event, NewDeployment, NewPlugin, NewSite, NewTemplate,
    PrepareStep, ScheduleStep, Watch, WorkerApi,
};
use crate::backend::Backend;
use crate::caller::Caller;
use crate::change::{
    Ack, Change, ChangeRecord, ChangeSet, Committed, FeedPosition, MAX_CHANGES, Modification,
};
use crate::clock::Ids;
use crate::entity::{Condition, Record, Want};
use crate::error::{Error, Result, Subject};
use crate::feed::whole;
use crate::handler::Admission;
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key, Kind};
use crate::limits;
use crate::package::Package;
use crate::revision::{Generation, Revision, Version};
use crate::select::{Count, List, Page, Select};
use crate::shared_value::SharedLimits;
use crate::work::{Claim, ClaimRequest, Enqueue, Outcome, Token};
use async_trait::async_trait;
use draft::ChangeDraft;
use futures_core::stream::BoxStream;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};
use kept::as_kept;
use std::sync::Arc;
use std::time::Duration;
use templates::Templates;

/// The rows in one chunk of a bulk operation: well below the limit of a change set.
///
/// A chunk of deletions needs room for the deleted entity in addition to its referrers. Batches of
/// new deployments and steps of scheduling are split into chunks of this size, too.
const CHUNK: usize = 500;

/// The number of attempts before a conflict is reported to the caller.
///
/// Each attempt reads the current state again. This many conflicts in a row mean constant
/// contention on one key.
const TRIES: usize = 32;

/// The rules of the model over a backend. Cloning copies pointers.
pub struct Store<B: ?Sized> {
    /// The storage, which also has the clock.
    backend: Arc<B>,
    /// The check that every package passes before it is stored.
    admission: Arc<dyn Admission>,
    /// The source of ids for deployments that are created without one.
    ids: Arc<dyn Ids>,
    /// The cache of templates, which all clones share.
    templates: Arc<Templates>,
    /// The caller that the cause of each change names.
    caller: Option<Caller>,
    /// Whether changes are checked and not made.
    is_dry: bool,
}

/// Clones share the backend and the cache of templates. A derived `Clone` would require `B: Clone`.
impl<B: ?Sized> Clone for Store<B> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            admission: self.admission.clone(),
            ids: self.ids.clone(),
            templates: self.templates.clone(),
            caller: self.caller.clone(),
            is_dry: self.is_dry,
        }
    }
}

impl<B: Backend + ?Sized> Store<B> {
    /// A store over this backend. `admission` checks every package; `ids` generates the ids of new
    /// deployments.
    pub fn new(backend: Arc<B>, admission: Arc<dyn Admission>, ids: Arc<dyn Ids>) -> Self {
        Self {
            backend,
            admission,
            ids,
            templates: Arc::default(),
            caller: None,
            is_dry: false,
        }
    }

    /// Reads one entity, also one that is being deleted; `None` if it does not exist.
    ///
    /// The package of a deployment comes without its Deployment resource, as the backend stores it.
    async fn find(&self, key: &Key, want: Want) -> Result<Option<Record>> {
        let mut found = self.backend.get(std::slice::from_ref(key), want).await?;
        Ok(found.pop().flatten())
    }

    /// Commits a draft in the name of the caller. Every change of a store is committed here.
    ///
    /// # Errors
    /// As [`Backend::commit`].
    async fn commit(&self, draft: ChangeDraft, ack: Ack) -> Result<Committed> {
        let mut set = draft.into_set();
        if self.is_dry {
            self.check_requirements(&set.require).await?;
            return Ok(Committed::default());
        }
        if let Some(caller) = &self.caller {
            set.cause = set.cause.map(|cause| cause.by(caller));
        }
        self.backend.commit(set, ack).await
    }

    /// Reports every violation at once: of annotations, and of the admission.
    ///
    /// `complete` requires a package in which nothing is missing: that of a site, or of a prepared
    /// deployment. Templates and unprepared deployments may be incomplete.
    ///
    /// # Errors
    /// - `BadArgument`: the package has violations; lists all.
    /// - Any error of the admission: the package could not be checked.
    async fn admit(&self, package: &Package, complete: bool) -> Result<()> {
        // A package that is too large is not worth the time of validating it.
        limits::check_package(package)?;
        let mut violations = annotation::check(package);
        violations.extend(self.admission.admit(package, complete).await?);
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid("package", violations))
        }
    }
}

/// Turns a missing reference into a bad argument: only the entity itself can be "not found".
///
/// `own` is the key of the entity that the request is about. All other errors stay as they are.
fn unknown_reference(error: Error, own: &Key) -> Error {
    match error {
        Error::NotFound(Subject::Entity(key)) if key != *own => {
            let (argument, remedy) = match key.kind() {
                // Deployments refer to no other deployment than their parent.
                Kind::Deployment => ("parent id".to_owned(), "name another parent, or none"),
                kind => (format!("{kind} id"), "register it first, or name another"),
            };
            Error::bad(argument, format!("{key} does not exist; {remedy}"))
        }
        other => other,
    }
}

/// The current version of `key`: from the commit or, if nothing changed, from the record read
/// before.
///
/// A put without effect is dropped, so the commit reports no version for it. The caller then gets
/// the version that it could have read before.
fn version_of(done: &Committed, key: &Key, before: Option<&Record>) -> Version {
    done.versions
        .iter()
        .find(|(changed, _)| changed == key)
        .map(|(_, version)| *version)
        .or(before.map(|record| record.entity.version))
        .unwrap_or_default()
}

/// A record of a backend, as clients see it.
fn seen(record: Record, want: Want) -> Record {
    if want.kept {
        as_kept(record)
    } else {
        whole(record)
    }
}

fn page_seen(mut page: Page, want: Want) -> Page {
    let items = page.items.into_iter();
    page.items = items.map(|record| seen(record, want)).collect();
    page
}

/// The operations of clients.
///
/// Most writes are implemented in the submodules. Reads go to the backend; the Deployment resource
/// is then put into the package of each deployment that was read with its package.
#[async_trait]
impl<B: Backend + ?Sized> DataApi for Store<B> {
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi> {
        let mut store = Arc::unwrap_or_clone(self);
        store.caller = Some(caller);
        Arc::new(store)
    }

    fn dry_run(self: Arc<Self>) -> Option<Arc<dyn DataApi>> {
        let mut store = Arc::unwrap_or_clone(self);
        store.is_dry = true;
        Some(Arc::new(store))
    }

    async fn about(&self) -> Result<About> {
        Ok(About {
            backend: self.backend.name().to_owned(),
        })
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        self.put_template(new).await
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        self.put_site(new).await
    }

    async fn register_plugin(&self, new: NewPlugin) -> Result<Version> {
        self.put_plugin(new).await
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        self.create(new).await
    }

    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        self.create_all(new).await
    }

    async fn get(&self, key: &Key, want: Want) -> Result<Record> {
        self.find(key, want)
            .await?
            .filter(|record| want.deleting || !record.entity.deleting)
            .map(|record| seen(record, want))
            .ok_or_else(|| Error::not_found(key))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let mut page = self.backend.list(list).await?;
        if list.want.package {
            page = page_seen(page, list.want);
        }
        Ok(page)
    }

    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        let want = list.want;
        let pages = self.backend.clone().pages(list);
        if !want.package {
            return pages;
        }
        pages.map_ok(move |page| page_seen(page, want)).boxed()
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        self.backend.count(select, bound, want).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.remove(key, None).await
    }

    async fn delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        self.remove(key, Some(expect)).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        self.purge_all(select).await
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        self.approve_all(select).await
    }

    async fn update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        self.replace_package(id, expect, &package).await
    }

    async fn update_entity(&self, update: EntityUpdate) -> Result<Version> {
        self.change_entity(update).await
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        let modification = self
            .backend
            .start_modification(&Key::from(id), ttl, Want::PACKAGE)
            .await?;
        Ok(Modification {
            record: whole(modification.record),
            ..modification
        })
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        self.commit_modification(token, &package).await
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        // A modification always ends with its commit, even an empty one. Unlike settling, a commit
        // also reports why it was refused.
        let set = ChangeSet {
            under: Some(token.clone()),
            ..ChangeSet::default()
        };
        self.backend.commit(set, Ack::Durable).await.map(|_| ())
    }

    async fn retry(&self, key: &Key) -> Result<usize> {
        self.retry_now(key).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.backend.feed_position().await
    }

    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        self.events(watch)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        let changes = self.backend.history(key, before, limit).await?;
        Ok(changes
            .into_iter()
            .map(|change| ChangeRecord {
                before: change.before.map(whole),
                after: change.after.map(whole),
                ..change
            })
            .collect())
    }
    fn changes(&self, after: Option<Revision>) -> BoxStream<'static, Result<ChangeRecord>> {
        self.all_changes(after)
    }
}

/// The operations of workers.
///
/// Claims belong to the backend, which has the clock. The two kinds of step have rules of the
/// model, and are implemented in `prepare_step` and `schedule_step`.
#[async_trait]
impl<B: Backend + ?Sized> WorkerApi for Store<B> {
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi> {
        let mut store = Arc::unwrap_or_clone(self);
        store.caller = Some(caller);
        Arc::new(store)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.backend.claim(request).await
    }

    async fn claim_records(
        &self,
        request: &ClaimRequest,
        want: Want,
    ) -> Result<Vec<(Claim, Option<Record>)>> {
        let claims = self.backend.claim(request).await?;
        let keys: Vec<Key> = claims.iter().map(|claim| claim.work.key.clone()).collect();
        // The claims are leased: a failure must not lose them.
        let records = match self.backend.get(&keys, want).await {
            Ok(records) => records,
            Err(_) => vec![None; keys.len()],
        };
        let visible = |record: &Record| want.deleting || !record.entity.deleting;
        let records = records
            .into_iter()
            .map(|record| record.filter(visible).map(|record| seen(record, want)));
        Ok(claims.into_iter().zip(records).collect())
    }

    /// Reads all listings at the same time, because a backend may join them.
    async fn list_all(&self, lists: &[List]) -> Result<Vec<Page>> {
        try_join_all(lists.iter().map(|list| self.list(list))).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.backend.renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.backend.settle(outcomes).await
    }

    async fn enqueue(&self, marks: Vec<Enqueue>) -> Result<()> {
        if marks.len() > MAX_CHANGES {
            return Err(Error::bad(
                "marks",
                format!(
                    "there are {}; at most {MAX_CHANGES} can be enqueued at once: do it in parts",
                    marks.len()
                ),
            ));
        }
        let set = ChangeSet {
            enqueue: marks,
            ..ChangeSet::default()
        };
        self.backend.commit(set, Ack::Durable).await.map(|_| ())
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        self.prepared_step(claim, step).await
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        self.placed_step(claim, step).await
    }

    async fn report(&self, key: &Key, mut conditions: Vec<Condition>) -> Result<()> {
        limits::bounded(&mut conditions)?;
        let mut draft = ChangeDraft::because("reported");
        draft
            .set
            .changes
            .push(Change::Conditions(key.clone(), conditions));
        self.commit(draft, Ack::Numbered).await.map(|_| ())
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        let limits = limits.bounded();
        if !limits.admit(value.len()) {
            return Ok(());
        }
        self.backend.put_shared(key, value, limits).await
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        self.backend
            .get_shared(key, age.min(SharedLimits::MAX.age))
            .await
    }
}
