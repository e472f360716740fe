//! The interfaces that integrators implement: validators, preparers, schedulers, and executors.
//!
//! A controller treats native handlers and plugins alike. It finds them in a
//! [`Registry`](crate::Registry) by the kind of resource that triggers them.

use crate::api::{DataApi, Effect, NewPlugin};
use crate::builder::chainable;
use crate::clock::Ids;
use crate::entity::{Condition, Record};
use crate::error::{Error, Result, Violation};
use crate::hash::ContentHash;
use crate::id::{Key, PluginType, SiteId};
use crate::package::Package;
use crate::resource::{Gvk, Identifier, Resource};
use crate::subscription::Subscription;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The check that every package and every plugin passes before it is stored.
///
/// [`Store`](crate::Store) calls it before every commit of a body and every registration of a
/// plugin, and cannot be built without one.
/// The crate `tko-validate` makes one from a registry of [`Validator`]s.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Returns every violation; an empty list admits the package. If `complete`, nothing may be
    /// missing.
    ///
    /// # Errors
    /// Any error: the package could not be checked, and is refused.
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>>;

    /// Checks a plugin before it is stored. By default every plugin is admitted.
    ///
    /// # Errors
    /// Any error: the plugin is refused.
    async fn admit_plugin(&self, plugin: &NewPlugin) -> Result<()> {
        let _ = plugin;
        Ok(())
    }
}

/// Validates the kinds of resource that it is registered for.
#[async_trait]
pub trait Validator: Send + Sync + 'static {
    /// Returns every violation. It gets the whole package, so it can check across resources. If
    /// `complete`, nothing may be missing.
    ///
    /// # Errors
    /// Any error: the resource could not be checked, and the package is refused.
    async fn validate(
        &self,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>>;

    /// Whether every call ends by itself, within limits of its own, as calls of plugins do. By
    /// default it does not.
    ///
    /// The admission then sets no time limit. A call may first wait for a free process, for at most
    /// its time limit again.
    fn limits_itself(&self) -> bool {
        false
    }
}

/// The arguments of [`Preparer::prepare`].
#[non_exhaustive]
pub struct PrepareCall<'a> {
    /// The deployment, with its package.
    pub deployment: &'a Record,
    /// The whole package of the deployment. It may have changes that are not committed yet.
    pub package: &'a Package,
    /// The resource that triggered the call.
    pub target: &'a Identifier,
    /// The resources that are still to be prepared, in package order, including the target unless
    /// it is already prepared. A preparer that copies other resources elsewhere waits for them.
    pub pending: &'a [Identifier],
    /// The progress of the last [`Answer::More`] for this target, if the package has not changed
    /// since.
    pub progress: Option<&'a Value>,
    /// The API to read from.
    pub data: &'a dyn DataApi,
    /// The generator of ids for new deployments.
    pub ids: &'a dyn Ids,
}

impl<'a> PrepareCall<'a> {
    /// A call for one resource of a deployment, without progress.
    ///
    /// The package is the deployment's whole package, and `pending` the target alone.
    pub fn new(
        deployment: &'a Record,
        package: &'a Package,
        target: &'a Identifier,
        data: &'a dyn DataApi,
        ids: &'a dyn Ids,
    ) -> Self {
        Self {
            deployment,
            package,
            target,
            pending: std::slice::from_ref(target),
            progress: None,
            data,
            ids,
        }
    }

    chainable! {
        /// Sets the package.
        package: &'a Package;
        /// Sets the resources that are still to be prepared.
        pending: &'a [Identifier];
        /// Sets the progress of the last call.
        progress: into Option<&'a Value>;
    }
}

/// The result of [`Preparer::prepare`].
#[derive(Debug)]
pub enum Answer {
    /// Commit a new package together with at most [`MAX_EFFECTS`](crate::api::MAX_EFFECTS) effects.
    ///
    /// The target is prepared once it is annotated with `nephio.org/prepared: "true"`, or is gone
    /// from the package; otherwise the preparer is called again.
    Done {
        /// The whole new package.
        package: Package,
        /// Changes of other entities.
        effects: Vec<Effect>,
    },
    /// Commit at most [`MAX_EFFECTS`](crate::api::MAX_EFFECTS) effects together with this progress,
    /// then call the preparer again.
    More {
        /// Changes of other entities.
        effects: Vec<Effect>,
        /// The preparer's own state; at most [`MAX_PROGRESS`](crate::work::MAX_PROGRESS) bytes.
        progress: Value,
    },
    /// The target cannot be prepared yet.
    NotYet {
        /// The reason for the wait, as text for people; it becomes a condition of the deployment.
        reason: String,
        /// The entities whose change ends the wait; if there are none, the preparer is called again
        /// after a pause.
        waits_for: Vec<Subscription>,
    },
}

