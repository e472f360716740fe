//! Entities: templates, sites, deployments and plugins, as rows and as records.
//!
//! A row is small. Listings, selections, claims and watches use rows alone; the package is a
//! separate body, identified by its content hash.

mod want;

pub use want::Want;

use crate::builder::chainable;
use crate::deployment_resource::{self, DeploymentResource};
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key, Kind, SiteId, TemplateId};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::Gvk;
use crate::revision::{Generation, Revision, Timestamp, Version};
use crate::work::Work;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// A statement about the state of an entity, for people and programs.
///
/// An entity has at most one condition of each kind; writing conditions merges them by kind.
///
/// ```
/// use tko_core::entity::PREPARED;
/// use tko_core::{Condition, Generation, Timestamp};
///
/// let waiting = Condition::new(PREPARED, false, "Waiting", "waits for site a", Generation(1));
/// let merged = Condition::merge(&[], vec![waiting.clone()], Timestamp(5));
/// let merged = merged.expect("it is new");
/// assert_eq!(merged[0].since, Timestamp(5));
/// // Repeating a condition changes nothing.
/// assert!(Condition::merge(&merged, vec![waiting], Timestamp(9)).is_none());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Condition {
    /// The kind, such as `Prepared`, `Valid` or `Scheduled`.
    pub kind: String,
    /// Whether the condition holds; `None` means unknown.
    pub status: Option<bool>,
    /// The reason, one word in camel case, for programs.
    pub reason: String,
    /// The message for people: what happened, to which thing, and what to do.
    pub message: String,
    /// The generation of the entity that the condition describes.
    pub observed: Generation,
    /// The time at which `status` last changed. The backend sets it when the condition is written,
    /// and ignores the value in a request.
    pub since: Timestamp,
}

impl Condition {
    /// A condition to write.
    pub fn new(
        kind: impl Into<String>,
        status: impl Into<Option<bool>>,
        reason: impl Into<String>,
        message: impl Into<String>,
        observed: Generation,
    ) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            observed,
            since: Timestamp::default(),
        }
    }

    chainable! {
        /// Sets the generation that the condition describes.
        observed: Generation;
        /// Sets the time at which the status last changed. For backends.
        since: Timestamp;
    }

    /// Merges `new` into `old` by kind; returns `None` if nothing changes apart from times.
    ///
    /// A condition whose status changes, or that is new, gets `now` as its `since`.
    pub fn merge(old: &[Self], new: Vec<Self>, now: Timestamp) -> Option<Vec<Self>> {
        let mut merged = None::<Vec<Self>>;
        for condition in new {
            let current = merged.as_deref().unwrap_or(old);
            let at = current.iter().position(|c| c.kind == condition.kind);
            if at.is_some_and(|at| current[at] == condition) {
                continue;
            }
            let all = merged.get_or_insert_with(|| old.to_vec());
            let since = match at {
                Some(at) if all[at].status == condition.status => all[at].since,
                _ => now,
            };
            let condition = Self { since, ..condition };
            match at {
                Some(at) => all[at] = condition,
                None => all.push(condition),
            }
        }
        merged
    }
}

/// Two conditions are equal if they say the same. `since` is not compared.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.status == other.status
            && self.reason == other.reason
            && self.message == other.message
            && self.observed == other.observed
    }
}

/// The facts of a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Deployment {
    /// The deployment whose preparation created it. Cleared when the parent is deleted.
    pub parent: Option<DeploymentId>,
    /// The template that it was made from. Cleared when the template is deleted.
    pub template: Option<TemplateId>,
    /// The version of the template at that time.
    pub origin: Option<Version>,
    /// The site where it should run. Cleared when the site is deleted.
    pub site: Option<SiteId>,
    /// Whether every resource of the package is prepared.
    pub prepared: bool,
    /// Whether it may be placed on its site. Implies `prepared`.
    pub approved: bool,
    /// The site where a scheduler placed it, and the generation that is there. It is recorded before
    /// the schedulers of the site are called, so that no deployment is on a site without a record;
    /// see [`Entity::is_scheduled`]. The entity cannot be removed while this is set.
    pub placed: Option<(SiteId, Generation)>,
    /// The idempotency key of its creation. At most one deployment has the key, counting those that
    /// are being deleted, so a retried creation finds the deployment it created.
    pub idempotency_key: Option<Arc<str>>,
    /// The Deployment resource of the package, kept apart from the body.
    pub resource: DeploymentResource,
}

