//! The kinds that a cluster serves, and their paths.

use crate::client::ClusterClient;
use crate::failure::RequestFailure;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A group and a kind, as in an ApplySet: `Kind.group`, or `Kind` in the core group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKind {
    pub(crate) group: String,
    pub(crate) kind: String,
}

impl GroupKind {
    /// The kind ConfigMap.
    pub(crate) fn config_map() -> Self {
        Self {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
        }
    }

    pub(crate) fn is_config_map(&self) -> bool {
        self.group.is_empty() && self.kind == "ConfigMap"
    }

    /// Reads `Kind.group` or `Kind`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        (!kind.is_empty()).then(|| Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }
}

impl std::fmt::Display for GroupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.kind),
            group => write!(f, "{}.{group}", self.kind),
        }
    }
}

/// A kind that a cluster serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedKind {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    base: String,
    plural: String,
    pub(crate) namespaced: bool,
}

impl ServedKind {
    /// The kind ConfigMap, which every cluster serves.
    pub(crate) fn config_map() -> Self {
        Self {
            base: "/api/v1".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
        }
    }

    /// The `apiVersion` of its objects.
    pub(crate) fn api_version(&self) -> &str {
        let base = self.base.trim_start_matches("/apis/");
        base.trim_start_matches("/api/")
    }

    /// The path of all objects, of those of a namespace, or of one object. Names must be
    /// [valid](is_name).
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = self.base.clone();
        if let (true, Some(namespace)) = (self.namespaced, namespace) {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

/// Whether this can be a segment of a path: a name of an object, namespace, group, version or kind.
pub(crate) fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    (1..=253).contains(&text.len()) && text != "." && text != ".." && text.chars().all(is_allowed)
}

type Kinds = Arc<HashMap<String, ServedKind>>;

/// The kinds of the groups and versions that were asked for.
#[derive(Default)]
pub(crate) struct KindCache {
    versions: Mutex<HashMap<(String, String), Kinds>>,
    /// The preferred version of each group.
    preferred: Mutex<HashMap<String, String>>,
}

impl KindCache {
    /// Forgets the kinds of a group, because some were added or removed.
    pub(crate) fn forget_group(&self, group: &str) {
        locked(&self.versions).retain(|(of, _), _| of != group);
        locked(&self.preferred).remove(group);
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        let (mut versions, mut preferred) = (locked(&self.versions), locked(&self.preferred));
        versions.clear();
        preferred.clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClusterClient {
    /// A kind of a group and version; `None` if the cluster does not serve it.
    pub(crate) async fn kind(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<ServedKind>, RequestFailure> {
        let key = (group.to_owned(), version.to_owned());
        let known = locked(&self.kinds.versions).get(&key).cloned();
        if let Some(found) = known.as_ref().and_then(|kinds| kinds.get(kind)) {
            return Ok(Some(found.clone()));
        }
        if known.is_some() || !is_name(version) || !(group.is_empty() || is_name(group)) {
            return Ok(None);
        }
        let base = match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let Some(list) = self.get(&base).await? else {
            return Ok(None);
        };
        let kinds = Arc::new(served(&base, &list));
        let found = kinds.get(kind).cloned();
        locked(&self.kinds.versions).insert(key, kinds);
        Ok(found)
    }

    /// A kind in the version that the cluster prefers; `None` if the cluster does not serve it.
    pub(crate) async fn preferred_kind(
        &self,
        of: &GroupKind,
    ) -> Result<Option<ServedKind>, RequestFailure> {
        if of.group.is_empty() {
            return self.kind("", "v1", &of.kind).await;
        }
        if !is_name(&of.group) {
            return Ok(None);
        }
        let known = locked(&self.kinds.preferred).get(&of.group).cloned();
        let preferred = if let Some(known) = known {
            known
        } else {
            let Some(group) = self.get(&format!("/apis/{}", of.group)).await? else {
                return Ok(None);
            };
            let preferred = group.pointer("/preferredVersion/version");
            let preferred = preferred.and_then(Value::as_str).unwrap_or_default();
            locked(&self.kinds.preferred).insert(of.group.clone(), preferred.to_owned());
            preferred.to_owned()
        };
        self.kind(&of.group, &preferred, &of.kind).await
    }
}

fn served(base: &str, list: &Value) -> HashMap<String, ServedKind> {
    let resources = list.get("resources").and_then(Value::as_array);
    let resources = resources.map(Vec::as_slice).unwrap_or_default().iter();
    let kinds = resources.filter_map(|resource| {
        let plural = resource.get("name")?.as_str()?;
        let kind = resource.get("kind")?.as_str()?;
        // Subresources have names with a slash.
        is_name(plural).then(|| {
            let served = ServedKind {
                base: base.to_owned(),
                plural: plural.to_owned(),
                namespaced: resource.get("namespaced") == Some(&Value::Bool(true)),
            };
            (kind.to_owned(), served)
        })
    });
    kinds.collect()
}

#[cfg(test)]
mod tests {
    use super::{GroupKind, is_name, served};
    use serde_json::json;

    #[test]
    fn subresources_are_no_kinds_and_paths_have_namespaces_where_they_belong() {
        let list = json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true},
            {"name": "classes", "kind": "Class", "namespaced": false},
        ]});
        let kinds = served("/apis/apps/v1", &list);
        assert_eq!(kinds.len(), 2);
        let path = kinds["Deployment"].path(Some("a"), Some("b"));
        assert_eq!(path, "/apis/apps/v1/namespaces/a/deployments/b");
        assert_eq!(
            kinds["Class"].path(Some("a"), None),
            "/apis/apps/v1/classes"
        );
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        for name in ["", ".", "..", "a/b", "a?b", "a%2fb", "a b", "é", "a#b"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(!is_name(&"a".repeat(254)));
        for name in ["a", "system:node", "a.b-c", "v1"] {
            assert!(is_name(name), "{name}");
        }
    }

    #[test]
    fn group_kinds_are_written_as_in_an_applyset() {
        for text in ["ConfigMap", "Deployment.apps", "Cluster.cluster.x-k8s.io"] {
            let parsed = GroupKind::parse(text).expect("it is one");
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!(GroupKind::parse(""), None);
    }
}