/// Prepares the kinds of resource that it is registered for.
///
/// A preparer may read anything through the API, but changes nothing itself. It *returns* its
/// changes of other entities as effects, which are committed together with its package.
#[async_trait]
pub trait Preparer: Send + Sync + 'static {
    /// Prepares the target.
    ///
    /// # Errors
    /// Any error is shown in the deployment's conditions, and the call is retried later.
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer>;

    /// Returns the persistent subscriptions of this resource: when such an entity changes, the
    /// preparer is called again although the resource is prepared. By default there are none.
    fn tracks(&self, package: &Package, target: &Resource) -> Vec<Subscription> {
        let _ = (package, target);
        Vec::new()
    }

    /// The identity of a pure preparer's code and configuration; `None`, the default, if the
    /// preparer is not pure.
    ///
    /// The answer of a pure preparer depends only on this identity, the target, and the package
    /// without the Deployment resource; it has no effects. A controller may then answer a call with
    /// the package of an earlier equal call, and calls the preparer without the Deployment
    /// resource.
    async fn pure_identity(&self, call: &PrepareCall<'_>) -> Option<ContentHash> {
        let _ = call;
        None
    }

    /// Whether the answer for the target may depend on one of these effects of other resources. By
    /// default it may.
    ///
    /// A controller commits several answers together. It calls a preparer that may depend on their
    /// effects after the commit, so the preparer finds the entities through the API.
    fn depends_on(&self, target: &Resource, effects: &[Effect]) -> bool {
        let _ = (target, effects);
        true
    }

    /// Whether the resource is prepared by another resource's preparer. This preparer is then never
    /// called; it only makes an explicit `nephio.org/prepare: Here` on the resource legitimate.
    fn is_passive(&self) -> bool {
        false
    }

    /// Whether every call ends by itself, within limits of its own, as calls of plugins do. By
    /// default it does not.
    ///
    /// The controller then sets no time limit. A call may first wait for a free process, for at most
    /// its time limit again. Every wait must have such a limit: a call occupies one of the
    /// controller's places.
    fn limits_itself(&self) -> bool {
        false
    }
}

/// The arguments of [`Scheduler::schedule`].
#[non_exhaustive]
pub struct ScheduleCall<'a> {
    /// The site to bring up to date, with its package. In the last call for a resource that has
    /// left the package, the package has this resource, as it was.
    pub site: &'a Record,
    /// The resource of the site's package that triggered the call; `None` if the scheduler is called
    /// for every site.
    pub target: Option<&'a Identifier>,
    /// The prepared and approved deployments that should run on the site, with packages, in key
    /// order.
    pub wanted: &'a [Record],
    /// The deployments to take off the site, with packages, in key order.
    pub removed: &'a [Record],
    /// Whether this is the last call for the target: the site is being deleted, or the target has
    /// left its package. Then nothing is wanted, and everything that the scheduler made for the
    /// target is to be removed.
    pub last: bool,
    /// A number that rises with every call for this site, so the site can reject an earlier call.
    pub fence: u64,
    /// Where the scheduler [reports](Self::report) conditions.
    reports: Option<&'a ScheduleReports>,
}

impl<'a> ScheduleCall<'a> {
    /// A call for a site without deployments. It is the last one if the site is being deleted.
    pub fn new(site: &'a Record, fence: u64) -> Self {
        Self {
            site,
            target: None,
            wanted: &[],
            removed: &[],
            last: site.entity.deleting,
            fence,
            reports: None,
        }
    }

    /// Reports a condition of the site or of one of its deployments, such as whether the objects of
    /// the deployment are ready.
    ///
    /// It is stored even if the call fails. A later report of the same kind replaces an earlier
    /// one. The controller ignores keys that are not in this call, and the kinds of condition that
    /// it writes itself. If the call was made without a collector of reports, all are ignored.
    pub fn report(&self, key: &Key, condition: Condition) {
        if let Some(reports) = self.reports {
            reports.add(key, condition);
        }
    }

    chainable! {
        /// Sets the resource that triggered the call.
        target: into Option<&'a Identifier>;
        /// Sets the deployments that should run on the site.
        wanted: &'a [Record];
        /// Sets the deployments to take off the site.
        removed: &'a [Record];
        /// Sets whether this is the last call for the target.
        last: bool;
        /// Sets where reported conditions are collected.
        reports: into Option<&'a ScheduleReports>;
    }
}