impl Deployment {
    /// A deployment with this Deployment resource, without relations, not prepared.
    pub fn new(resource: DeploymentResource) -> Self {
        Self {
            resource,
            ..Self::default()
        }
    }

    chainable! {
        /// Sets the parent.
        parent: into Option<DeploymentId>;
        /// Sets the template.
        template: into Option<TemplateId>;
        /// Sets the template's version.
        origin: into Option<Version>;
        /// Sets the site.
        site: into Option<SiteId>;
        /// Sets whether it is prepared.
        prepared: bool;
        /// Sets whether it is approved.
        approved: bool;
        /// Sets the site on which it is placed, and the generation that is there.
        placed: into Option<(SiteId, Generation)>;
        /// Sets the idempotency key.
        idempotency_key: into Option<Arc<str>>;
        /// Sets the Deployment resource.
        resource: DeploymentResource;
    }

    /// The whole package: the body with the Deployment resource in its place.
    pub fn whole(&self, body: &Package) -> Package {
        deployment_resource::join(&self.resource, self.prepared, self.approved, body)
    }
}

/// The facts of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plugin {
    /// The name of the executor that runs it, such as `command`.
    pub executor: String,
    /// Arguments for the executor, which gives them their meaning: for `command`, the program and
    /// its arguments. May be empty.
    pub arguments: Vec<String>,
    /// Properties by name. Names that start with `_` configure the executor; the plugin itself gets
    /// the others.
    pub properties: BTreeMap<String, String>,
    /// The kinds of resource that call it.
    pub triggers: Vec<Gvk>,
}

impl Plugin {
    /// A plugin without arguments, properties and triggers.
    pub fn new(executor: impl Into<String>) -> Self {
        Self {
            executor: executor.into(),
            ..Self::default()
        }
    }

    chainable! {
        /// Sets the name of the executor.
        executor: into String;
        /// Sets the arguments.
        arguments: Vec<String>;
        /// Sets the properties.
        properties: BTreeMap<String, String>;
        /// Sets the triggers.
        triggers: Vec<Gvk>;
    }
}

/// The facts that only entities of one kind have.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// A template has none.
    Template,
    /// The facts of a site.
    Site {
        /// The template that it was made from. Cleared when the template is deleted.
        template: Option<TemplateId>,
        /// The version of the template at that time.
        origin: Option<Version>,
    },
    /// The facts of a deployment. Boxed, because they are much larger than those of other kinds.
    Deployment(Box<Deployment>),
    /// The facts of a plugin.
    Plugin(Arc<Plugin>),
}

impl Facts {
    /// The facts of an entity of this kind that has no relations and no properties.
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Template => Self::Template,
            Kind::Site => Self::site(None, None),
            Kind::Deployment => Deployment::default().into(),
            Kind::Plugin => Plugin::default().into(),
        }
    }

    /// The facts of a site that was made from this version of this template.
    pub fn site(
        template: impl Into<Option<TemplateId>>,
        origin: impl Into<Option<Version>>,
    ) -> Self {
        Self::Site {
            template: template.into(),
            origin: origin.into(),
        }
    }
}

impl From<Deployment> for Facts {
    fn from(deployment: Deployment) -> Self {
        Self::Deployment(Box::new(deployment))
    }
}

impl From<Plugin> for Facts {
    fn from(plugin: Plugin) -> Self {
        Self::Plugin(Arc::new(plugin))
    }
}

