//! A wrapper that asks a guard before each call of the API.
//!
//! A guard sees every call with its caller, and refuses it or lets it pass. That is enough for a
//! read-only replica, roles, quotas and audit logs:
//!
//! ```
//! use std::sync::Arc;
//! use tko_core::api::{ApiCall, CallKind, Guard, Guarded};
//! use tko_core::{Caller, DataApi, Error, Result};
//!
//! /// Lets nobody write but callers with the role `operator`.
//! struct ReadOnly;
//!
//! impl Guard for ReadOnly {
//!     fn check(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
//!         let operator = caller.is_some_and(|caller| caller.has_role("operator"));
//!         if call.kind() == CallKind::Read || operator {
//!             return Ok(());
//!         }
//!         let message = format!("{} needs the role \"operator\"", call.name());
//!         Err(Error::Forbidden(message))
//!     }
//! }
//!
//! fn read_only(data: Arc<dyn DataApi>) -> Arc<dyn DataApi> {
//!     Arc::new(Guarded::new(data, ReadOnly))
//! }
//! ```

use super::{
    About, Bulk, DataApi, Event, NewDeployment, NewPlugin, NewSite, NewTemplate, PrepareStep,
    ScheduleStep, Watch, WorkerApi,
};
use crate::caller::Caller;
use crate::change::{ChangeRecord, FeedPosition, Modification};
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{DeploymentId, Key};
use crate::package::Package;
use crate::revision::{Generation, Revision, Version};
use crate::select::{Count, List, Page, Select};
use crate::work::{Claim, ClaimRequest, Enqueue, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;

/// Decides about each call before it is made.
pub trait Guard: Send + Sync + 'static {
    /// Refuses a call by returning an error; the call is then not made, and its caller gets the
    /// error.
    ///
    /// `caller` is the one given to [`DataApi::with_caller`], if any.
    ///
    /// # Errors
    /// - `Forbidden`, usually: this caller may not make this call.
    fn check(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> Result<()>;
}

/// One call of the API, with its arguments.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ApiCall<'a> {
    /// [`DataApi::about`].
    About,
    /// [`DataApi::register_template`].
    RegisterTemplate(&'a NewTemplate),
    /// [`DataApi::register_site`].
    RegisterSite(&'a NewSite),
    /// [`DataApi::register_plugin`].
    RegisterPlugin(&'a NewPlugin),
    /// [`DataApi::create_deployment`]; also each deployment of [`DataApi::create_deployments`].
    CreateDeployment(&'a NewDeployment),
    /// [`DataApi::get`].
    Get(&'a Key),
    /// [`DataApi::list`]; also [`DataApi::pages`], once for all pages.
    List(&'a List),
    /// [`DataApi::count`].
    Count(&'a Select),
    /// [`DataApi::delete`].
    Delete(&'a Key),
    /// [`DataApi::purge`].
    Purge(&'a Select),
    /// [`DataApi::approve`].
    Approve(&'a Select),
    /// [`DataApi::update`].
    Update(&'a DeploymentId),
    /// [`DataApi::start_modification`].
    StartModification(&'a DeploymentId),
    /// [`DataApi::end_modification`].
    EndModification(&'a Token),
    /// [`DataApi::cancel_modification`].
    CancelModification(&'a Token),
    /// [`DataApi::feed_position`].
    FeedPosition,
    /// [`DataApi::watch`].
    Watch(&'a Watch),
    /// [`DataApi::history`].
    History(&'a Key),
    /// [`WorkerApi::claim`].
    Claim(&'a ClaimRequest),
    /// [`WorkerApi::renew`].
    Renew(&'a [Token]),
    /// [`WorkerApi::settle`].
    Settle(&'a [(Token, Outcome)]),
    /// [`WorkerApi::enqueue`].
    Enqueue(&'a [Enqueue]),
    /// [`WorkerApi::commit_prepared`].
    CommitPrepared(&'a Token, &'a PrepareStep),
    /// [`WorkerApi::commit_placed`].
    CommitPlaced(&'a Token, &'a ScheduleStep),
}

/// The kind of an [`ApiCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// It changes nothing.
    Read,
    /// It changes entities, for people and programs.
    Write,
    /// It is one of [`WorkerApi`].
    Work,
}

impl ApiCall<'_> {
    /// The name of the method, such as `register_template`.
    pub fn name(self) -> &'static str {
        match self {
            Self::About => "about",
            Self::RegisterTemplate(_) => "register_template",
            Self::RegisterSite(_) => "register_site",
            Self::RegisterPlugin(_) => "register_plugin",
            Self::CreateDeployment(_) => "create_deployment",
            Self::Get(_) => "get",
            Self::List(_) => "list",
            Self::Count(_) => "count",
            Self::Delete(_) => "delete",
            Self::Purge(_) => "purge",
            Self::Approve(_) => "approve",
            Self::Update(_) => "update",
            Self::StartModification(_) => "start_modification",
            Self::EndModification(_) => "end_modification",
            Self::CancelModification(_) => "cancel_modification",
            Self::FeedPosition => "feed_position",
            Self::Watch(_) => "watch",
            Self::History(_) => "history",
            Self::Claim(_) => "claim",
            Self::Renew(_) => "renew",
            Self::Settle(_) => "settle",
            Self::Enqueue(_) => "enqueue",
            Self::CommitPrepared(..) => "commit_prepared",
            Self::CommitPlaced(..) => "commit_placed",
        }
    }

    /// Whether it reads, writes, or is a worker's call.
    pub fn kind(self) -> CallKind {
        match self {
            Self::About
            | Self::Get(_)
            | Self::List(_)
            | Self::Count(_)
            | Self::FeedPosition
            | Self::Watch(_)
            | Self::History(_) => CallKind::Read,
            Self::RegisterTemplate(_)
            | Self::RegisterSite(_)
            | Self::RegisterPlugin(_)
            | Self::CreateDeployment(_)
            | Self::Delete(_)
            | Self::Purge(_)
            | Self::Approve(_)
            | Self::Update(_)
            | Self::StartModification(_)
            | Self::EndModification(_)
            | Self::CancelModification(_) => CallKind::Write,
            Self::Claim(_)
            | Self::Renew(_)
            | Self::Settle(_)
            | Self::Enqueue(_)
            | Self::CommitPrepared(..)
            | Self::CommitPlaced(..) => CallKind::Work,
        }
    }
}

/// An API that makes only the calls that its guard lets pass.
pub struct Guarded<D: ?Sized> {
    guard: Arc<dyn Guard>,
    caller: Option<Caller>,
    inner: Arc<D>,
}

impl<D: ?Sized> Guarded<D> {
    /// Puts `guard` before `inner`.
    pub fn new(inner: Arc<D>, guard: impl Guard) -> Self {
        Self {
            guard: Arc::new(guard),
            caller: None,
            inner,
        }
    }

    fn check(&self, call: ApiCall<'_>) -> Result<()> {
        self.guard.check(self.caller.as_ref(), call)
    }

    fn around<T: ?Sized>(&self, inner: Arc<T>, caller: Caller) -> Guarded<T> {
        Guarded {
            guard: self.guard.clone(),
            caller: Some(caller),
            inner,
        }
    }
}

#[async_trait]
impl<D: DataApi + ?Sized> DataApi for Guarded<D> {
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi> {
        let inner = self.inner.clone().with_caller(caller.clone());
        Arc::new(self.around(inner, caller))
    }

    async fn about(&self) -> Result<About> {
        self.check(ApiCall::About)?;
        self.inner.about().await
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        self.check(ApiCall::RegisterTemplate(&new))?;
        self.inner.register_template(new).await
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        self.check(ApiCall::RegisterSite(&new))?;
        self.inner.register_site(new).await
    }

    async fn register_plugin(&self, new: NewPlugin) -> Result<Version> {
        self.check(ApiCall::RegisterPlugin(&new))?;
        self.inner.register_plugin(new).await
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        self.check(ApiCall::CreateDeployment(&new))?;
        self.inner.create_deployment(new).await
    }

    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        let mut passed = Vec::with_capacity(new.len());
        let mut refused = Vec::with_capacity(new.len());
        for one in new {
            let refusal = self.check(ApiCall::CreateDeployment(&one)).err();
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
        self.check(ApiCall::Get(key))?;
        self.inner.get(key, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.check(ApiCall::List(list))?;
        self.inner.list(list).await
    }

    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        match self.check(ApiCall::List(&list)) {
            Ok(()) => self.inner.clone().pages(list),
            Err(refusal) => stream::iter([Err(refusal)]).boxed(),
        }
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        self.check(ApiCall::Count(select))?;
        self.inner.count(select, bound, want).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.check(ApiCall::Delete(key))?;
        self.inner.delete(key).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        self.check(ApiCall::Purge(select))?;
        self.inner.purge(select).await
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        self.check(ApiCall::Approve(select))?;
        self.inner.approve(select).await
    }

    async fn update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        self.check(ApiCall::Update(id))?;
        self.inner.update(id, expect, package).await
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        self.check(ApiCall::StartModification(id))?;
        self.inner.start_modification(id, ttl).await
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        self.check(ApiCall::EndModification(token))?;
        self.inner.end_modification(token, package).await
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        self.check(ApiCall::CancelModification(token))?;
        self.inner.cancel_modification(token).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        self.check(ApiCall::FeedPosition)?;
        self.inner.feed_position().await
    }

    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        match self.check(ApiCall::Watch(&watch)) {
            Ok(()) => self.inner.watch(watch),
            Err(refusal) => stream::iter([Err(refusal)]).boxed(),
        }
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.check(ApiCall::History(key))?;
        self.inner.history(key, before, limit).await
    }
}

#[async_trait]
impl<D: WorkerApi + ?Sized> WorkerApi for Guarded<D> {
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi> {
        let inner = self.inner.clone().worker_with_caller(caller.clone());
        Arc::new(self.around(inner, caller))
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.check(ApiCall::Claim(request))?;
        self.inner.claim(request).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.check(ApiCall::Renew(tokens))?;
        self.inner.renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.check(ApiCall::Settle(outcomes))?;
        self.inner.settle(outcomes).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()> {
        self.check(ApiCall::Enqueue(&work))?;
        self.inner.enqueue(work).await
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        self.check(ApiCall::CommitPrepared(claim, &step))?;
        self.inner.commit_prepared(claim, step).await
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        self.check(ApiCall::CommitPlaced(claim, &step))?;
        self.inner.commit_placed(claim, step).await
    }
}
