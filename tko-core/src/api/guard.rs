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
///
/// A guard is asked before each call, in the task of the caller, and cannot await: keep the check
/// short, and load what it needs beforehand. It is shared by all callers, and can be called from
/// many threads at once. It does not see the result of a call.
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
///
/// It borrows the arguments that say what the call is about. Others are left out, such as the
/// package of an update, the duration of a modification, or the parts that a read wants.
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
///
/// It lets a guard decide about whole groups of calls, including methods that are added later.
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
    ///
    /// It is fit for messages and audit logs. A call that stands for several methods has one name:
    /// each deployment of [`DataApi::create_deployments`] is `create_deployment`, and
    /// [`DataApi::pages`] is `list`.
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
    ///
    /// [`DataApi::watch`] is a read. Starting a modification is a write, because it excludes
    /// other people.
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
///
/// It implements [`DataApi`] if the inner API does, and [`WorkerApi`] likewise. The guard is asked
/// before the inner API sees the call, so a refused call has no effect there.
///
/// Streams are checked when they are requested, not for each item: a watch goes on even if the
/// guard would refuse it later. To revoke access, also close the connection.
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

    /// Asks the guard about a call of the present caller.
    fn check(&self, call: ApiCall<'_>) -> Result<()> {
        self.guard.check(self.caller.as_ref(), call)
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

    /// Asks the guard about each deployment, and creates those that it lets pass.
    ///
    /// The results are in the order of `new`: for a refused deployment, the error of the guard. So
    /// one refusal does not stop the others.
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

    /// Asks the guard once, before the first page.
    ///
    /// A refusal is the only item of the stream, because the method itself cannot fail.
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

    /// Asks the guard once, before the first event.
    ///
    /// A refusal is the only item of the stream, as for `pages`.
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

/// Each method asks the guard first, and then makes the call.
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
