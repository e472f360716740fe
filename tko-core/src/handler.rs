//! The parts that integrators bring: validators, preparers, schedulers, and executors that make
//! them of plugins.
//!
//! A native part and a plugin are the same thing to a controller. Parts are found by GVK in a
//! [`Registry`](crate::Registry).

use crate::api::{DataApi, Effect};
use crate::builder::chainable;
use crate::clock::Ids;
use crate::entity::{Condition, Record};
use crate::error::{Result, Violation};
use crate::package::Package;
use crate::resource::{Identifier, Resource};
use crate::subscription::Subscription;
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

/// Judges whole packages: the one door. [`Store`](crate::Store) asks before every commit of a body
/// and cannot be built without one. `tko-validate` makes one of a registry of [`Validator`]s.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Every violation; none: admitted. `complete`: nothing may be missing.
    ///
    /// # Errors
    /// It could not be judged, which is not a pass.
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>>;
}

/// Judges the resources that it is registered for.
#[async_trait]
pub trait Validator: Send + Sync + 'static {
    /// Every violation. Gets the whole package, so it can check across resources. `complete`:
    /// nothing may be missing.
    ///
    /// # Errors
    /// It could not be judged, which is not a pass.
    async fn validate(
        &self,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>>;
}

/// What a preparer is given.
pub struct PrepareCall<'a> {
    /// The deployment, with its package.
    pub deployment: &'a Record,
    /// Its whole package.
    pub package: &'a Package,
    /// The resource that triggered it.
    pub target: &'a Identifier,
    /// The resources that are still to be prepared here, in package order, the target among them
    /// unless it is prepared already: who merges others elsewhere waits for those of them.
    pub pending: &'a [Identifier],
    /// What the last [`Answer::More`] of this target said, if the package is still as it was then.
    pub progress: Option<&'a Value>,
    /// To read from.
    pub data: &'a dyn DataApi,
    /// To make ids of new sites and deployments.
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
        /// Sets the resources that are still to be prepared.
        pending: &'a [Identifier];
        /// Sets the progress of the last call.
        progress: into Option<&'a Value>;
    }
}

/// What a preparer answers.
#[derive(Debug)]
pub enum Answer {
    /// A new package, and what it causes elsewhere (at most
    /// [`MAX_EFFECTS`](crate::data::MAX_EFFECTS)), committed together. The target is prepared once
    /// it carries the mark, or is gone; else it comes up again.
    Done {
        /// The whole new package.
        package: Package,
        /// What it causes.
        effects: Vec<Effect>,
    },
    /// Commit these (at most [`MAX_EFFECTS`](crate::data::MAX_EFFECTS)) together with this
    /// progress; then call again.
    More {
        /// What it causes.
        effects: Vec<Effect>,
        /// Where to go on; at most [`MAX_PROGRESS`](crate::work::MAX_PROGRESS).
        progress: Value,
    },
    /// Nothing yet.
    NotYet {
        /// For people: what it waits for.
        reason: String,
        /// Whose change ends the wait; if there is none, it is asked again after a while.
        waits_for: Vec<Subscription>,
    },
}

/// Prepares the resources that it is registered for. Reads what it likes, and *returns* what it
/// wants elsewhere.
#[async_trait]
pub trait Preparer: Send + Sync + 'static {
    /// Prepares the target.
    ///
    /// # Errors
    /// Shown in the deployment's conditions, and tried again later.
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer>;

    /// What this resource follows for good: when such an entity changes, the preparer is called
    /// again although the resource is prepared. Nothing, unless it says otherwise.
    fn tracks(&self, package: &Package, target: &Resource) -> Vec<Subscription> {
        let _ = (package, target);
        Vec::new()
    }

    /// Whether an explicit `nephio.org/prepare: Here` on such a resource is no mistake although
    /// there is nothing to do: it is resolved by another's preparation. The preparer is then never
    /// called.
    fn is_passive(&self) -> bool {
        false
    }
}

/// What a scheduler is given.
pub struct ScheduleCall<'a> {
    /// The site, with its package.
    pub site: &'a Record,
    /// The resource of the site's package that triggered it; `None`: it serves every site.
    pub target: Option<&'a Identifier>,
    /// With packages: prepared, approved, and to run here. In key order.
    pub wanted: &'a [Record],
    /// With packages: placed here, and to be taken off. In key order.
    pub removed: &'a [Record],
    /// Rises with every call for this site: refuse an older one.
    pub fence: u64,
}

impl<'a> ScheduleCall<'a> {
    /// A call for a site without deployments.
    pub fn new(site: &'a Record, fence: u64) -> Self {
        Self {
            site,
            target: None,
            wanted: &[],
            removed: &[],
            fence,
        }
    }

    chainable! {
        /// Sets the resource that triggered the call.
        target: into Option<&'a Identifier>;
        /// Sets the deployments that should run on the site.
        wanted: &'a [Record];
        /// Sets the deployments to take off the site.
        removed: &'a [Record];
    }
}

/// Brings sites to what their deployments ask for.
#[async_trait]
pub trait Scheduler: Send + Sync + 'static {
    /// Idempotent: called again after any failure. Answers with conditions of the site.
    ///
    /// # Errors
    /// Shown in the site's conditions, and tried again later.
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>>;
}

/// Makes parts of plugins, which are data.
pub trait Executor: Send + Sync + 'static {
    /// As plugins name it, such as `command`.
    fn name(&self) -> &str;

    /// A preparer of a `prepare` plugin.
    ///
    /// # Errors
    /// `BadArgument`: the plugin's arguments or properties are not for this executor;
    /// `NotImplemented`: it does not serve this type.
    fn preparer(&self, plugin: &Record) -> Result<Arc<dyn Preparer>>;

    /// A scheduler of a `schedule` plugin.
    ///
    /// # Errors
    /// As [`preparer`](Self::preparer).
    fn scheduler(&self, plugin: &Record) -> Result<Arc<dyn Scheduler>>;

    /// A validator of a `validate` plugin.
    ///
    /// # Errors
    /// As [`preparer`](Self::preparer).
    fn validator(&self, plugin: &Record) -> Result<Arc<dyn Validator>>;
}
