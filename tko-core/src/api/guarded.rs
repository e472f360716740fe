//! [`Guarded`]: a wrapper that asks a guard before each call of the API, and restricts the call to
//! the scopes that the guard returns.

mod history;
mod scoped;

use super::{
    About, ApiCall, Bulk, DataApi, EntityUpdate, Event, Expect, Guard, NewDeployment, NewPlugin,
    NewSite, NewTemplate, PackageUpdate, PrepareStep, ScheduleStep, Watch, WorkerApi,
};
use crate::caller::Caller;
use crate::change::{ChangeRecord, FeedPosition, Modification};
use crate::deployment_resource;
use crate::entity::{Condition, Record, Want};
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key, Kind};
use crate::package::Package;
use crate::revision::{Generation, Revision, Version};
use crate::select::{Count, List, Page, Select};
use crate::shared_value::SharedLimits;
use crate::work::{Claim, ClaimRequest, Enqueue, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use scoped::{CallScopes, Narrowed};
use std::sync::Arc;
use std::time::Duration;

/// An API that makes only the calls that its guard permits.
///
/// It implements [`DataApi`] if the inner API does, and [`WorkerApi`] likewise. The guard is asked
/// before the inner API sees the call, so a refused call has no effect there. If the guard restricts
/// a call to [scopes](Guard::scopes), selections are narrowed, and an entity is read and compared
/// before a call that names it. Scopes with a pattern for sites or templates permit no new
/// resources of the group `topology.nephio.org` in the package of a deployment. Its children may be
/// outside of such scopes.
///
/// Streams are checked when they are requested, not for each item: a watch continues even if the
/// guard would refuse it later. To revoke access, also close the connection. A watch within several
/// scopes does not report that an entity has left all of them.
///
/// A change is reported if the scopes cover the state after it; for a deletion, the state before it.
/// The state before another change is left out if the scopes do not cover it, so a [`ChangeRecord`]
/// without one is not always a creation. The history of an entity is refused if the scopes do not
/// cover its current state.
pub struct Guarded<D: ?Sized> {
    /// The guard, shared with the copies for other callers.
    guard: Arc<dyn Guard>,
    /// The caller that the guard is asked about; `None` until one is given.
    caller: Option<Caller>,
    /// The API that makes the calls, on behalf of the same caller.
    inner: Arc<D>,
}

impl<D: ?Sized> Guarded<D> {
    /// Puts `guard` before `inner`.
    ///
    /// The guard sees no caller until `with_caller` or `worker_with_caller` gives one.
    pub fn new(inner: Arc<D>, guard: impl Guard) -> Self {
        Self {
            guard: Arc::new(guard),
            caller: None,
            inner,
        }
    }

    /// Asks the guard about a call of the current caller.
    fn check(&self, call: ApiCall<'_>) -> Result<CallScopes> {
        let scopes = self.guard.scopes(self.caller.as_ref(), call)?;
        Ok(CallScopes::new(scopes, self.caller.as_ref(), call))
    }

    /// Asks the guard about a call that cannot be restricted.
    fn check_whole(&self, call: ApiCall<'_>) -> Result<()> {
        self.check(call)?.unrestricted()
    }

    /// Puts the same guard before `inner`, for another caller.
    ///
    /// `inner` is the API that already acts for this caller, so both see the same one.
    fn around<T: ?Sized>(&self, inner: Arc<T>, caller: Caller) -> Guarded<T> {
        Guarded {
            guard: self.guard.clone(),
            caller: Some(caller),
            inner,
        }
    }
}

impl<D: DataApi + ?Sized> Guarded<D> {
    /// Asks the guard about a call that is about one entity, and reads it if the call is restricted.
    async fn check_entity(&self, call: ApiCall<'_>, key: &Key) -> Result<CallScopes> {
        let scopes = self.check(call)?;
        if scopes.restricted() {
            let want = Want::ROW.with_deleting();
            let record = self.inner.get(key, want).await?;
            scopes.cover(&record.entity)?;
        }
        Ok(scopes)
    }

    /// Asks the guard about the registration of an entity, which may exist.
    async fn check_registration(
        &self,
        scopes: &CallScopes,
        key: Key,
        expect: Expect,
    ) -> Result<()> {
        if !scopes.restricted() || expect == Expect::Absent {
            return Ok(());
        }
        match self.inner.get(&key, Want::ROW.with_deleting()).await {
            Ok(record) => scopes.cover(&record.entity),
            Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks the guard about a new deployment. If the call is restricted, the parent must be covered,
    /// too: the children of a deployment are a part of it.
    async fn check_creation(&self, new: &NewDeployment) -> Result<()> {
        let scopes = self.check(ApiCall::CreateDeployment(new))?;
        let (template, site) = (new.template.as_ref(), new.site.as_ref());
        scopes.cover_new(template, site, &new.metadata)?;
        scopes.cover_topologies(&new.merge, &Package::default(), |scope| {
            scope.covers_new(template, site, &new.metadata)
        })?;
        let Some(parent) = new.parent.as_ref().filter(|_| scopes.restricted()) else {
            return Ok(());
        };
        let want = Want::ROW.with_deleting();
        match self.inner.get(&Key::from(parent), want).await {
            Ok(record) => scopes.cover(&record.entity),
            // The inner API names the references that do not exist.
            Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Checks that a new package of an entity adds no topologies, if it is a deployment. The present
    /// package is read only if the new one has topologies.
    async fn check_topologies(
        &self,
        scopes: &CallScopes,
        key: &Key,
        package: &Package,
    ) -> Result<()> {
        let may_add = key.kind() == Kind::Deployment && scoped::has_topologies(package);
        if !scopes.restricted() || !may_add {
            return Ok(());
        }
        let want = Want::PACKAGE.with_deleting();
        let record = self.inner.get(key, want).await?;
        let present = record.package.unwrap_or_default();
        scopes.cover_topologies(package, &present, |scope| scope.covers(&record.entity))
    }

    /// Counts the entities that the scopes cover, page by page.
    async fn count_covered(
        &self,
        scopes: &CallScopes,
        select: &Select,
        bound: u64,
        want: Want,
    ) -> Result<Count> {
        let mut list = List::new(select.clone()).want(Want {
            allow_stale: want.allow_stale,
            ..Want::ROW
        });
        let mut count = self.inner.count(select, 0, want).await?;
        (count.found, count.more) = (0, false);
        loop {
            let page = self.inner.list(&list).await?;
            for record in &page.items {
                if scopes.covers(&record.entity) {
                    if count.found == bound {
                        count.more = true;
                        return Ok(count);
                    }
                    count.found += 1;
                }
            }
            if page.next.is_none() {
                return Ok(count);
            }
            list.after = page.next;
        }
    }
}

/// Each method asks the guard first, and then makes the call.
#[async_trait]
impl<D: DataApi + ?Sized> DataApi for Guarded<D> {
    /// The guarded API on behalf of `caller`. The guard is not asked about this itself.
    ///
    /// The inner API gets the caller too, so that changes name it in their cause.
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi> {
        let inner = self.inner.clone().with_caller(caller.clone());
        Arc::new(self.around(inner, caller))
    }

    /// The dry run of the inner API, behind the same guard.
    fn dry_run(self: Arc<Self>) -> Option<Arc<dyn DataApi>> {
        let inner = self.inner.clone().dry_run()?;
        Some(Arc::new(Guarded {
            guard: self.guard.clone(),
            caller: self.caller.clone(),
            inner,
        }))
    }

    async fn about(&self) -> Result<About> {
        self.check(ApiCall::About)?;
        self.inner.about().await
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        let scopes = self.check(ApiCall::RegisterTemplate(&new))?;
        scopes.cover_new(Some(&new.id), None, &new.metadata)?;
        self.check_registration(&scopes, Key::from(&new.id), new.expect)
            .await?;
        self.inner.register_template(new).await
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        let scopes = self.check(ApiCall::RegisterSite(&new))?;
        scopes.cover_new(new.template.as_ref(), Some(&new.id), &new.metadata)?;
        self.check_registration(&scopes, Key::from(&new.id), new.expect)
            .await?;
        self.inner.register_site(new).await
    }

    async fn register_plugin(&self, new: NewPlugin) -> Result<Version> {
        self.check_whole(ApiCall::RegisterPlugin(&new))?;
        self.inner.register_plugin(new).await
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        self.check_creation(&new).await?;
        self.inner.create_deployment(new).await
    }

    /// Asks the guard about each deployment, and creates those that it permits.
    ///
    /// The results are in the order of `new`: for a refused deployment, the error of the guard. So
    /// one refusal does not stop the others.
    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        let mut passed = Vec::with_capacity(new.len());
        let mut refused = Vec::with_capacity(new.len());
        for one in new {
            let refusal = self.check_creation(&one).await.err();
            if refusal.is_none() {
                passed.push(one);
            }
            refused.push(refusal);
        }
        let mut created = self.inner.create_deployments(passed).await.into_iter();
        let missing = || Error::internal("create deployments", "a result is missing");
        refused
            .into_iter()
            .map(|refusal| match refusal {
                Some(refusal) => Err(refusal),
                None => created.next().unwrap_or_else(|| Err(missing())),
            })
            .collect()
    }

    async fn get(&self, key: &Key, want: Want) -> Result<Record> {
        let scopes = self.check(ApiCall::Get(key))?;
        let record = self.inner.get(key, want).await?;
        scopes.cover(&record.entity)?;
        Ok(record)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let scopes = self.check(ApiCall::List(list))?;
        match scopes.narrow(&list.select) {
            Narrowed::Same => self.inner.list(list).await,
            Narrowed::One(select) => {
                let list = List {
                    select: *select,
                    ..list.clone()
                };
                self.inner.list(&list).await
            }
            Narrowed::Filter => {
                let mut page = self.inner.list(list).await?;
                page.items.retain(|record| scopes.covers(&record.entity));
                Ok(page)
            }
        }
    }

    /// Asks the guard once, before the first page.
    ///
    /// A refusal is the only item of the stream, because the method itself cannot fail.
    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        let scopes = match self.check(ApiCall::List(&list)) {
            Ok(scopes) => scopes,
            Err(refusal) => return stream::iter([Err(refusal)]).boxed(),
        };
        match scopes.narrow(&list.select) {
            Narrowed::Same => self.inner.clone().pages(list),
            Narrowed::One(select) => self.inner.clone().pages(List {
                select: *select,
                ..list
            }),
            Narrowed::Filter => {
                let pages = self.inner.clone().pages(list);
                let covered = pages.map_ok(move |mut page| {
                    page.items.retain(|record| scopes.covers(&record.entity));
                    page
                });
                covered.boxed()
            }
        }
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        let scopes = self.check(ApiCall::Count(select))?;
        match scopes.narrow(select) {
            Narrowed::Same => self.inner.count(select, bound, want).await,
            Narrowed::One(select) => self.inner.count(&select, bound, want).await,
            Narrowed::Filter => self.count_covered(&scopes, select, bound, want).await,
        }
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.check_entity(ApiCall::Delete(key), key).await?;
        self.inner.delete(key).await
    }

    async fn delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        self.check_entity(ApiCall::Delete(key), key).await?;
        self.inner.delete_at(key, expect).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        let scopes = self.check(ApiCall::Purge(select))?;
        if !scopes.restricted() {
            return self.inner.purge(select).await;
        }
        let mut bulk = Bulk::default();
        for select in scopes.narrow_each(select)? {
            scoped::add(&mut bulk, self.inner.purge(&select).await?);
        }
        Ok(bulk)
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        let scopes = self.check(ApiCall::Approve(select))?;
        if !scopes.restricted() {
            return self.inner.approve(select).await;
        }
        let mut bulk = Bulk::default();
        for select in scopes.narrow_each(select)? {
            scoped::add(&mut bulk, self.inner.approve(&select).await?);
        }
        Ok(bulk)
    }

    async fn update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        let key = Key::from(id);
        let scopes = self.check_entity(ApiCall::Update(id), &key).await?;
        scopes.cover_package(&package)?;
        self.check_topologies(&scopes, &key, &package).await?;
        self.inner.update(id, expect, package).await
    }

    async fn update_entity(&self, update: EntityUpdate) -> Result<Version> {
        let call = ApiCall::UpdateEntity(&update);
        let scopes = self.check_entity(call, &update.key).await?;
        if let Some(metadata) = &update.metadata {
            scopes.cover_metadata(metadata)?;
        }
        match &update.package {
            Some(PackageUpdate::Replace(package)) => {
                scopes.cover_package(package)?;
                self.check_topologies(&scopes, &update.key, package).await?;
            }
            Some(PackageUpdate::Merge { package, site }) if scopes.restricted() => {
                let record = self.inner.get(&update.key, Want::ROW).await?;
                let template = record.entity.template();
                let asked = deployment_resource::asked(template, site.as_ref(), false, false);
                scopes.cover_package(&Package::new(vec![Arc::new(asked)])?)?;
                scopes.cover_topologies(package, &Package::default(), |scope| {
                    scope.covers(&record.entity)
                })?;
            }
            Some(PackageUpdate::Merge { .. }) | None => {}
        }
        self.inner.update_entity(update).await
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        let key = Key::from(id);
        self.check_entity(ApiCall::StartModification(id), &key)
            .await?;
        self.inner.start_modification(id, ttl).await
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        let call = ApiCall::EndModification(token);
        let scopes = self.check_entity(call, &token.key).await?;
        scopes.cover_package(&package)?;
        self.check_topologies(&scopes, &token.key, &package).await?;
        self.inner.end_modification(token, package).await
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        let call = ApiCall::CancelModification(token);
        self.check_entity(call, &token.key).await?;
        self.inner.cancel_modification(token).await
    }

    async fn retry(&self, key: &Key) -> Result<usize> {
        self.check_entity(ApiCall::Retry(key), key).await?;
        self.inner.retry(key).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.check(ApiCall::FeedPosition)?;
        self.inner.feed_position().await
    }

    /// Asks the guard once, before the first event.
    ///
    /// A refusal is the only item of the stream, as for `pages`.
    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        let scopes = match self.check(ApiCall::Watch(&watch)) {
            Ok(scopes) => scopes,
            Err(refusal) => return stream::iter([Err(refusal)]).boxed(),
        };
        match scopes.narrow(&watch.select) {
            Narrowed::Same => self.inner.watch(watch),
            Narrowed::One(select) => self.inner.watch(Watch {
                select: *select,
                ..watch
            }),
            Narrowed::Filter => {
                let events = self.inner.watch(watch);
                events.map_ok(move |event| scopes.covered(event)).boxed()
            }
        }
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        let scopes = self.check(ApiCall::History(key))?;
        if !scopes.restricted() {
            return self.inner.history(key, before, limit).await;
        }
        self.covered_history(&scopes, key, before, limit).await
    }

    fn changes(&self, after: Option<Revision>) -> BoxStream<'static, Result<ChangeRecord>> {
        let scopes = match self.check(ApiCall::Changes) {
            Ok(scopes) => scopes,
            Err(refusal) => return stream::iter([Err(refusal)]).boxed(),
        };
        let changes = self.inner.changes(after);
        if !scopes.restricted() {
            return changes;
        }
        changes
            .try_filter_map(move |change| {
                std::future::ready(Ok::<_, Error>(scopes.covered_change(change)))
            })
            .boxed()
    }
}

