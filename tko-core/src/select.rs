//! Choosing entities: selections, pages, cursors.

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

/// Most records on one page.
pub const MAX_PAGE: usize = 1_000;

/// Patterns by literal metadata key. A key that is absent does not match.
pub type MetadataPatterns = BTreeMap<String, Pattern>;

/// Which entities of one kind. All that is set must hold; an absent id matches no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// The one kind.
    pub kind: Kind,
    /// All must match the id; of plugins, the name.
    pub ids: Vec<Pattern>,
    /// All must match.
    pub metadata: MetadataPatterns,
    /// Of deployments: exactly this parent.
    pub parent: Option<DeploymentId>,
    /// Of sites and deployments: all must match the template's id.
    pub template_ids: Vec<Pattern>,
    /// Of deployments: by join. Lists and counts take them, watches refuse them, for a template's
    /// change is no change of its deployments.
    pub template_metadata: MetadataPatterns,
    /// Of deployments: all must match the site's id.
    pub site_ids: Vec<Pattern>,
    /// Of deployments: by join, as `template_metadata`.
    pub site_metadata: MetadataPatterns,
    /// Of deployments.
    pub prepared: Option<bool>,
    /// Of deployments.
    pub approved: Option<bool>,
    /// Of deployments: assigned to this site, or still placed on it. What its scheduler must know.
    pub concerning: Option<SiteId>,
    /// Of plugins.
    pub plugin_type: Option<PluginType>,
    /// Of plugins: compared whole.
    pub executor: Option<String>,
    /// Of plugins: one of the triggers is this, whole.
    pub trigger: Option<Gvk>,
    /// Also what is being deleted. For workers.
    pub deleting: bool,
}

impl Select {
    /// Everything of one kind.
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

    /// Whether the row alone decides.
    pub fn is_watchable(&self) -> bool {
        self.template_metadata.is_empty() && self.site_metadata.is_empty()
    }

    /// Whether the row matches: all but the joins.
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

/// Whether all patterns match.
pub fn metadata_match(patterns: &MetadataPatterns, metadata: &Metadata) -> bool {
    patterns.iter().all(|(key, pattern)| {
        metadata
            .get(key)
            .is_some_and(|value| pattern.matches(value))
    })
}

/// Continue after this key. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Key);

/// A request for one page.
#[derive(Clone, Debug)]
pub struct List {
    /// What to list.
    pub select: Select,
    /// Continue after this; `None`: from the start.
    pub after: Option<Cursor>,
    /// At most this many; capped at [`MAX_PAGE`], and 0 means that.
    pub limit: usize,
    /// What to read beside the rows, and how recent.
    pub want: Want,
}

impl List {
    /// Most items of one page: [`limit`](Self::limit), within [`MAX_PAGE`].
    pub fn most(&self) -> usize {
        match self.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        }
    }
}

/// One page of a listing, in key order, consistent in itself.
#[derive(Clone, Debug)]
pub struct Page {
    /// The page shows everything up to here, and perhaps more. Watch from the *first* page's; of
    /// pages of [any revision](Want::allow_stale) from the lowest.
    pub revision: Revision,
    /// In key order.
    pub items: Vec<Record>,
    /// `None` is the only sign of the end: a page may be short, even empty, because its cost is
    /// bounded.
    pub next: Option<Cursor>,
}

/// How many there are, exactly up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At most the bound.
    pub found: u64,
    /// There are more than the bound.
    pub more: bool,
}

/// The pages from this one on, read one by one with `read`, each when it is asked for.
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
