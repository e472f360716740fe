//! Requests of [`DataApi`](super::DataApi): new entities, watches, and the results of bulk calls.

use crate::builder::chainable;
use crate::entity::Record;
use crate::id::{DeploymentId, Key, PluginId, SiteId, TemplateId};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::Gvk;
use crate::revision::{Revision, Version};
use crate::select::Select;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of skipped entities that a [`Bulk`] names.
pub const MAX_SKIPPED: usize = 1_000;

/// The state that an entity must have before it is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Any state: create the entity, or replace it.
    #[default]
    Any,
    /// The entity must not exist: create it, never replace.
    Absent,
    /// The entity must exist at this version: replace exactly what was read.
    At(Version),
}

/// A template to register: it is created, or replaced completely.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewTemplate {
    /// The template to create or replace.
    pub id: TemplateId,
    /// Metadata given out of band; overrides what the package provides.
    pub metadata: Metadata,
    /// The package; it may be incomplete, but the parts that exist must be valid.
    pub package: Package,
    /// The state that is required before the registration.
    pub expect: Expect,
}

impl NewTemplate {
    /// A template with this package, without metadata out of band. It replaces an existing one.
    pub fn new(id: TemplateId, package: Package) -> Self {
        Self {
            id,
            metadata: Metadata::default(),
            package,
            expect: Expect::Any,
        }
    }

    chainable! {
        /// Sets the metadata given out of band.
        metadata: into Metadata;
        /// Sets the state that is required before the registration.
        expect: Expect;
    }
}

/// A site to register: it is created, or replaced completely.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSite {
    /// The site to create or replace.
    pub id: SiteId,
    /// The template to build on: the site's package is merged into the template's, and the site
    /// inherits the template's metadata.
    pub template: Option<TemplateId>,
    /// Metadata given out of band; overrides what the template and the package provide.
    pub metadata: Metadata,
    /// The package; it must be completely valid after merging.
    pub package: Package,
    /// The state that is required before the registration.
    pub expect: Expect,
}

impl NewSite {
    /// A site with this package, without a template. It replaces an existing one.
    pub fn new(id: SiteId, package: Package) -> Self {
        Self {
            id,
            template: None,
            metadata: Metadata::default(),
            package,
            expect: Expect::Any,
        }
    }

    chainable! {
        /// Sets the template to build on.
        template: into Option<TemplateId>;
        /// Sets the metadata given out of band.
        metadata: into Metadata;
        /// Sets the state that is required before the registration.
        expect: Expect;
    }
}

/// A plugin to register: it is created, or replaced completely.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewPlugin {
    /// The type and name of the plugin.
    pub id: PluginId,
    /// The executor that runs it, such as `command`; not empty.
    pub executor: String,
    /// Arguments for the executor, which gives them their meaning: for `command`, the program and
    /// its arguments. May be empty.
    pub arguments: Vec<String>,
    /// Properties for the executor and the plugin; see [`Plugin`](crate::Plugin).
    pub properties: BTreeMap<String, String>,
    /// The kinds of resource that call it. Groups may be empty, versions and kinds not.
    pub triggers: Vec<Gvk>,
    /// Metadata given out of band. A plugin has no other metadata.
    pub metadata: Metadata,
    /// The state that is required before the registration.
    pub expect: Expect,
}

impl NewPlugin {
    /// A plugin without arguments, properties and triggers.
    pub fn new(id: PluginId, executor: impl Into<String>) -> Self {
        Self {
            id,
            executor: executor.into(),
            arguments: Vec::new(),
            properties: BTreeMap::new(),
            triggers: Vec::new(),
            metadata: Metadata::default(),
            expect: Expect::Any,
        }
    }

    chainable! {
        /// Sets the metadata given out of band.
        metadata: into Metadata;
        /// Sets the state that is required before the registration.
        expect: Expect;
        /// Sets all arguments.
        arguments: Vec<String>;
        /// Sets all properties.
        properties: BTreeMap<String, String>;
        /// Sets all triggers.
        triggers: Vec<Gvk>;
    }

    /// Adds one argument at the end.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets one property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Adds one trigger.
    #[must_use]
    pub fn trigger(mut self, gvk: Gvk) -> Self {
        self.triggers.push(gvk);
        self
    }
}

/// A deployment to create.
///
/// ```
/// use tko_core::{NewDeployment, TemplateId};
///
/// let new = NewDeployment::new()
///     .template(TemplateId::new("nf/smf:v1")?)
///     .idempotency_key("order-4711");
/// assert!(!new.prepared);
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewDeployment {
    /// The id; chosen by the store if absent. A client that may retry chooses the id itself, or
    /// sets [`idempotency_key`](Self::idempotency_key).
    pub id: Option<DeploymentId>,
    /// The deployment whose preparation creates this one.
    pub parent: Option<DeploymentId>,
    /// The template whose package and metadata it starts with.
    pub template: Option<TemplateId>,
    /// The site where it will run.
    pub site: Option<SiteId>,
    /// Metadata given out of band; overrides what the template and the package provide.
    pub metadata: Metadata,
    /// A package merged into the template's.
    pub merge: Package,
    /// Whether it is already prepared; its package must then be completely valid.
    pub prepared: bool,
    /// Whether it is already approved; requires `prepared`.
    pub approved: bool,
    /// A second creation with the same key creates nothing and returns the id of the first.
    ///
    /// Only [effects](crate::Effect) may have a key that begins with a deployment's id and `|`:
    /// these are reserved for children.
    pub idempotency_key: Option<Arc<str>>,
}

