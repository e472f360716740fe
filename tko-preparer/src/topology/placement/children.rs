//! The children of one Placement, identified by idempotency keys.
//!
//! The key of a child consists of its parent, the index in `templates`, the site, and the namespace
//! and name of the Placement. If a key would exceed [`MAX_IDEMPOTENCY_KEY`], it has a digest of the
//! site, and if that is not enough, one of the name as well.
//!
//! The namespace of a Placement can change after its children were created, for example by the
//! function `set-namespace`. Their keys do not change, so [`Children::settle`] decides which
//! namespace is in the keys of all its children, present and future:
//!
//! 1. The own namespace, if it is in the key of a child.
//! 2. Otherwise, a namespace that is in keys, but that no Placement of this name has: the first in
//!    alphabetical order. Of several Placements without children, only the first in the package
//!    gets it.
//! 3. Otherwise, the own namespace.
//!
//! So Placements of one name that all have children do not take each other's when one gets another
//! namespace, or they change places in the package. A Placement without children that precedes the
//! moved one in the package gets the children in its place.

use super::super::merging::deployment_id;
use super::plan::PlacementEntry;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::limits::MAX_IDEMPOTENCY_KEY;
use tko_core::{
    ContentHash, Cursor, DataApi, DeploymentId, Effect, Identifier, Key, Kind, List, NewDeployment,
    PrepareCall, Record, Result, Select, SiteId, TemplateId,
};

/// Maximum number of ids in `status.deploymentIds`. Selecting by parent finds all of them.
const MAX_IDS: usize = 1_000;
/// Maximum number of pages that one call counts.
const PAGES: usize = 50;

/// The children of one Placement.
pub(super) struct Children<'a> {
    data: &'a dyn DataApi,
    parent: DeploymentId,
    /// The start and end of their keys. In between are the index in `templates`, the site and the
    /// namespace, with bars between them. Ids and numbers contain no bar, and a namespace is in
    /// quotes, so keys are unambiguous. The store reserves keys that start with an id and a bar, so
    /// clients cannot take them.
    start: String,
    end: String,
    /// The end of the keys that would be too long with the name of the Placement.
    short_end: String,
    /// The namespace in their keys, in quotes.
    namespace: String,
    /// The namespaces, in quotes, of the Placements of this name, in package order.
    namesakes: Vec<String>,
}

/// One child.
pub(super) struct Child {
    pub(super) id: DeploymentId,
    pub(super) entry: usize,
    /// The site [in its key](Children::site_in_key).
    pub(super) site: String,
    /// The namespace in its key, in quotes.
    pub(super) namespace: String,
    /// The template that it was made from, unless the template was deleted.
    pub(super) template: Option<TemplateId>,
    /// Whether it is being deleted. It keeps its idempotency key until it is gone, so it cannot be
    /// created again before then.
    pub(super) is_leaving: bool,
}

impl<'a> Children<'a> {
    /// The children whose keys have the own namespace, until [`settle`](Self::settle) or
    /// [`resume`](Self::resume) is called.
    pub(super) fn of(call: &PrepareCall<'a>) -> Result<Self> {
        let parent = deployment_id(call)?;
        let target = call.target;
        let namesakes = call.package.of(&target.gvk);
        let namesakes = namesakes.filter(|resource| resource.identifier().name == target.name);
        let [end, short_end] = ends_of_keys(target);
        Ok(Self {
            data: call.data,
            start: format!("{parent}|"),
            end,
            short_end,
            namespace: quoted(target),
            namesakes: namesakes.map(|other| quoted(other.identifier())).collect(),
            parent,
        })
    }

    /// The namespace in the keys, in quotes.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Continues with the namespace of committed progress, for as long as the package is the same.
    pub(super) fn resume(&mut self, progress: &Value) {
        if let Some(namespace) = progress.get("namespace").and_then(Value::as_str) {
            namespace.clone_into(&mut self.namespace);
        }
    }

