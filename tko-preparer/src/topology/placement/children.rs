//! The children of one Placement, identified by idempotency keys.

use super::super::merging::deployment_id;
use super::plan::PlacementEntry;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tko_core::{
    Cursor, DataApi, DeploymentId, Effect, Key, Kind, List, NewDeployment, PrepareCall, Record,
    Result, Select, SiteId, TemplateId,
};

/// Maximum number of ids in `status.deploymentIds`. Selecting by parent finds all of them.
const MAX_IDS: usize = 1_000;
/// Maximum number of pages that one call counts.
const PAGES: usize = 50;

/// The children of one Placement.
pub(super) struct Children<'a> {
    data: &'a dyn DataApi,
    parent: DeploymentId,
    /// The start and end of their keys. In between are the index in `templates`, a bar, and the
    /// site. Ids and numbers contain no bar, so keys are unambiguous. The store reserves keys that
    /// start with an id and a bar, so clients cannot take them.
    start: String,
    end: String,
}

/// One child.
pub(super) struct Child {
    pub(super) id: DeploymentId,
    pub(super) entry: usize,
    pub(super) site: String,
    /// The template that it was made from, unless the template was deleted.
    pub(super) template: Option<TemplateId>,
    /// Whether it is being deleted. It keeps its idempotency key until it is gone, so it cannot be
    /// created again before then.
    pub(super) is_leaving: bool,
}

impl<'a> Children<'a> {
    pub(super) fn of(call: &PrepareCall<'a>) -> Result<Self> {
        let parent = deployment_id(call)?;
        let namespace = call.target.namespace.as_deref().unwrap_or_default();
        Ok(Self {
            data: call.data,
            start: format!("{parent}|"),
            end: format!("|{namespace:?}|{}", call.target.name),
            parent,
        })
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
        format!("{}{entry}|{site}{}", self.start, self.end).into()
    }

    fn child(&self, record: &Record) -> Option<Child> {
        let entity = &record.entity;
        let key = entity.deployment()?.idempotency_key.as_deref()?;
        let (entry, site) = key
            .strip_prefix(&self.start)?
            .strip_suffix(&self.end)?
            .split_once('|')?;
        (!site.contains('|')).then_some(Child {
            id: entity.key.deployment()?.clone(),
            entry: entry.parse().ok()?,
            site: site.to_owned(),
            template: entity.template().cloned(),
            is_leaving: entity.deleting,
        })
    }

    /// One page of children, including those that are being deleted, in the order of their ids, and
    /// the id to continue after; `None` on the last page.
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

    /// Whether there are children, and how many of them are being deleted.
    pub(super) async fn existing(&self) -> Result<(bool, usize)> {
        let (mut any, mut leaving) = (false, 0);
        let mut after = None;
        loop {
            let (page, next) = self.page(after).await?;
            any |= !page.is_empty();
            leaving += page.iter().filter(|child| child.is_leaving).count();
            after = next;
            if after.is_none() {
                return Ok((any, leaving));
            }
        }
    }
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
            for child in &page {
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
