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
    EntityUpdate, NewDeployment, NewPlugin, NewSite, NewTemplate, PrepareStep, ScheduleStep, Watch,
};
use crate::caller::Caller;
use crate::error::Result;
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key, Kind};
use crate::role::words;
use crate::scope::Scope;
use crate::select::{List, Select};
use crate::work::{ClaimRequest, Enqueue, Outcome, Token};
use std::sync::Arc;

/// Decides about each call before it is made.
///
/// A guard is asked before each call, in the task of the caller, and cannot await. Keep the check
/// short, and load what it needs beforehand. All callers share the guard, and many threads can call
/// it at once. It does not see the result of a call.
pub trait Guard: Send + Sync + 'static {
    /// Refuses a call by returning an error; the call is then not made, and its caller gets the
    /// error.
    ///
    /// `caller` is the caller passed to [`DataApi::with_caller`](super::DataApi::with_caller), if
    /// any.
    ///
    /// # Errors
    /// - `Forbidden`, usually: this caller may not make this call.
    fn check(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> Result<()>;

    /// Refuses a call, or restricts it to the entities that any of the returned scopes covers. No
    /// scopes mean no restriction, which is the default.
    ///
    /// [`Guarded`](super::Guarded) applies the scopes: it narrows selections, and reads the entity
    /// that a call is about before it makes the call.
    ///
    /// # Errors
    /// As [`Guard::check`].
    fn scopes(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> Result<Vec<Arc<Scope>>> {
        self.check(caller, call).map(|()| Vec::new())
    }
}

/// One call of the API, with its arguments.
///
/// It borrows the arguments that identify the subject of the call. Others are left out, such as the
/// package of an update, the duration of a modification, or the parts that a read wants.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ApiCall<'a> {
    /// [`DataApi::about`](super::DataApi::about).
    About,
    /// [`DataApi::register_template`](super::DataApi::register_template).
    RegisterTemplate(&'a NewTemplate),
    /// [`DataApi::register_site`](super::DataApi::register_site).
    RegisterSite(&'a NewSite),
    /// [`DataApi::register_plugin`](super::DataApi::register_plugin).
    RegisterPlugin(&'a NewPlugin),
    /// [`DataApi::create_deployment`](super::DataApi::create_deployment); also each deployment of [`DataApi::create_deployments`](super::DataApi::create_deployments).
    CreateDeployment(&'a NewDeployment),
    /// [`DataApi::get`](super::DataApi::get).
    Get(&'a Key),
    /// [`DataApi::list`](super::DataApi::list); also [`DataApi::pages`](super::DataApi::pages), once for all pages.
    List(&'a List),
    /// [`DataApi::count`](super::DataApi::count).
    Count(&'a Select),
    /// [`DataApi::delete`](super::DataApi::delete); also [`DataApi::delete_at`](super::DataApi::delete_at).
    Delete(&'a Key),
    /// [`DataApi::purge`](super::DataApi::purge).
    Purge(&'a Select),
    /// [`DataApi::approve`](super::DataApi::approve).
    Approve(&'a Select),
    /// [`DataApi::update`](super::DataApi::update).
    Update(&'a DeploymentId),
    /// [`DataApi::update_entity`](super::DataApi::update_entity).
    UpdateEntity(&'a EntityUpdate),
    /// [`DataApi::start_modification`](super::DataApi::start_modification).
    StartModification(&'a DeploymentId),
    /// [`DataApi::end_modification`](super::DataApi::end_modification).
    EndModification(&'a Token),
    /// [`DataApi::cancel_modification`](super::DataApi::cancel_modification).
    CancelModification(&'a Token),
    /// [`DataApi::retry`](super::DataApi::retry).
    Retry(&'a Key),
    /// [`DataApi::feed_position`](super::DataApi::feed_position).
    FeedPosition,
    /// [`DataApi::watch`](super::DataApi::watch).
    Watch(&'a Watch),
    /// [`DataApi::history`](super::DataApi::history).
    History(&'a Key),
    /// [`DataApi::changes`](super::DataApi::changes).
    Changes,
    /// [`WorkerApi::claim`](super::WorkerApi::claim).
    Claim(&'a ClaimRequest),
    /// [`WorkerApi::list_all`](super::WorkerApi::list_all); each of its listings is a [`List`](Self::List), too.
    ListAll(&'a [List]),
    /// [`WorkerApi::renew`](super::WorkerApi::renew).
    Renew(&'a [Token]),
    /// [`WorkerApi::settle`](super::WorkerApi::settle).
    Settle(&'a [(Token, Outcome)]),
    /// [`WorkerApi::enqueue`](super::WorkerApi::enqueue).
    Enqueue(&'a [Enqueue]),
    /// [`WorkerApi::commit_prepared`](super::WorkerApi::commit_prepared).
    CommitPrepared(&'a Token, &'a PrepareStep),
    /// [`WorkerApi::commit_placed`](super::WorkerApi::commit_placed).
    CommitPlaced(&'a Token, &'a ScheduleStep),
    /// [`WorkerApi::report`](super::WorkerApi::report).
    Report(&'a Key),
    /// [`WorkerApi::put_shared`](super::WorkerApi::put_shared).
    PutShared(ContentHash),
    /// [`WorkerApi::get_shared`](super::WorkerApi::get_shared).
    GetShared(ContentHash),
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
    /// It is a call of [`WorkerApi`](super::WorkerApi).
    Work,
}

impl ApiCall<'_> {
    /// The name of the method, such as `register_template`.
    ///
    /// It is suitable for messages and audit logs. A call that stands for several methods has one
    /// name: each deployment of [`DataApi::create_deployments`](super::DataApi::create_deployments)
    /// is `create_deployment`, and [`DataApi::pages`](super::DataApi::pages) is `list`.
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
            Self::UpdateEntity(_) => "update_entity",
            Self::StartModification(_) => "start_modification",
            Self::EndModification(_) => "end_modification",
            Self::CancelModification(_) => "cancel_modification",
            Self::Retry(_) => "retry",
            Self::FeedPosition => "feed_position",
            Self::Watch(_) => "watch",
            Self::History(_) => "history",
            Self::Changes => "changes",
            Self::Claim(_) => "claim",
            Self::ListAll(_) => "list_all",
            Self::Renew(_) => "renew",
            Self::Settle(_) => "settle",
            Self::Enqueue(_) => "enqueue",
            Self::CommitPrepared(..) => "commit_prepared",
            Self::CommitPlaced(..) => "commit_placed",
            Self::Report(_) => "report",
            Self::PutShared(_) => "put_shared",
            Self::GetShared(_) => "get_shared",
        }
    }

    /// The kind of the entity or selection that the call is about, if it has one.
    pub fn subject_kind(self) -> Option<Kind> {
        match self {
            Self::Get(key) | Self::Delete(key) | Self::History(key) | Self::Retry(key) => {
                Some(key.kind())
            }
            Self::UpdateEntity(update) => Some(update.key.kind()),
            Self::List(list) => Some(list.select.kind),
            Self::Count(select) | Self::Purge(select) | Self::Approve(select) => Some(select.kind),
            Self::Watch(watch) => Some(watch.select.kind),
            Self::RegisterTemplate(_) => Some(Kind::Template),
            Self::RegisterSite(_) => Some(Kind::Site),
            Self::RegisterPlugin(_) => Some(Kind::Plugin),
            Self::CreateDeployment(_)
            | Self::Update(_)
            | Self::StartModification(_)
            | Self::EndModification(_)
            | Self::CancelModification(_) => Some(Kind::Deployment),
            Self::About
            | Self::FeedPosition
            | Self::Changes
            | Self::Claim(_)
            | Self::ListAll(_)
            | Self::Renew(_)
            | Self::Settle(_)
            | Self::Enqueue(_)
            | Self::CommitPrepared(..)
            | Self::CommitPlaced(..)
            | Self::Report(_)
            | Self::PutShared(_)
            | Self::GetShared(_) => None,
        }
    }

    /// The call in words for people, with the entity or kind that it is about: `read the history of
    /// site lab/1`.
    pub fn description(self) -> String {
        let words = words(self.name());
        match self.subject() {
            Some(subject) => format!("{words} {subject}"),
            None => words.to_owned(),
        }
    }

    /// The entity or the kind that the call is about, for messages.
    fn subject(self) -> Option<String> {
        let key = match self {
            Self::Get(key)
            | Self::Delete(key)
            | Self::History(key)
            | Self::Retry(key)
            | Self::Report(key) => key.clone(),
            Self::UpdateEntity(update) => update.key.clone(),
            Self::RegisterTemplate(new) => Key::from(&new.id),
            Self::RegisterSite(new) => Key::from(&new.id),
            Self::RegisterPlugin(new) => Key::from(&new.id),
            Self::Update(id) | Self::StartModification(id) => Key::from(id),
            Self::EndModification(token) | Self::CancelModification(token) => token.key.clone(),
            // The words of the call name the deployment.
            Self::CreateDeployment(_) => return None,
            _ => return self.subject_kind().map(|kind| format!("{kind}s")),
        };
        Some(key.to_string())
    }

    /// Whether the call reads, writes, or is a worker's call.
    ///
    /// [`DataApi::watch`](super::DataApi::watch) is a read. Starting a modification is a write, because it excludes
    /// other people.
    pub fn kind(self) -> CallKind {
        match self {
            Self::About
            | Self::Get(_)
            | Self::List(_)
            | Self::Count(_)
            | Self::FeedPosition
            | Self::Watch(_)
            | Self::History(_)
            | Self::Changes => CallKind::Read,
            Self::RegisterTemplate(_)
            | Self::RegisterSite(_)
            | Self::RegisterPlugin(_)
            | Self::CreateDeployment(_)
            | Self::Delete(_)
            | Self::Purge(_)
            | Self::Approve(_)
            | Self::Update(_)
            | Self::UpdateEntity(_)
            | Self::StartModification(_)
            | Self::EndModification(_)
            | Self::CancelModification(_)
            | Self::Retry(_) => CallKind::Write,
            Self::Claim(_)
            | Self::ListAll(_)
            | Self::Renew(_)
            | Self::Settle(_)
            | Self::Enqueue(_)
            | Self::CommitPrepared(..)
            | Self::CommitPlaced(..)
            | Self::Report(_)
            | Self::PutShared(_)
            | Self::GetShared(_) => CallKind::Work,
        }
    }
}
