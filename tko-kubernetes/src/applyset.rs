//! The inventory in the cluster: an ApplySet (KEP-3659).
//!
//! Each object that a site has in its cluster carries a label with the id of the set. A ConfigMap,
//! the parent of the set, names the kinds and namespaces where such objects can be. So everything
//! that a site has can be found by reading the cluster: after a crash at any point, and by other
//! tools.

use crate::kinds::GroupKind;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The label of the members.
pub(crate) const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The label of the members and of the parent, so that one list returns both.
pub(crate) const SET: &str = "tko.nephio.org/set";
/// The label of the parent.
pub(crate) const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// The annotation of the parent with the id of the site, or of the site's infrastructure.
const OWNER: &str = "tko.nephio.org/owner";

/// The name, namespace and id of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApplySet {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) id: String,
    owner: String,
}

/// The kinds and namespaces that can contain members of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetScope {
    pub(crate) kinds: BTreeSet<GroupKind>,
    /// All namespaces, that of the parent included.
    pub(crate) namespaces: BTreeSet<String>,
}

impl SetScope {
    /// The union of both scopes.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self {
            kinds: self.kinds.union(&other.kinds).cloned().collect(),
            namespaces: self.namespaces.union(&other.namespaces).cloned().collect(),
        }
    }
}

impl ApplySet {
    /// The set of a site, or of its infrastructure; `role` distinguishes the two.
    pub(crate) fn new(role: &str, owner: &str, namespace: &str) -> Self {
        let name = parent_name(role, owner);
        let mut hasher = Sha256::new();
        hasher.update(format!("{name}.{namespace}.ConfigMap."));
        let id = format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hasher.finalize()));
        Self {
            name,
            namespace: namespace.to_owned(),
            id,
            owner: owner.to_owned(),
        }
    }

    /// The selector of the members and the parent.
    pub(crate) fn selector(&self) -> String {
        format!("{SET}={}", self.id)
    }

    /// The parent, as it is applied.
    pub(crate) fn parent(&self, scope: &SetScope) -> Value {
        let others = scope
            .namespaces
            .iter()
            .filter(|one| **one != self.namespace);
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": {ID: self.id, SET: self.id},
                "annotations": {
                    TOOLING: concat!("tko/v", env!("CARGO_PKG_VERSION")),
                    KINDS: joined(scope.kinds.iter().map(ToString::to_string)),
                    NAMESPACES: joined(others.cloned()),
                    OWNER: self.owner,
                },
            },
        })
    }

    /// Reads the scope of a parent.
    ///
    /// # Errors
    /// The object is not the parent of this set: it belongs to another tool or another site.
    pub(crate) fn scope(&self, parent: &Value) -> Result<SetScope, String> {
        let metadata = &parent["metadata"];
        let text = |kind: &str, name: &str| {
            let value = metadata.get(kind).and_then(|all| all.get(name));
            value.and_then(Value::as_str).unwrap_or_default()
        };
        let is_ours = text("labels", ID) == self.id
            && text("annotations", TOOLING).starts_with("tko/")
            && text("annotations", OWNER) == self.owner;
        if !is_ours {
            return Err(format!(
                "ConfigMap {}/{} exists, and is not the inventory of {}; rename or delete it",
                self.namespace, self.name, self.owner
            ));
        }
        let kinds = text("annotations", KINDS).split(',');
        let namespaces = text("annotations", NAMESPACES).split(',');
        let namespaces = namespaces.filter(|name| crate::kinds::is_name(name));
        Ok(SetScope {
            kinds: kinds.filter_map(GroupKind::parse).collect(),
            namespaces: namespaces
                .map(str::to_owned)
                .chain([self.namespace.clone()])
                .collect(),
        })
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    parts.join(",")
}

/// `tko-site-ID-HASH`: people recognize the id, and the hash makes it unique.
fn parent_name(role: &str, owner: &str) -> String {
    const READABLE: usize = 40;
    let lower = owner.to_ascii_lowercase();
    let readable: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(READABLE)
        .collect();
    let digest = Sha256::digest(owner.as_bytes());
    let mut hash = String::new();
    for byte in digest.iter().take(6) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    format!("tko-{role}-{}-{hash}", readable.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::{ApplySet, SetScope};
    use crate::kinds::GroupKind;
    use serde_json::json;

    fn scope(kinds: &[&str], namespaces: &[&str]) -> SetScope {
        SetScope {
            kinds: kinds
                .iter()
                .filter_map(|text| GroupKind::parse(text))
                .collect(),
            namespaces: namespaces.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    /// The rule of KEP-3659: `applyset-<base64(sha256(name.namespace.kind.group))>-v1`.
    #[test]
    fn the_id_is_that_of_the_specification() {
        let set = ApplySet::new("site", "a", "edge");
        assert_eq!(set.name, "tko-site-a-ca978112ca1b");
        assert!(set.id.starts_with("applyset-") && set.id.ends_with("-v1"));
        assert!(set.id.len() <= 63, "a label has at most 63 characters");
        let other = ApplySet::new("site", "a", "other");
        assert_ne!(set.id, other.id);
    }

    #[test]
    fn a_parent_keeps_its_scope() {
        let set = ApplySet::new("site", "nation/south-1", "edge");
        let scope = scope(&["ConfigMap", "Deployment.apps"], &["edge", "other"]);
        let parent = set.parent(&scope);
        assert_eq!(set.scope(&parent), Ok(scope));
        let annotations = &parent["metadata"]["annotations"];
        assert_eq!(
            annotations["applyset.kubernetes.io/additional-namespaces"],
            "other"
        );
    }

    #[test]
    fn a_config_map_of_something_else_is_not_taken() {
        let set = ApplySet::new("site", "a", "edge");
        let mut parent = set.parent(&SetScope::default());
        parent["metadata"]["annotations"]["tko.nephio.org/owner"] = json!("b");
        assert!(set.scope(&parent).is_err());
        assert!(set.scope(&json!({"metadata": {"name": set.name}})).is_err());
    }

    #[test]
    fn ids_of_sites_that_look_alike_have_different_parents() {
        let names: Vec<String> = ["a/b", "a-b", "A/B", &"x".repeat(300), &"x".repeat(301)]
            .iter()
            .map(|id| ApplySet::new("site", id, "default").name)
            .collect();
        for (at, name) in names.iter().enumerate() {
            assert!(name.len() <= 63, "{name}");
            assert!(!names[at + 1..].contains(name), "{name}");
        }
        assert_ne!(
            ApplySet::new("site", "a", "default").id,
            ApplySet::new("infra", "a", "default").id
        );
    }
}