/// The row of an entity: everything but the body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entity {
    /// The kind and id.
    pub key: Key,
    /// The version; differs after every change of the row.
    pub version: Version,
    /// The generation; rises with every change of the package.
    pub generation: Generation,
    /// The time of the creation, by the store's clock.
    pub created: Timestamp,
    /// The time of the last change, by the store's clock.
    pub updated: Timestamp,
    /// Whether it is being deleted: something still holds it, so the row remains. It is hidden from
    /// people and cannot be referred to.
    pub deleting: bool,
    /// The template's metadata at creation. Overridden by the other two sources.
    ///
    /// Keys that TKO writes itself ([`RESERVED`](crate::metadata::RESERVED)), and those that record
    /// the origin of the template ([`PROVENANCE`](crate::metadata::PROVENANCE)), are left out.
    pub inherited: Metadata,
    /// Metadata given out of band. Overrides the other two sources, and survives new packages.
    pub given: Metadata,
    /// The metadata that selections see: inherited, overlaid with the package's, overlaid with the
    /// given; and TKO's own keys ([`RESERVED`](crate::metadata::RESERVED)).
    pub metadata: Metadata,
    /// The conditions, one of each kind.
    pub conditions: Vec<Condition>,
    /// The facts that only entities of its kind have.
    pub facts: Facts,
    /// The content hash of the body; equal hashes mean equal bodies.
    pub body: ContentHash,
}

impl Entity {
    /// A row without metadata and conditions, at generation 1, with an empty body.
    ///
    /// It is meant for backends, which decode rows and set every field, and for tests.
    pub fn new(key: impl Into<Key>, facts: impl Into<Facts>) -> Self {
        static EMPTY: LazyLock<ContentHash> = LazyLock::new(|| Package::default().hash());
        Self {
            key: key.into(),
            version: Version::default(),
            generation: Generation(1),
            created: Timestamp::default(),
            updated: Timestamp::default(),
            deleting: false,
            inherited: Metadata::default(),
            given: Metadata::default(),
            metadata: Metadata::default(),
            conditions: Vec::new(),
            facts: facts.into(),
            body: *EMPTY,
        }
    }

    chainable! {
        /// Sets the version.
        version: Version;
        /// Sets the generation.
        generation: Generation;
        /// Sets the time of the creation.
        created: Timestamp;
        /// Sets the time of the last change.
        updated: Timestamp;
        /// Sets whether the entity is being deleted.
        deleting: bool;
        /// Sets the inherited metadata.
        inherited: into Metadata;
        /// Sets the metadata given out of band.
        given: into Metadata;
        /// Sets the metadata that selections see.
        metadata: into Metadata;
        /// Sets the conditions.
        conditions: Vec<Condition>;
        /// Sets the hash of the body.
        body: ContentHash;
    }

    /// The facts of a deployment; `None` for other kinds.
    pub fn deployment(&self) -> Option<&Deployment> {
        match &self.facts {
            Facts::Deployment(deployment) => Some(deployment),
            _ => None,
        }
    }

