//! Selections of entities, and the requests and results of listings.

use crate::builder::chainable;
use crate::entity::{Entity, Record, Want};
use crate::error::Result;
use crate::id::{DeploymentId, Key, Kind, PluginType, SiteId, TemplateId};
use crate::metadata::Metadata;
use crate::pattern::Pattern;
use crate::resource::Gvk;
use crate::revision::Revision;
use futures_core::Stream;
use futures_util::stream;
use std::collections::BTreeMap;

/// Maximum number of records on one page.
pub const MAX_PAGE: usize = 1_000;

/// Patterns for metadata values, by exact metadata key. An absent key does not match.
pub type MetadataPatterns = BTreeMap<String, Pattern>;

/// A selection of entities of one kind.
///
/// Every condition that is set must hold. A pattern for an id that the entity does not have, such
/// as the site of an unscheduled deployment, does not match.
///
/// ```
/// use tko_core::{Kind, Pattern, Select};
///
/// let southern_upfs = Select::all(Kind::Deployment)
///     .template_id(Pattern::id("nf/upf:*")?)
///     .site_id(Pattern::id("india/*/south-*")?)
///     .metadata("NetworkFunction.type", Pattern::value("UPF")?)
///     .prepared(true);
/// assert!(southern_upfs.is_watchable());
/// # Ok::<(), tko_core::pattern::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Select {
    /// The kind of the selected entities; a selection has exactly one.
    pub kind: Kind,
    /// Patterns for the id, or for a plugin's name; all must match.
    pub ids: Vec<Pattern>,
    /// Patterns for metadata values; all must match.
    pub metadata: MetadataPatterns,
    /// For deployments: the exact parent.
    pub parent: Option<DeploymentId>,
    /// For sites and deployments: patterns for the template's id; all must match.
    pub template_ids: Vec<Pattern>,
    /// For deployments: patterns for the template's metadata, by join; all must match. Listings
    /// and counts support this; watches refuse it, because a change of a template makes no event
    /// for its deployments.
    pub template_metadata: MetadataPatterns,
    /// For deployments: patterns for the site's id; all must match.
    pub site_ids: Vec<Pattern>,
    /// For deployments: patterns for the site's metadata, by join, like `template_metadata`.
    pub site_metadata: MetadataPatterns,
    /// For deployments: whether they are prepared.
    pub prepared: Option<bool>,
    /// For deployments: whether they are approved.
    pub approved: Option<bool>,
    /// For deployments: assigned to this site, or still placed on it. A scheduler needs both.
    pub concerning: Option<SiteId>,
    /// For plugins: the exact type; `None` selects all types.
    pub plugin_type: Option<PluginType>,
    /// For plugins: the exact executor.
    pub executor: Option<String>,
    /// For plugins: a trigger that equals this one.
    pub trigger: Option<Gvk>,
    /// Whether entities that are being deleted are included. For workers.
    pub deleting: bool,
}

impl Select {
    /// Selects all entities of one kind, except those that are being deleted.
    pub fn all(kind: Kind) -> Self {
        Self {
            kind,
            ids: Vec::new(),
            metadata: BTreeMap::new(),
            parent: None,
            template_ids: Vec::new(),
            template_metadata: BTreeMap::new(),
            site_ids: Vec::new(),
            site_metadata: BTreeMap::new(),
            prepared: None,
            approved: None,
            concerning: None,
            plugin_type: None,
            executor: None,
            trigger: None,
            deleting: false,
        }
    }

    /// Whether anything but the kind narrows this selection. [`deleting`](Self::deleting) does not:
    /// it only adds entities.
    ///
    /// Interfaces refuse to delete or approve by a selection without a filter, unless the caller
    /// explicitly asks for everything.
    ///
    /// ```
    /// use tko_core::{Kind, Select};
    ///
    /// let mut everything = Select::all(Kind::Deployment);
    /// everything.deleting = true;
    /// assert!(!everything.has_filter());
    /// assert!(everything.approved(false).has_filter());
    /// ```
    pub fn has_filter(&self) -> bool {
        let everything = Self {
            deleting: self.deleting,
            ..Self::all(self.kind)
        };
        *self != everything
    }

    /// Adds a pattern for the id, or for a plugin's name.
    #[must_use]
    pub fn id(mut self, pattern: Pattern) -> Self {
        self.ids.push(pattern);
        self
    }

