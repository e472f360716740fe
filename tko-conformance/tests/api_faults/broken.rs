//! A correct API behind a wrapper with one fault.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tko_core::api::About;
use tko_core::change::FeedPosition;
use tko_core::{
    Bulk, Caller, ChangeRecord, Claim, ClaimRequest, Condition, Count, DataApi, DeploymentId,
    Enqueue, EntityUpdate, Event, Generation, Key, List, Modification, NewDeployment, NewPlugin,
    NewSite, NewTemplate, Outcome, Package, Page, PrepareStep, Record, Result, Revision,
    ScheduleStep, Select, Subscription, Token, Version, Want, Watch, WorkerApi,
};

/// The memory of a fault.
#[derive(Default)]
pub(crate) struct Memo {
    /// Entities that the fault only pretends to have deleted.
    pub(crate) deleted: HashSet<Key>,
    /// The version of each deployment when its last modification started.
    pub(crate) started: HashMap<Key, Version>,
    /// Deployments that any site has reported as removed.
    pub(crate) removed: HashSet<DeploymentId>,
    /// The last subscriptions of each deployment.
    pub(crate) subscriptions: HashMap<DeploymentId, Vec<Subscription>>,
}

pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn WorkerApi>,
    fault: &'static str,
    memo: Arc<Mutex<Memo>>,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn WorkerApi>, fault: &'static str) -> Self {
        Self {
            inner,
            fault,
            memo: Arc::default(),
        }
    }

    /// The API of this caller, with the same fault.
    fn acting_for(&self, caller: Caller) -> Arc<Self> {
        let inner = self.inner.clone();
        let inner = if self.is("callers are not named") {
            inner
        } else {
            inner.worker_with_caller(caller)
        };
        Arc::new(Self {
            inner,
            fault: self.fault,
            memo: self.memo.clone(),
        })
    }

    pub(crate) fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().expect("no fault panics here")
    }

    /// Whether the API has this fault.
    pub(crate) fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl DataApi for Broken {
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi> {
        self.acting_for(caller)
    }

    async fn about(&self) -> Result<About> {
        if self.is("the server has no name") {
            return Ok(About::default());
        }
        self.inner.about().await
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        self.broken_template(new).await
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        self.broken_site(new).await
    }

    async fn register_plugin(&self, new: NewPlugin) -> Result<Version> {
        self.broken_plugin(new).await
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        self.broken_creation(new).await
    }

    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        self.broken_creations(new).await
    }

    async fn get(&self, key: &Key, want: Want) -> Result<Record> {
        self.broken_get(key, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.broken_list(list).await
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        self.broken_count(select, bound, want).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.broken_delete(key).await
    }

    async fn delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        self.broken_delete_at(key, expect).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        self.broken_purge(select).await
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        self.broken_approval(select).await
    }

    async fn update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        self.broken_update(id, expect, package).await
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        self.broken_start(id, ttl).await
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        self.broken_end(token, package).await
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        self.broken_cancel(token).await
    }

    async fn update_entity(&self, update: EntityUpdate) -> Result<Version> {
        self.broken_entity_update(update).await
    }

    async fn retry(&self, key: &Key) -> Result<usize> {
        if self.is("a retry has no effect") {
            return Ok(1);
        }
        self.inner.retry(key).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.inner.feed_position().await
    }

    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        self.broken_watch(watch)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.broken_history(key, before, limit).await
    }
}

#[async_trait]
impl WorkerApi for Broken {
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi> {
        self.acting_for(caller)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.broken_claim(request).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        let renewed = self.inner.renew(tokens, ttl).await?;
        Ok(self.lively(renewed))
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        let settled = self.inner.settle(outcomes).await?;
        Ok(self.lively(settled))
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()> {
        self.broken_enqueue(work).await
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        self.broken_preparation(claim, step).await
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        self.broken_placement(claim, step).await
    }

    async fn report(&self, key: &Key, conditions: Vec<Condition>) -> Result<()> {
        self.inner.report(key, conditions).await
    }
}