impl NewDeployment {
    /// A deployment with a generated id, without template, site, parent and package.
    pub fn new() -> Self {
        Self::default()
    }

    chainable! {
        /// Sets the id.
        id: into Option<DeploymentId>;
        /// Sets the parent.
        parent: into Option<DeploymentId>;
        /// Sets the template.
        template: into Option<TemplateId>;
        /// Sets the site.
        site: into Option<SiteId>;
        /// Sets the metadata given out of band.
        metadata: into Metadata;
        /// Sets the package that is merged into the template's.
        merge: Package;
        /// Sets whether it is already prepared.
        prepared: bool;
        /// Sets whether it is already approved.
        approved: bool;
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// A change of some parts of an existing entity, in one commit.
///
/// ```
/// use tko_core::{EntityUpdate, Metadata, SiteId, Version};
///
/// let site = SiteId::new("south-100")?;
/// let labels = Metadata::from_iter([("region", "south")]);
/// let update = EntityUpdate::new(&site, Version(7)).metadata(labels);
/// assert!(update.package.is_none());
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntityUpdate {
    /// The entity to change.
    pub key: Key,
    /// The version that it must have.
    pub expect: Version,
    /// The new metadata given out of band; `None` keeps it.
    pub metadata: Option<Metadata>,
    /// The new package; `None` keeps it. Plugins have none.
    pub package: Option<PackageUpdate>,
}

/// The way in which an [`EntityUpdate`] changes a package.
#[derive(Clone, Debug)]
pub enum PackageUpdate {
    /// The package becomes exactly this one.
    Replace(Package),
    /// A deployment starts again: this package is merged into the current package of its template,
    /// and the result is prepared again.
    Merge {
        /// The package to merge.
        package: Package,
        /// The site where it will run.
        site: Option<SiteId>,
    },
}

impl EntityUpdate {
    /// An update that changes nothing yet.
    pub fn new(key: impl Into<Key>, expect: Version) -> Self {
        Self {
            key: key.into(),
            expect,
            metadata: None,
            package: None,
        }
    }

    chainable! {
        /// Sets the new metadata given out of band.
        metadata: into Option<Metadata>;
        /// Sets the new package.
        package: into Option<PackageUpdate>;
    }
}

/// The result of a bulk call. Each entity is changed atomically; the call as a whole is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bulk {
    /// How many entities were changed.
    pub done: u64,
    /// The entities that were left unchanged, each with the reason; at most [`MAX_SKIPPED`].
    pub skipped: Vec<(Key, String)>,
}

impl Bulk {
    /// A result without skipped entities.
    pub fn new(done: u64) -> Self {
        Self {
            done,
            skipped: Vec::new(),
        }
    }

    chainable! {
        /// Sets the skipped entities.
        skipped: Vec<(Key, String)>;
    }
}

/// A request for the changes of the entities that match a selection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Watch {
    /// The entities to watch. A selection by a template's or a site's metadata is refused, because
    /// a change of a template or site makes no event for its deployments.
    pub select: Select,
    /// Only changes after this revision, usually the [`Page::revision`](crate::Page::revision) of
    /// a listing.
    pub after: Revision,
    /// Whether events carry packages.
    pub package: bool,
    /// Whether to omit events for changes that leave package and metadata unchanged, such as
    /// changes of conditions. An entity that enters or leaves the selection makes an event all the
    /// same.
    pub edits: bool,
}

impl Watch {
    /// Watches the changes after this revision, without packages.
    pub fn new(select: Select, after: Revision) -> Self {
        Self {
            select,
            after,
            package: false,
            edits: false,
        }
    }

    chainable! {
        /// Sets the revision after which changes are reported.
        after: Revision;
        /// Sets whether events carry packages.
        package: bool;
        /// Sets whether only changes of package and metadata make events.
        edits: bool;
    }
}

/// One event of a watch. Revisions rise strictly from event to event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An entity was created, changed, or began to match.
    Put {
        /// The revision of the change.
        revision: Revision,
        /// The entity after the change.
        record: Record,
        /// Whether it did not exist, or did not match, before.
        entered: bool,
    },
    /// An entity was deleted, or ceased to match.
    Gone {
        /// The revision of the change.
        revision: Revision,
        /// The entity before the change.
        before: Record,
    },
    /// No matching entity changed up to this revision.
    Bookmark {
        /// The revision from which to continue the watch.
        revision: Revision,
    },
}

impl Event {
    /// The revision from which to continue the watch after this event.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { revision, .. }
            | Self::Gone { revision, .. }
            | Self::Bookmark { revision } => *revision,
        }
    }
}

/// A description of the data service, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// The name of the backend, such as `memory`.
    pub backend: String,
}

impl About {
    /// Describes a service on this backend.
    pub fn new(backend: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
        }
    }
}