    /// Sets the pattern for the value of one metadata key.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, pattern: Pattern) -> Self {
        self.metadata.insert(key.into(), pattern);
        self
    }

    /// Adds a pattern for the template's id.
    #[must_use]
    pub fn template_id(mut self, pattern: Pattern) -> Self {
        self.template_ids.push(pattern);
        self
    }

    /// Sets the pattern for the value of one of the template's metadata keys.
    #[must_use]
    pub fn template_metadata(mut self, key: impl Into<String>, pattern: Pattern) -> Self {
        self.template_metadata.insert(key.into(), pattern);
        self
    }

    /// Adds a pattern for the site's id.
    #[must_use]
    pub fn site_id(mut self, pattern: Pattern) -> Self {
        self.site_ids.push(pattern);
        self
    }

    /// Sets the pattern for the value of one of the site's metadata keys.
    #[must_use]
    pub fn site_metadata(mut self, key: impl Into<String>, pattern: Pattern) -> Self {
        self.site_metadata.insert(key.into(), pattern);
        self
    }

    /// Sets all patterns for metadata values.
    #[must_use]
    pub fn metadata_patterns(mut self, patterns: MetadataPatterns) -> Self {
        self.metadata = patterns;
        self
    }

    /// Sets all patterns for the template's metadata values.
    #[must_use]
    pub fn template_metadata_patterns(mut self, patterns: MetadataPatterns) -> Self {
        self.template_metadata = patterns;
        self
    }

    /// Sets all patterns for the site's metadata values.
    #[must_use]
    pub fn site_metadata_patterns(mut self, patterns: MetadataPatterns) -> Self {
        self.site_metadata = patterns;
        self
    }

    chainable! {
        /// Sets all patterns for the id, or for a plugin's name.
        ids: Vec<Pattern>;
        /// Sets all patterns for the template's id.
        template_ids: Vec<Pattern>;
        /// Sets all patterns for the site's id.
        site_ids: Vec<Pattern>;
        /// Sets the exact parent.
        parent: into Option<DeploymentId>;
        /// Sets whether deployments must be prepared, or must not be.
        prepared: into Option<bool>;
        /// Sets whether deployments must be approved, or must not be.
        approved: into Option<bool>;
        /// Sets the site to which deployments are assigned, or on which they are placed.
        concerning: into Option<SiteId>;
        /// Sets the plugin type.
        plugin_type: into Option<PluginType>;
        /// Sets the exact executor.
        executor: into Option<String>;
        /// Sets the exact trigger.
        trigger: into Option<Gvk>;
        /// Sets whether entities that are being deleted are included.
        deleting: bool;
    }

    /// Whether the selection can be watched, which requires that the row alone decides, without
    /// joins.
    pub fn is_watchable(&self) -> bool {
        self.template_metadata.is_empty() && self.site_metadata.is_empty()
    }

    /// The joins that decide in addition to the row itself: patterns, and the key of the template
    /// or site whose metadata must [match](metadata_match) them. Without a key, or if that entity
    /// does not exist, the row is not selected.
    #[inline]
    pub fn joins(
        &self,
        entity: &Entity,
    ) -> impl Iterator<Item = (&MetadataPatterns, Option<Key>)> + use<'_> {
        // Keys are made only for existing joins: most selections have none.
        let deployment = entity.deployment();
        let template = (!self.template_metadata.is_empty()).then(|| {
            let id = deployment.and_then(|d| d.template.as_ref());
            (&self.template_metadata, id.map(Key::from))
        });
        let site = (!self.site_metadata.is_empty()).then(|| {
            let id = deployment.and_then(|d| d.site.as_ref());
            (&self.site_metadata, id.map(Key::from))
        });
        template.into_iter().chain(site)
    }

    /// Whether the row matches. Ignores the joins, `template_metadata` and `site_metadata`.
    pub fn matches(&self, entity: &Entity) -> bool {
        entity.key.kind() == self.kind
            && (self.deleting || !entity.deleting)
            && self.ids_match(entity)
            && metadata_match(&self.metadata, &entity.metadata)
            && all_match(
                &self.template_ids,
                entity.template().map(TemplateId::as_str),
            )
            && self.deployment_matches(entity)
            && self.plugin_matches(entity)
    }

    fn ids_match(&self, entity: &Entity) -> bool {
        let id = match &entity.key {
            Key::Plugin(id) => id.name(),
            key => key.id(),
        };
        all_match(&self.ids, Some(id))
    }

    fn deployment_matches(&self, entity: &Entity) -> bool {
        let deployment = entity.deployment();
        let is = |fact: fn(&crate::Deployment) -> bool, wanted: Option<bool>| {
            wanted.is_none_or(|wanted| deployment.is_some_and(|d| fact(d) == wanted))
        };
        all_match(
            &self.site_ids,
            deployment.and_then(|d| d.site.as_ref()).map(SiteId::as_str),
        ) && self
            .parent
            .as_ref()
            .is_none_or(|id| deployment.is_some_and(|d| d.parent.as_ref() == Some(id)))
            && is(|d| d.prepared, self.prepared)
            && is(|d| d.approved, self.approved)
            && self.concerning.as_ref().is_none_or(|id| {
                deployment.is_some_and(|d| {
                    d.site.as_ref() == Some(id) || d.placed.as_ref().is_some_and(|(at, _)| at == id)
                })
            })
    }

    fn plugin_matches(&self, entity: &Entity) -> bool {
        let plugin = entity.plugin();
        let by_type = self.plugin_type.is_none_or(
            |wanted| matches!(&entity.key, Key::Plugin(id) if id.plugin_type() == wanted),
        );
        by_type
            && self
                .executor
                .as_ref()
                .is_none_or(|wanted| plugin.is_some_and(|p| p.executor == *wanted))
            && self
                .trigger
                .as_ref()
                .is_none_or(|wanted| plugin.is_some_and(|p| p.triggers.contains(wanted)))
    }
}