/// The conditions that schedulers [reported](ScheduleCall::report) in their calls for one site.
#[derive(Debug, Default)]
pub struct ScheduleReports(Mutex<BTreeMap<Key, BTreeMap<String, Condition>>>);

impl ScheduleReports {
    fn add(&self, key: &Key, condition: Condition) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.entry(key.clone()).or_default();
        of.insert(condition.kind.clone(), condition);
    }

    /// The conditions of an entity, one of each kind, in the order of their kinds.
    pub fn of(&self, key: &Key) -> Vec<Condition> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.get(key);
        of.map(|kinds| kinds.values().cloned().collect())
            .unwrap_or_default()
    }
}

/// Brings a site to the state that its deployments require.
///
/// A scheduler with a trigger is called as long as the site's package has such a resource. When the
/// resource leaves the package, the scheduler gets a [last call](ScheduleCall::last) with all
/// deployments of the site in `removed`, until the call succeeds. So nothing stays behind that the
/// scheduler placed.
///
/// The controller knows schedulers by their names. A scheduler that is registered under another
/// name counts as another one, and the first one as missing: deployments are then not reported as
/// removed until it is back, or is abandoned.
#[async_trait]
pub trait Scheduler: Send + Sync + 'static {
    /// Brings the site up to date and returns conditions for it. Must be idempotent: it is called
    /// again after any failure.
    ///
    /// # Errors
    /// Any error is shown in the site's conditions, and the call is retried later.
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>>;

    /// Returns the given sites of which the target of this scheduler has nothing, for example
    /// because the target was changed or lost.
    ///
    /// A scheduling controller asks its schedulers of every site once after a start, for one page
    /// of scheduled sites at a time. It schedules the returned sites at once, not when they are next
    /// due. Answer quickly, and leave out a site if in doubt. By default no site is returned.
    async fn lost_sites(&self, sites: &[SiteId]) -> Vec<SiteId> {
        let _ = sites;
        Vec::new()
    }

    /// Whether the scheduler does nothing with resources of this kind in deployments. By default it
    /// may use every kind.
    ///
    /// If all schedulers of a site ignore the kind of Helm charts, the condition of a deployment with
    /// a chart says so. Answer `false` if in doubt.
    fn ignores(&self, kind: &Gvk) -> bool {
        let _ = kind;
        false
    }

    /// Whether every call ends by itself, within limits of its own, as calls of plugins do. By
    /// default it does not.
    ///
    /// The controller then sets no time limit. A call may first wait for a free process, for at most
    /// its time limit again. Every wait must have such a limit: a call occupies one of the
    /// controller's places.
    fn limits_itself(&self) -> bool {
        false
    }
}

/// Makes handlers from registered plugins.
///
/// Each method makes a handler of one plugin type. By default it refuses, so an executor implements
/// only the types that it can run.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// The name by which plugins choose this executor, such as `command`.
    fn name(&self) -> &str;

    /// Makes a preparer from a `prepare` plugin.
    ///
    /// # Errors
    /// - `BadArgument`: the plugin's arguments or properties do not suit this executor.
    /// - `NotImplemented`: the executor does not run plugins of this type.
    fn preparer(&self, plugin: &Record) -> Result<Arc<dyn Preparer>> {
        Err(unsupported(self.name(), plugin, PluginType::Prepare))
    }

    /// Makes a scheduler from a `schedule` plugin.
    ///
    /// # Errors
    /// As [`preparer`](Self::preparer).
    fn scheduler(&self, plugin: &Record) -> Result<Arc<dyn Scheduler>> {
        Err(unsupported(self.name(), plugin, PluginType::Schedule))
    }

    /// Makes a validator from a `validate` plugin.
    ///
    /// # Errors
    /// As [`preparer`](Self::preparer).
    fn validator(&self, plugin: &Record) -> Result<Arc<dyn Validator>> {
        Err(unsupported(self.name(), plugin, PluginType::Validate))
    }

    /// Releases everything that the executor holds, such as processes and connections.
    ///
    /// The process calls it once at shutdown, after the last call of its handlers has ended. By
    /// default it does nothing.
    async fn close(&self) {}
}

fn unsupported(executor: &str, plugin: &Record, wanted: PluginType) -> Error {
    let plugin = &plugin.entity.key;
    Error::NotImplemented(
        format!(
            "executor {executor:?} does not run {wanted} plugins; change the executor of {plugin}"
        )
        .into(),
    )
}