/// Each method asks the guard first, and then makes the call. None of them can be restricted to
/// scopes.
#[async_trait]
impl<D: WorkerApi + ?Sized> WorkerApi for Guarded<D> {
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi> {
        let inner = self.inner.clone().worker_with_caller(caller.clone());
        Arc::new(self.around(inner, caller))
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.check_whole(ApiCall::Claim(request))?;
        self.inner.claim(request).await
    }

    /// Returns only the records that the caller may read; the guard is asked about each.
    async fn claim_records(
        &self,
        request: &ClaimRequest,
        want: Want,
    ) -> Result<Vec<(Claim, Option<Record>)>> {
        self.check_whole(ApiCall::Claim(request))?;
        let mut claimed = self.inner.claim_records(request, want).await?;
        for (_, record) in &mut claimed {
            let is_allowed = |record: &Record| {
                let scopes = self.check(ApiCall::Get(&record.entity.key));
                scopes.is_ok_and(|scopes| scopes.covers(&record.entity))
            };
            *record = record.take().filter(is_allowed);
        }
        Ok(claimed)
    }

    /// Asks the guard about the call, and then about each listing.
    ///
    /// Those who may only list must not make the store read very many pages at the same time.
    async fn list_all(&self, lists: &[List]) -> Result<Vec<Page>> {
        self.check_whole(ApiCall::ListAll(lists))?;
        try_join_all(lists.iter().map(|list| self.list(list))).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.check_whole(ApiCall::Renew(tokens))?;
        self.inner.renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.check_whole(ApiCall::Settle(outcomes))?;
        self.inner.settle(outcomes).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()> {
        self.check_whole(ApiCall::Enqueue(&work))?;
        self.inner.enqueue(work).await
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        self.check_whole(ApiCall::CommitPrepared(claim, &step))?;
        self.inner.commit_prepared(claim, step).await
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        self.check_whole(ApiCall::CommitPlaced(claim, &step))?;
        self.inner.commit_placed(claim, step).await
    }

    async fn report(&self, key: &Key, conditions: Vec<Condition>) -> Result<()> {
        self.check_whole(ApiCall::Report(key))?;
        self.inner.report(key, conditions).await
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        self.check_whole(ApiCall::PutShared(key))?;
        self.inner.put_shared(key, value, limits).await
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        self.check_whole(ApiCall::GetShared(key))?;
        self.inner.get_shared(key, age).await
    }
}