fn all_match(patterns: &[Pattern], id: Option<&str>) -> bool {
    patterns.is_empty() || id.is_some_and(|id| patterns.iter().all(|p| p.matches(id)))
}

/// Whether every pattern matches the value of its key.
pub fn metadata_match(patterns: &MetadataPatterns, metadata: &Metadata) -> bool {
    patterns.iter().all(|(key, pattern)| {
        metadata
            .get(key)
            .is_some_and(|value| pattern.matches(value))
    })
}

/// The end of a page: the next page continues after this key. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Key);

/// A request for one page of a listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct List {
    /// The entities to list.
    pub select: Select,
    /// The page to continue after; `None` starts at the beginning.
    pub after: Option<Cursor>,
    /// Maximum number of records of the page. At most [`MAX_PAGE`]; 0 means [`MAX_PAGE`].
    pub limit: usize,
    /// The parts of each record to read, and how recent they must be.
    pub want: Want,
}

impl List {
    /// The first page of a selection: at most [`MAX_PAGE`] rows.
    pub fn new(select: Select) -> Self {
        Self {
            select,
            after: None,
            limit: MAX_PAGE,
            want: Want::ROW,
        }
    }

    chainable! {
        /// Sets the entities to list.
        select: Select;
        /// Sets the page to continue after.
        after: into Option<Cursor>;
        /// Sets the maximum number of records of the page.
        limit: usize;
        /// Sets the parts of each record to read.
        want: Want;
    }

    /// Maximum number of records of one page: [`limit`](Self::limit), within [`MAX_PAGE`].
    pub fn most(&self) -> usize {
        match self.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        }
    }
}

/// One page of a listing: records in key order, all from the same instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The page contains at least every change up to this revision.
    ///
    /// To follow a listing with a watch, start at the revision of the *first* page. If stale reads
    /// are [allowed](Want::allow_stale), start at the lowest revision of all pages.
    pub revision: Revision,
    /// The records, in key order.
    pub items: Vec<Record>,
    /// The end of this page; `None` only on the last page. A page may be short or even empty
    /// without being the last, because its cost is bounded.
    pub next: Option<Cursor>,
}

impl Page {
    /// A last page with these records.
    pub fn new(revision: Revision, items: Vec<Record>) -> Self {
        Self {
            revision,
            items,
            next: None,
        }
    }

    chainable! {
        /// Sets the end of this page, after which the next one continues.
        next: into Option<Cursor>;
    }
}

/// The number of matching entities, exact up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// The number found; at most the bound.
    pub found: u64,
    /// Whether there are more than the bound.
    pub more: bool,
}

impl Count {
    /// A count of `found` entities; `more` if the bound was reached and more exist.
    pub fn new(found: u64, more: bool) -> Self {
        Self { found, more }
    }
}

/// Streams the pages of a listing, from this one on. Each page is read with `read` when it is polled
/// for; the stream ends after the last page or the first error.
pub fn pages<F>(
    list: List,
    read: impl Fn(List) -> F + Send + 'static,
) -> impl Stream<Item = Result<Page>> + Send + 'static
where
    F: Future<Output = Result<Page>> + Send + 'static,
{
    stream::try_unfold(Some(list), move |list| {
        let page = list.clone().map(&read);
        async move {
            let (Some(mut list), Some(page)) = (list, page) else {
                return Ok(None);
            };
            let page = page.await?;
            list.after.clone_from(&page.next);
            let more = page.next.is_some();
            Ok(Some((page, more.then_some(list))))
        }
    })
}
