//! The contents of the cluster: the parent of a set, and its members.

use crate::apply::{Application, ApplyReport, LiveObject, name_kind, of_cluster};
use crate::applyset::SetScope;
use crate::desired::{DesiredObject, ObjectKey};
use crate::drift::ListedPath;
use crate::failure::RequestFailure;
use crate::kinds::{DiscoveredGroups, GroupKind, ServedKind};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::PoisonError;
use tko_core::{Error, Result};

/// The parent of a set, and the objects that were read with it.
pub(crate) struct Inventory {
    pub(crate) parent: Option<Value>,
    pub(crate) scope: SetScope,
    /// Each ConfigMap among the members.
    maps: Vec<Value>,
    /// Whether the `ConfigMap`s of all namespaces were read.
    is_wide: bool,
}

impl Application<'_> {
    /// Reads the parent, together with each ConfigMap among the members: one list returns both.
    pub(crate) async fn inventory(&self) -> Result<Inventory> {
        let served = ServedKind::config_map();
        let list = async |namespace: Option<&str>| {
            let path = served.path(namespace, None);
            let selector = self.set.selector();
            let max = self.settings.max_objects;
            let (items, version) = self.client.list(&path, &selector, max).await?;
            self.note_list(&GroupKind::config_map(), path, version);
            Ok::<_, RequestFailure>(items)
        };
        let mut is_wide = self.memory.is_wide() && !self.memory.is_confined();
        let listed = if is_wide {
            match list(None).await {
                Err(failure) if failure.code() == 403 => {
                    self.memory.confine();
                    is_wide = false;
                    list(Some(&self.set.namespace)).await
                }
                listed => listed,
            }
        } else {
            list(Some(&self.set.namespace)).await
        };
        let mut maps = listed.map_err(|failure| of_cluster(&failure))?;
        let is_parent = |map: &Value| {
            map["metadata"]["name"] == self.set.name
                && map["metadata"]["namespace"] == self.set.namespace
        };
        let parent = maps
            .iter()
            .position(is_parent)
            .map(|at| maps.swap_remove(at));
        let scope = match &parent {
            Some(parent) => self.scope(parent)?,
            None => SetScope::default(),
        };
        Ok(Inventory {
            parent,
            scope,
            maps,
            is_wide,
        })
    }

    fn scope(&self, parent: &Value) -> Result<SetScope> {
        let scope = self.set.scope(parent);
        scope.map_err(|why| Error::bad("site", why))
    }

    pub(crate) fn parent_path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/configmaps/{}",
            self.set.namespace, self.set.name
        )
    }

    pub(crate) fn scope_of(&self, objects: &[DesiredObject]) -> SetScope {
        let namespaces = objects.iter().map(|one| one.key.namespace.clone());
        SetScope {
            kinds: objects.iter().map(|one| one.key.kind.clone()).collect(),
            namespaces: namespaces
                .filter(|namespace| !namespace.is_empty())
                .chain([self.set.namespace.clone()])
                .collect(),
        }
    }

    /// Extends the scope of the parent, if it must be.
    pub(crate) async fn write_scope(
        &self,
        scope: &mut SetScope,
        more: &SetScope,
        exists: bool,
        objects: &[DesiredObject],
    ) -> Result<()> {
        let all = scope.union(more);
        if exists && all == *scope {
            return Ok(());
        }
        let parent = self.set.parent(&all);
        let path = self.parent_path();
        if !exists {
            // Another object may have this name; then it does not have TKO's label.
            let found = self.client.get(&path).await;
            if let Some(found) = found.map_err(|failure| of_cluster(&failure))? {
                self.scope(&found)?;
            }
        }
        let mut written = self.client.apply(&path, &parent, true).await;
        if written.as_ref().is_err_and(|failure| failure.code() == 404) {
            // The namespace of the inventory may itself be an object of the site.
            let own = objects
                .iter()
                .find(|one| one.key.kind.kind == "Namespace" && one.key.name == self.set.namespace);
            if let Some(own) = own {
                let allowed = self.check_creation(&own.key);
                allowed
                    .map_err(|why| Error::unavailable(format!("create the {}", own.key), why))?;
                let body = self.body(own, false);
                let made = self.client.apply(&own.path(), &body, self.force).await;
                made.map_err(|failure| of_cluster(&failure))?;
                self.memory.created(&own.key);
                written = self.client.apply(&path, &parent, true).await;
            }
        }
        written.map_err(|failure| {
            let set = &self.set;
            let what = format!(
                "write the inventory ConfigMap {}/{}",
                set.namespace, set.name
            );
            Error::unavailable(what, failure.to_string())
        })?;
        *scope = all;
        Ok(())
    }

    /// The existing members.
    pub(crate) async fn live(
        &self,
        scope: &SetScope,
        objects: &[DesiredObject],
        inventory: &Inventory,
    ) -> Result<HashMap<ObjectKey, LiveObject>> {
        let is_wide = scope.namespaces.len() > 1;
        self.memory.widen(is_wide);
        let own: HashMap<&GroupKind, &ServedKind> = objects
            .iter()
            .map(|one| (&one.key.kind, &one.served))
            .collect();
        let groups = DiscoveredGroups::default();
        let lists = scope.kinds.iter().map(async |kind| {
            let served = match own.get(kind) {
                Some(served) => Some((*served).clone()),
                None => self.client.preferred_kind(kind, &groups).await?,
            };
            // When a kind is no longer served, its objects are gone, too.
            let Some(served) = served else {
                return Ok(Vec::new());
            };
            let is_read = kind.is_config_map() && (inventory.is_wide || !is_wide);
            let items = if is_read {
                inventory.maps.clone()
            } else {
                self.members(kind, &served, scope).await?
            };
            let of_kind = items
                .into_iter()
                .map(|value| live_object(kind, &served, value));
            // The parent is not a member of its own set.
            let members = of_kind.filter(|(key, _)| {
                !(key.kind.is_config_map()
                    && key.name == self.set.name
                    && key.namespace == self.set.namespace)
            });
            Ok(members.collect::<Vec<_>>())
        });
        let mut all = HashMap::new();
        for list in join_all(lists).await {
            all.extend(list.map_err(|failure: RequestFailure| of_cluster(&failure))?);
        }
        Ok(all)
    }

    async fn members(
        &self,
        kind: &GroupKind,
        served: &ServedKind,
        scope: &SetScope,
    ) -> Result<Vec<Value>, RequestFailure> {
        let selector = self.set.selector();
        let max = self.settings.max_objects;
        let list = async |namespace: Option<&str>| {
            let path = served.path(namespace, None);
            match self.client.list(&path, &selector, max).await {
                // The kind was removed since it was discovered.
                Err(failure) if failure.code() == 404 => Ok(Vec::new()),
                Err(failure) => Err(failure),
                Ok((items, version)) => {
                    self.note_list(kind, path, version);
                    Ok(items)
                }
            }
        };
        if !served.namespaced {
            return list(None).await;
        }
        if scope.namespaces.len() > 1 && !self.memory.is_confined() {
            match list(None).await {
                Err(failure) if failure.code() == 403 => self.memory.confine(),
                listed => return listed,
            }
        }
        let mut all = Vec::new();
        for namespace in &scope.namespaces {
            all.extend(list(Some(namespace)).await?);
        }
        Ok(all)
    }

    fn note_list(&self, kind: &GroupKind, path: String, version: String) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.push(ListedPath {
            kind: kind.clone(),
            path,
            selector: self.set.selector(),
            version,
        });
    }

    /// Reduces the parent to the existing objects, or removes it with the last object.
    pub(crate) async fn finish(
        &self,
        scope: &SetScope,
        parent: Option<&Value>,
        objects: &[DesiredObject],
        report: &ApplyReport,
    ) -> Result<()> {
        if !report.failures.is_empty() {
            return Ok(());
        }
        if objects.is_empty() {
            return match parent {
                Some(parent) => self.delete_parent(parent).await,
                None => Ok(()),
            };
        }
        let target = self.scope_of(objects);
        if target != *scope {
            let parent = self.set.parent(&target);
            let written = self.client.apply(&self.parent_path(), &parent, true).await;
            written.map_err(|failure| of_cluster(&failure))?;
        }
        Ok(())
    }
}

fn live_object(kind: &GroupKind, served: &ServedKind, mut value: Value) -> (ObjectKey, LiveObject) {
    name_kind(kind, served, &mut value);
    let text = |name: &str| {
        let text = value["metadata"][name].as_str();
        text.unwrap_or_default().to_owned()
    };
    let key = ObjectKey {
        kind: kind.clone(),
        namespace: text("namespace"),
        name: text("name"),
    };
    let served = served.clone();
    (key, LiveObject { served, value })
}
