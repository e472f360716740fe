//! Entities: templates, sites, deployments and plugins as rows, and as they are read.
//!
//! What is listed, selected, claimed and watched is a small row; the package is a separate body,
//! known by its content hash.

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
use std::sync::Arc;

/// Why an entity is where it is, in a person's words. One per kind; written by merging.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What it is about, such as `PrepareStep`, `Valid` or `Scheduled`.
    pub kind: String,
    /// Whether it holds; `None`: unknown.
    pub status: Option<bool>,
    /// One word in camel case, for programs.
    pub reason: String,
    /// For people: what happened, to what, and what to do.
    pub message: String,
    /// The generation that this was said of.
    pub observed: Generation,
    /// When `status` last changed. Set by the backend when it is written; ignored on the way in.
    pub since: Timestamp,
}

impl Condition {
    /// A condition to be written.
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
        /// Sets the time at which the status last changed. For backends.
        since: Timestamp;
    }

    /// Merges `new` into `old` by kind. `None` if that says nothing new, whatever the time.
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

/// Equal if they say the same, whenever they began to.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.status == other.status
            && self.reason == other.reason
            && self.message == other.message
            && self.observed == other.observed
    }
}

/// What a deployment is, apart from its body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    /// What it came out of.
    pub parent: Option<DeploymentId>,
    /// What it was made from. Cleared when that is deleted.
    pub template: Option<TemplateId>,
    /// The template's version that it was made from.
    pub origin: Option<Version>,
    /// Where it is to run. Cleared when that is deleted.
    pub site: Option<SiteId>,
    /// Nothing is left to be prepared.
    pub prepared: bool,
    /// It may go to its site. Never without `prepared`.
    pub approved: bool,
    /// Where a scheduler has put it, as of which generation. Holds the entity back from being
    /// removed.
    pub placed: Option<(SiteId, Generation)>,
    /// At most one living deployment has this key: a retried creation finds what it created.
    pub idempotency_key: Option<Arc<str>>,
    /// The Deployment resource.
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

    /// The package as people see it: a body with the Deployment resource in its place.
    pub fn whole(&self, body: &Package) -> Package {
        deployment_resource::join(&self.resource, self.prepared, self.approved, body)
    }
}

/// What a plugin is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    /// Who runs it, such as `command`.
    pub executor: String,
    /// For the executor.
    pub arguments: Vec<String>,
    /// Names that start with `_` are the executor's; the rest are the plugin's.
    pub properties: BTreeMap<String, String>,
    /// What it is called for.
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
        /// Sets the arguments.
        arguments: Vec<String>;
        /// Sets the properties.
        properties: BTreeMap<String, String>;
        /// Sets the triggers.
        triggers: Vec<Gvk>;
    }
}

/// What only entities of one kind have.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Of a template.
    Template,
    /// Of a site.
    Site {
        /// What it was made from. Cleared when that is deleted.
        template: Option<TemplateId>,
        /// The template's version that it was made from.
        origin: Option<Version>,
    },
    /// Of a deployment. Boxed, for most of what is passed around is not one.
    Deployment(Box<Deployment>),
    /// Of a plugin.
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

/// The row: all that is listed, selected, claimed and watched, without the body.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Kind and id.
    pub key: Key,
    /// Changes with every change.
    pub version: Version,
    /// Counts changes of the package.
    pub generation: Generation,
    /// By the store's clock.
    pub created: Timestamp,
    /// Of the last change, by the store's clock.
    pub updated: Timestamp,
    /// Deletion was asked for, and something still holds it: hidden from people, refused as a
    /// reference.
    pub deleting: bool,
    /// The template's metadata at creation: the weakest.
    pub inherited: Metadata,
    /// Given out of band: the strongest. Survives new packages.
    pub given: Metadata,
    /// What selections see: the template's, overlaid with the package's, overlaid with the given;
    /// and TKO's own ([`RESERVED`](crate::metadata::RESERVED)).
    pub metadata: Metadata,
    /// One per kind.
    pub conditions: Vec<Condition>,
    /// What only its kind has.
    pub facts: Facts,
    /// Of the body: equal hash, equal body.
    pub body: ContentHash,
}

