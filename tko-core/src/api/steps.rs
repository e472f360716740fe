//! Steps of workers: the results of one pass over a deployment or a site.

use super::requests::{NewDeployment, NewSite};
use crate::builder::chainable;
use crate::entity::Condition;
use crate::id::{DeploymentId, Key};
use crate::package::Package;
use crate::revision::Generation;
use crate::site_scheduler::SiteScheduler;
use crate::subscription::Subscription;
use crate::work::Outcome;
use serde_json::Value;

/// Maximum number of effects of one step of preparation.
pub const MAX_EFFECTS: usize = 500;

/// A change that a step of preparation makes to another entity. It is committed together with the
/// step.
///
/// References of an effect must exist before the step: a child cannot name a site that the same
/// step registers (`BadArgument`). Register sites in one step, and create the children that run on
/// them in a later one.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Creates a child deployment. With an idempotency key it is created once, no matter how often
    /// the step is repeated. Begin the key with the id of the parent and `|`: clients cannot take
    /// such a key.
    ///
    /// The child is neither prepared nor approved, whatever the effect says: it is prepared next,
    /// and then its policy decides. If its template says `approve: Manual`, so does the child. A
    /// child of a template that is marked as prepared is created as prepared, and approved if it
    /// says `approve: Auto`.
    Deployment(NewDeployment),
    /// Registers a site.
    Site(NewSite),
    /// Deletes a child deployment; does nothing if it does not exist.
    Delete(DeploymentId),
}

/// One step of preparing one deployment; it is committed completely or not at all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrepareStep {
    /// The id of the deployment that is prepared.
    pub deployment: DeploymentId,
    /// The generation that the step was computed from.
    pub expect: Generation,
    /// The new package; `None` keeps the current one.
    pub package: Option<Package>,
    /// Changes of other entities; at most [`MAX_EFFECTS`].
    pub effects: Vec<Effect>,
    /// Conditions of the deployment, merged by kind.
    pub conditions: Vec<Condition>,
    /// The new subscriptions; `None` keeps the current ones.
    pub subscriptions: Option<Vec<Subscription>>,
    /// The new progress of the work; JSON null removes it; `None` keeps the current one.
    pub progress: Option<Value>,
    /// How the claim ends; `None` keeps it, so the worker can commit further steps.
    pub settle: Option<Outcome>,
}

impl PrepareStep {
    /// A step that changes nothing and keeps the claim.
    pub fn new(deployment: DeploymentId, expect: Generation) -> Self {
        Self {
            deployment,
            expect,
            package: None,
            effects: Vec::new(),
            conditions: Vec::new(),
            subscriptions: None,
            progress: None,
            settle: None,
        }
    }

    chainable! {
        /// Sets the generation that the step was computed from.
        expect: Generation;
        /// Sets the new package.
        package: into Option<Package>;
        /// Sets all effects.
        effects: Vec<Effect>;
        /// Sets all conditions.
        conditions: Vec<Condition>;
        /// Sets the new subscriptions.
        subscriptions: into Option<Vec<Subscription>>;
        /// Sets the new progress.
        progress: into Option<Value>;
        /// Sets how the claim ends.
        settle: into Option<Outcome>;
    }

    /// Adds one effect.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Adds one condition.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

/// One step of scheduling one site.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScheduleStep {
    /// Deployments that are on the site, or are about to be put there, each with the generation of
    /// the package. Commit this *before* putting anything on the site: a deployment that is not
    /// recorded as placed can be deleted without being removed from the site.
    pub placed: Vec<(DeploymentId, Generation)>,
    /// Deployments that are no longer on the site.
    pub removed: Vec<DeploymentId>,
    /// Schedulers that are about to be called for the site. Commit this *before* calling them: a
    /// scheduler that is not recorded is not asked to remove its deployments once nothing in the
    /// site's package triggers it. Only names and targets count.
    pub called: Vec<SiteScheduler>,
    /// Schedulers of which nothing is left on the site. Only names and targets count.
    pub forgotten: Vec<SiteScheduler>,
    /// The generation of the site from which `called` was computed. If the site has another one,
    /// its package may already lack a target, so a step with `called` conflicts. `None`: any.
    pub expect: Option<Generation>,
    /// Conditions of the site and of its deployments, merged by kind.
    pub conditions: Vec<(Key, Vec<Condition>)>,
    /// How the claim ends; `None` keeps it, so the worker can commit further steps.
    pub settle: Option<Outcome>,
}

impl ScheduleStep {
    /// A step that changes nothing and keeps the claim.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a deployment that is on the site, or is about to be put there.
    #[must_use]
    pub fn placed(mut self, deployment: DeploymentId, generation: Generation) -> Self {
        self.placed.push((deployment, generation));
        self
    }

    /// Adds a deployment that is no longer on the site.
    #[must_use]
    pub fn removed(mut self, deployment: DeploymentId) -> Self {
        self.removed.push(deployment);
        self
    }

    /// Adds conditions of the site or of one of its deployments.
    #[must_use]
    pub fn conditions(mut self, key: impl Into<Key>, conditions: Vec<Condition>) -> Self {
        self.conditions.push((key.into(), conditions));
        self
    }

    /// Adds deployments that are on the site, or are about to be put there.
    #[must_use]
    pub fn all_placed(
        mut self,
        deployments: impl IntoIterator<Item = (DeploymentId, Generation)>,
    ) -> Self {
        self.placed.extend(deployments);
        self
    }

    /// Adds deployments that are no longer on the site.
    #[must_use]
    pub fn all_removed(mut self, deployments: impl IntoIterator<Item = DeploymentId>) -> Self {
        self.removed.extend(deployments);
        self
    }

    /// Adds schedulers that are about to be called for the site.
    #[must_use]
    pub fn all_called(mut self, schedulers: impl IntoIterator<Item = SiteScheduler>) -> Self {
        self.called.extend(schedulers);
        self
    }

    /// Adds schedulers of which nothing is left on the site.
    #[must_use]
    pub fn all_forgotten(mut self, schedulers: impl IntoIterator<Item = SiteScheduler>) -> Self {
        self.forgotten.extend(schedulers);
        self
    }

    /// Adds conditions of the site and of its deployments.
    #[must_use]
    pub fn all_conditions(
        mut self,
        conditions: impl IntoIterator<Item = (Key, Vec<Condition>)>,
    ) -> Self {
        self.conditions.extend(conditions);
        self
    }

    chainable! {
        /// Sets the generation of the site from which the called schedulers were computed.
        expect: into Option<Generation>;
        /// Sets how the claim ends.
        settle: into Option<Outcome>;
    }
}