    /// Decides which namespace is in the keys; see the [module](self). The keys of `found` are the
    /// namespaces of all children of [`page`](Self::page).
    pub(super) fn settle<T>(&mut self, found: &BTreeMap<String, T>) {
        let mut without = self.namesakes.iter();
        let first = without.find(|namespace| !found.contains_key(*namespace));
        if first != Some(&self.namespace) {
            return;
        }
        let former = found
            .keys()
            .find(|namespace| !self.namesakes.contains(namespace));
        if let Some(former) = former {
            self.namespace.clone_from(former);
        }
    }

    /// Whether a child of [`page`](Self::page) is one of this Placement.
    pub(super) fn contains(&self, child: &Child) -> bool {
        child.namespace == self.namespace
    }

    /// Creates a child, unless it exists.
    pub(super) fn create(
        &self,
        entry: &PlacementEntry,
        index: usize,
        template: &TemplateId,
        site: &SiteId,
    ) -> Effect {
        Effect::Deployment(
            NewDeployment::new()
                .parent(self.parent.clone())
                .template(template.clone())
                .site(site.clone())
                .merge(entry.merge.clone())
                .idempotency_key(self.key(index, site)),
        )
    }

    fn key(&self, entry: usize, site: &SiteId) -> Arc<str> {
        let site = self.site_in_key(entry, site);
        let mut key = self.key_with(entry, &site, &self.end);
        if key.len() > MAX_IDEMPOTENCY_KEY {
            key = self.key_with(entry, &site, &self.short_end);
        }
        key.into()
    }