    /// The facts of a plugin; `None` for other kinds.
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        match &self.facts {
            Facts::Plugin(plugin) => Some(plugin),
            _ => None,
        }
    }

    /// The template that a site or deployment was made from.
    pub fn template(&self) -> Option<&TemplateId> {
        match &self.facts {
            Facts::Deployment(deployment) => deployment.template.as_ref(),
            Facts::Site { template, .. } => template.as_ref(),
            Facts::Template | Facts::Plugin(_) => None,
        }
    }

    /// The site that is to run this deployment now, if any: it is prepared, approved, and not
    /// being deleted.
    pub fn wanted_on(&self) -> Option<&SiteId> {
        let deployment = self.deployment()?;
        if deployment.prepared && deployment.approved && !self.deleting {
            deployment.site.as_ref()
        } else {
            None
        }
    }

    /// Whether an edit of the deployment waits for approval, so that its site keeps the package that
    /// was approved before; see [`EDITED`] and [`Want::kept`].
    pub fn has_unapproved_edit(&self) -> bool {
        let is_edited = self
            .condition(APPROVED)
            .is_some_and(|condition| condition.status == Some(false) && condition.reason == EDITED);
        is_edited
            && !self.deleting
            && self
                .deployment()
                .is_some_and(|facts| facts.prepared && !facts.approved && facts.placed.is_some())
    }

    /// Whether a scheduler has reported that this generation of the deployment is on its site.
    ///
    /// [`Deployment::placed`] alone does not say so: it is recorded before schedulers are called.
    pub fn is_scheduled(&self) -> bool {
        let Some(site) = self.wanted_on() else {
            return false;
        };
        let placed = self.deployment().and_then(|facts| facts.placed.as_ref());
        let reported = self.condition(SCHEDULED).is_some_and(|condition| {
            condition.status == Some(true) && condition.observed == self.generation
        });
        reported && placed.is_some_and(|(at, as_of)| at == site && *as_of == self.generation)
    }

    /// Whether the entity can be deleted only after a scheduler has reported its removal: a placed
    /// deployment, or a site that was ever scheduled.
    pub fn is_held(&self) -> bool {
        match &self.facts {
            Facts::Deployment(deployment) => deployment.placed.is_some(),
            Facts::Site { .. } => self
                .condition(SCHEDULED)
                .is_some_and(|condition| condition.reason != NO_SCHEDULER),
            Facts::Template | Facts::Plugin(_) => false,
        }
    }

    /// Whether this names `key` as template, site, parent or place.
    pub fn refers_to(&self, key: &Key) -> bool {
        match (&self.facts, key) {
            (Facts::Deployment(d), Key::Template(id)) => d.template.as_ref() == Some(id),
            (Facts::Deployment(d), Key::Deployment(id)) => d.parent.as_ref() == Some(id),
            (Facts::Deployment(d), Key::Site(id)) => {
                d.site.as_ref() == Some(id) || d.placed.as_ref().is_some_and(|(at, _)| at == id)
            }
            (Facts::Site { template, .. }, Key::Template(id)) => template.as_ref() == Some(id),
            _ => false,
        }
    }

    /// The condition of this kind.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

/// An entity as read from a backend or the API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The row.
    pub entity: Arc<Entity>,
    /// The package, if wanted. A [`Backend`](crate::Backend) returns the body alone;
    /// [`DataApi`](crate::DataApi) adds the Deployment resource.
    pub package: Option<Package>,
    /// The revision of its last change, if wanted.
    pub revision: Option<Revision>,
    /// The queued work, if wanted.
    pub work: Vec<Work>,
}

impl Record {
    /// A record of the row alone.
    pub fn new(entity: impl Into<Arc<Entity>>) -> Self {
        Self {
            entity: entity.into(),
            package: None,
            revision: None,
            work: Vec::new(),
        }
    }

    chainable! {
        /// Sets the row.
        entity: into Arc<Entity>;
        /// Sets the package.
        package: into Option<Package>;
        /// Sets the revision of the last change.
        revision: into Option<Revision>;
        /// Sets the queued work.
        work: Vec<Work>;
    }
}

/// The kind of the condition that schedulers write to sites and deployments.
///
/// A scheduler is responsible for a site with this condition, unless the reason is
/// [`NO_SCHEDULER`]. When such a site is deleted, it stays hidden until the scheduler has removed
/// everything from it.
pub const SCHEDULED: &str = "Scheduled";

/// The reason of a [`SCHEDULED`] condition of a site that no scheduler has worked on.
pub const NO_SCHEDULER: &str = "NoScheduler";

/// The reason of a condition of a deployment that was removed from a site.
pub const REMOVED: &str = "Removed";

/// The reason of a [`SCHEDULED`] condition of a deployment that could not be removed from a site.
pub const REMOVAL_FAILED: &str = "RemovalFailed";

/// The kind of the condition that the preparation writes to deployments.
pub const PREPARED: &str = "Prepared";

/// The kind of the condition that says whether a prepared deployment is approved.
pub const APPROVED: &str = "Approved";

/// The kind of the condition that says since when an entity is being deleted.
///
/// It is written together with [`Entity::deleting`], and always true.
pub const DELETING: &str = "Deleting";

/// The reason of an [`APPROVED`] condition: the package was edited after a person approved it.
///
/// Until someone approves the new package, the site where it is [placed](Deployment::placed) keeps
/// the package that was approved; see [`Want::kept`].
pub const EDITED: &str = "Edited";
