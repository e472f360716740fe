//! A correct API behind a wrapper with one fault.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tko_core::api::About;
use tko_core::change::FeedPosition;
use tko_core::{
    Admission, Bulk, Caller, ChangeRecord, Claim, ClaimRequest, Count, DataApi, DeploymentId,
    Enqueue, EntityUpdate, Event, Generation, Key, Lane, List, MAX_CHANGES, Modification,
    NewDeployment, NewPlugin, NewSite, NewTemplate, Outcome, Package, Page, PrepareStep, Record,
    Result, Revision, ScheduleStep, Select, Stage, Token, Version, Violation, Want, Watch,
    WorkerApi,
};

/// An admission that may accept too much or too little.
pub(crate) struct Lenient {
    strict: Arc<dyn Admission>,
    fault: &'static str,
}

impl Lenient {
    pub(crate) fn new(strict: Arc<dyn Admission>, fault: &'static str) -> Self {
        Self { strict, fault }
    }
}

#[async_trait]
impl Admission for Lenient {
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>> {
        let complete = match self.fault {
            "all packages must be complete" => true,
            "no package must be complete" => false,
            _ => complete,
        };
        let mut violations = self.strict.admit(package, complete).await?;
        match self.fault {
            "no package is validated" => violations.clear(),
            "one violation is reported" => violations.truncate(1),
            _ => {}
        }
        Ok(violations)
    }
}

pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn WorkerApi>,
    fault: &'static str,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn WorkerApi>, fault: &'static str) -> Self {
        Self { inner, fault }
    }

    /// The API of this caller, with the same fault.
    fn acting_for(&self, caller: Caller) -> Arc<Self> {
        let inner = self.inner.clone();
        let inner = if self.is("callers are not named") {
            inner
        } else {
            inner.worker_with_caller(caller)
        };
        Arc::new(Self::new(inner, self.fault))
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
        self.inner.about().await
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        self.broken_template(new).await
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        self.broken_site(new).await
    }

    async fn register_plugin(&self, mut new: NewPlugin) -> Result<Version> {
        if self.is("arguments are lost") {
            new.arguments.clear();
        }
        if self.is("an executor may be empty") && new.executor.is_empty() {
            new.executor.push('?');
        }
        self.inner.register_plugin(new).await
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        self.broken_creation(new).await
    }

    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        let mut made = self.inner.create_deployments(new).await;
        if self.is("many answers are reversed") {
            made.reverse();
        }
        if self.is("the first refusal ends many creations") {
            let refused = made.iter().position(Result::is_err);
            made.truncate(refused.map_or(made.len(), |at| at + 1));
        }
        made
    }

    async fn get(&self, key: &Key, want: Want) -> Result<Record> {
        self.broken_get(key, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.broken_list(list).await
    }

    async fn count(&self, select: &Select, mut bound: u64, want: Want) -> Result<Count> {
        if self.is("counts have no bound") {
            bound = u64::MAX;
        }
        self.inner.count(&self.selected(select), bound, want).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.broken_delete(key).await
    }

    async fn delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        self.broken_delete_at(key, expect).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        let mut select = select.clone();
        if self.is("a purge ignores metadata filters") {
            select.metadata.clear();
        }
        let mut bulk = self.inner.purge(&select).await?;
        if self.is("a purge reports no skipped entities") {
            bulk.skipped.clear();
        }
        Ok(bulk)
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
        let expect = match self.inner.get(&id.into(), Want::ROW).await {
            Ok(record) if self.is("updates ignore versions") => record.entity.version,
            _ => expect,
        };
        let version = self.inner.update(id, expect, package).await?;
        if self.is("every update makes the site due") {
            let row = self.inner.get(&id.into(), Want::ROW).await?.entity;
            let site = row
                .deployment()
                .and_then(|deployment| deployment.site.clone());
            let mark = site.map(|site| Enqueue::now(Stage::Schedule, site, Lane::new(0)));
            self.inner.enqueue(mark.into_iter().collect()).await?;
        }
        Ok(version)
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        let mut edit = self.inner.start_modification(id, ttl).await?;
        if self.is("a modification ends at once") {
            self.inner.cancel_modification(&edit.token).await?;
        }
        if self.is("a modification shows no package") {
            edit.record.package = Some(Package::default());
        }
        Ok(edit)
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        self.broken_end(token, package).await
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        if self.is("a cancellation has no effect") {
            return Ok(());
        }
        self.inner.cancel_modification(token).await
    }

    async fn update_entity(&self, mut update: EntityUpdate) -> Result<Version> {
        if self.is("metadata do not change") {
            update.metadata = None;
        }
        self.inner.update_entity(update).await
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
        let mut history = self.inner.history(key, before, limit).await?;
        if self.is("history is oldest first") {
            history.reverse();
        }
        if self.is("causes are all the same") {
            for change in &mut history {
                change.cause = Some("changed".into());
            }
        }
        Ok(history)
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

    async fn enqueue(&self, marks: Vec<Enqueue>) -> Result<()> {
        if self.is("enqueue has no effect") {
            return Ok(());
        }
        if self.is("enqueue takes any number") {
            for some in marks.chunks(MAX_CHANGES) {
                self.inner.enqueue(some.to_vec()).await?;
            }
            return Ok(());
        }
        self.inner.enqueue(marks).await
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        self.broken_preparation(claim, step).await
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        self.broken_placement(claim, step).await
    }
}