    /// The site in the key of a child: its id, or a digest if the key would be too long.
    pub(super) fn site_in_key<'s>(&self, entry: usize, site: &'s SiteId) -> Cow<'s, str> {
        let id = site.as_str();
        if self.key_with(entry, id, &self.end).len() <= MAX_IDEMPOTENCY_KEY {
            Cow::Borrowed(id)
        } else {
            Cow::Owned(digest(id))
        }
    }

    fn key_with(&self, entry: usize, site: &str, end: &str) -> String {
        let Self {
            start, namespace, ..
        } = self;
        format!("{start}{entry}|{site}|{namespace}{end}")
    }

    fn child(&self, record: &Record) -> Option<Child> {
        let entity = &record.entity;
        let key = entity.deployment()?.idempotency_key.as_deref()?;
        let key = key.strip_prefix(&self.start)?;
        let key = key
            .strip_suffix(&self.end)
            .or_else(|| key.strip_suffix(&self.short_end))?;
        let (entry, rest) = key.split_once('|')?;
        let (site, namespace) = rest.split_once('|')?;
        if !is_quoted(namespace) && !self.namesakes.iter().any(|own| own == namespace) {
            return None;
        }
        Some(Child {
            id: entity.key.deployment()?.clone(),
            entry: entry.parse().ok()?,
            site: site.to_owned(),
            namespace: namespace.to_owned(),
            template: entity.template().cloned(),
            is_leaving: entity.deleting,
        })
    }

    /// One page of children, including those that are being deleted, in the order of their ids, and
    /// the id to continue after. The id is `None` on the last page. The page includes the children
    /// of all Placements of this name; [`contains`](Self::contains) tells them apart.
    pub(super) async fn page(
        &self,
        after: Option<DeploymentId>,
    ) -> Result<(Vec<Child>, Option<DeploymentId>)> {
        let list = List::new(
            Select::all(Kind::Deployment)
                .parent(self.parent.clone())
                .deleting(true),
        )
        .after(after.map(|id| Cursor(Key::Deployment(id))));
        let page = self.data.list(&list).await?;
        let children = page.items.iter().filter_map(|record| self.child(record));
        let next = match page.next {
            Some(Cursor(Key::Deployment(id))) => Some(id),
            _ => None,
        };
        Ok((children.collect(), next))
    }

    /// Whether there are children, and how many of them are being deleted. Also
    /// [settles](Self::settle) the namespace in their keys.
    pub(super) async fn existing(&mut self) -> Result<(bool, usize)> {
        let mut leaving: BTreeMap<String, usize> = BTreeMap::new();
        let mut after = None;
        loop {
            let (page, next) = self.page(after).await?;
            for child in page {
                *leaving.entry(child.namespace).or_default() += usize::from(child.is_leaving);
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.settle(&leaving);
        let leaving = leaving.get(&self.namespace);
        Ok((leaving.is_some(), leaving.copied().unwrap_or_default()))
    }
}

/// The ends of the keys of the children of Placements of this name: that of most keys, and that of
/// keys that would be too long with the name.
pub(super) fn ends_of_keys(placement: &Identifier) -> [String; 2] {
    let name = &placement.name;
    [format!("|{name}"), format!("|{}", digest(name))]
}

/// A digest of a part of a key. It begins with `#`, which no id contains.
fn digest(part: &str) -> String {
    format!("#{}", ContentHash::of(&json!(part)))
}

/// The namespace of a Placement, in quotes; empty if it has none.
fn quoted(placement: &Identifier) -> String {
    format!("{:?}", placement.namespace.as_deref().unwrap_or_default())
}

/// Whether a part of a key is one namespace in quotes.
fn is_quoted(part: &str) -> bool {
    let inner = part
        .strip_prefix('"')
        .and_then(|part| part.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

/// The children counted so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    after: Option<DeploymentId>,
    deployments: u64,
    ids: Vec<String>,
}

impl Census {
    /// Reads committed progress. Anything malformed counts as the start.
    pub(super) fn read(value: &Value) -> Self {
        let ids = |ids: &Vec<Value>| {
            let ids = ids.iter().map(|id| id.as_str().map(str::to_owned));
            ids.collect::<Option<Vec<_>>>()
        };
        let read = || {
            Some(Self {
                after: Some(DeploymentId::new(value.get("after")?.as_str()?).ok()?),
                deployments: value.get("deployments")?.as_u64()?,
                ids: ids(value.get("ids")?.as_array()?)?,
            })
        };
        read().unwrap_or_default()
    }

    pub(super) fn to_value(&self) -> Value {
        json!({
            "after": self.after.as_ref().map(DeploymentId::as_str),
            "deployments": self.deployments,
            "ids": self.ids,
        })
    }

    /// The number of children.
    pub(super) fn deployments(&self) -> u64 {
        self.deployments
    }

    /// Counts a child of a page, unless it is being deleted.
    pub(super) fn add_child(&mut self, child: &Child) {
        if !child.is_leaving {
            self.add(&child.id);
        }
    }

    pub(super) fn add(&mut self, id: &DeploymentId) {
        self.deployments += 1;
        if self.ids.len() < MAX_IDS {
            self.ids.push(id.to_string());
        }
    }

    /// Continues counting. Returns whether all children are counted.
    pub(super) async fn count(&mut self, children: &Children<'_>) -> Result<bool> {
        for _ in 0..PAGES {
            let (page, next) = children.page(self.after.take()).await?;
            for child in page.iter().filter(|child| children.contains(child)) {
                self.add_child(child);
            }
            self.after = next;
            if self.after.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The fields of `status`.
    pub(super) fn status(&self) -> Map<String, Value> {
        Map::from_iter([
            ("deployments".to_owned(), json!(self.deployments)),
            ("deploymentIds".to_owned(), json!(self.ids)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::Census;
    use serde_json::json;
    use tko_core::DeploymentId;

    #[test]
    fn a_census_survives_storage_and_a_malformed_one_starts_over() {
        let mut census = Census {
            after: Some(DeploymentId::new("7").expect("an id")),
            ..Census::default()
        };
        census.add(&DeploymentId::new("5").expect("an id"));
        assert_eq!(Census::read(&census.to_value()), census);
        assert_eq!(Census::read(&json!({"deployments": 5})), Census::default());
    }

    #[test]
    fn a_thousand_ids_are_kept_and_all_are_counted() {
        let mut census = Census::default();
        for number in 0..1_500 {
            census.add(&DeploymentId::new(&format!("{number:05}")).expect("an id"));
        }
        let status = census.status();
        assert_eq!(status["deployments"], 1_500);
        assert_eq!(
            status["deploymentIds"].as_array().map(Vec::len),
            Some(1_000)
        );
    }
}