impl Entity {
    /// A row without metadata and conditions, at generation 1, with an empty body.
    ///
    /// For backends, which decode rows and set every field, and for tests.
    pub fn new(key: impl Into<Key>, facts: impl Into<Facts>) -> Self {
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
            body: Package::default().hash(),
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

    /// If it is a deployment.
    pub fn deployment(&self) -> Option<&Deployment> {
        match &self.facts {
            Facts::Deployment(deployment) => Some(deployment),
            _ => None,
        }
    }

    /// If it is a plugin.
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

/// What is read beside the row, and how recent it must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Five things to want, each by itself.
pub struct Want {
    /// The package.
    pub package: bool,
    /// The revision of the last change. Costs a look-up for each entity.
    pub revision: bool,
    /// What is due, how often it was tried, and when it is tried again.
    pub work: bool,
    /// `DataApi::get` finds also what is being deleted.
    pub deleting: bool,
    /// Of lists, [`pages`](crate::Backend::pages) and counts: an older state will do, as a replica
    /// may have it. Everything else is always the latest, and so are these without it.
    ///
    /// What comes was the state at some revision, all of it, and that is the
    /// [`Page::revision`](crate::Page::revision): at most the head's, but perhaps older than what
    /// the caller itself has just written, or read. Watching from there tells all that is missing,
    /// or that it is too late (`Expired`): then list again without this.
    ///
    /// Pages of one listing may be of different replicas: a later one may be of an *older* state.
    /// Who watches after them watches from the lowest of their revisions.
    ///
    /// For people and reports. Not for who acts on what it reads: a worker that lists an old state
    /// after it was woken would lose what woke it.
    pub allow_stale: bool,
}

impl Want {
    /// Reads the package as well.
    #[must_use]
    pub const fn with_package(mut self) -> Self {
        self.package = true;
        self
    }

    /// Reads the revision of the last change as well.
    #[must_use]
    pub const fn with_revision(mut self) -> Self {
        self.revision = true;
        self
    }

    /// Reads the queued work as well.
    #[must_use]
    pub const fn with_work(mut self) -> Self {
        self.work = true;
        self
    }

    /// Finds entities that are being deleted as well.
    #[must_use]
    pub const fn with_deleting(mut self) -> Self {
        self.deleting = true;
        self
    }

    /// Allows a stale read.
    #[must_use]
    pub const fn with_stale(mut self) -> Self {
        self.allow_stale = true;
        self
    }

    /// The row alone.
    pub const ROW: Self = Self {
        package: false,
        revision: false,
        work: false,
        deleting: false,
        allow_stale: false,
    };
    /// The row and the package.
    pub const PACKAGE: Self = Self {
        package: true,
        ..Self::ROW
    };
}

/// An entity as read.
#[derive(Clone, Debug)]
pub struct Record {
    /// The row.
    pub entity: Arc<Entity>,
    /// If wanted. From a [`Backend`](crate::Backend) the body alone; from [`DataApi`](crate::Data)
    /// with the Deployment resource in its place.
    pub package: Option<Package>,
    /// If wanted: its last change's place in the feed.
    pub revision: Option<Revision>,
    /// If wanted.
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
        /// Sets the package.
        package: into Option<Package>;
        /// Sets the revision of the last change.
        revision: into Option<Revision>;
        /// Sets the queued work.
        work: Vec<Work>;
    }
}

/// The condition of a site, and of a deployment, that its scheduler writes. A site that has one is
/// in a scheduler's charge, unless the reason is [`NO_SCHEDULER`]: deleted, it stays hidden until that has taken everything off it.
pub const SCHEDULED: &str = "Scheduled";

/// The reason in a site's [`SCHEDULED`] condition that says that no scheduler ever had it.
pub const NO_SCHEDULER: &str = "NoScheduler";

/// The condition of a deployment that its preparer writes.
pub const PREPARED: &str = "Prepared";
