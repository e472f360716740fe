//! Deployments of one site that contain the same resource of a cluster.
//!
//! The deployment that is applied last wins, and removing one deployment removes the resource of
//! the other. So every affected deployment gets a condition that names the others.

use crate::apply::to_apply;
use std::collections::{BTreeMap, HashMap};
use tko_core::{Condition, Entity, Identifier, Key, Package, Record, SiteId};
use tko_worker::shortened;

/// The kind of the condition. It is written only once there has been a conflict.
pub(crate) const EXCLUSIVE: &str = "Exclusive";

/// Maximum number of resources that a message names.
const MAX_NAMED: usize = 5;

/// Maximum length of a message, in bytes.
const MAX_MESSAGE: usize = 2_000;

/// The conflicts of the deployments of one site: for each deployment, the shared resources and their
/// other owners.
#[derive(Debug, Default)]
pub(crate) struct SiteConflicts(BTreeMap<Key, Vec<String>>);

impl SiteConflicts {
    /// Compares the resources of all deployments that are wanted on a site.
    pub(crate) fn find(wanted: &[Record]) -> Self {
        let empty = Package::default();
        let mut owners: HashMap<ClusterObject<'_>, Vec<&Key>> = HashMap::new();
        for record in wanted {
            let package = record.package.as_ref().unwrap_or(&empty);
            for (_, resource) in to_apply(package) {
                let object = ClusterObject::of(resource.identifier());
                let of = owners.entry(object).or_default();
                // One package may contain a resource in several versions of its group.
                if of.last() != Some(&&record.entity.key) {
                    of.push(&record.entity.key);
                }
            }
        }
        let mut shared: Vec<_> = owners.into_iter().filter(|(_, of)| of.len() > 1).collect();
        shared.sort();
        let mut conflicts: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for (object, of) in shared {
            for own in &of {
                let others: Vec<&str> = of
                    .iter()
                    .filter(|other| other != &own)
                    .map(|other| other.id())
                    .take(MAX_NAMED)
                    .collect();
                let text = format!("{object} is also in deployment {}", others.join(", "));
                conflicts.entry((*own).clone()).or_default().push(text);
            }
        }
        Self(conflicts)
    }

    /// The condition of a deployment; `None` if it has no conflict and never had one.
    pub(crate) fn condition(&self, record: &Record, site: &SiteId) -> Option<Condition> {
        let entity = &record.entity;
        let (status, reason, message) = if let Some(shared) = self.0.get(&entity.key) {
            let mut named: Vec<&str> = shared.iter().take(MAX_NAMED).map(String::as_str).collect();
            let more = format!("and {} more", shared.len().saturating_sub(MAX_NAMED));
            if shared.len() > MAX_NAMED {
                named.push(&more);
            }
            let message = format!(
                "on site {site}, {}; the one that is applied last wins: rename the resource, \
                     or delete one of the deployments",
                named.join("; ")
            );
            (false, "SharedResource", message)
        } else {
            entity.condition(EXCLUSIVE)?;
            let message = "no other deployment of the site has its resources".to_owned();
            (true, "Exclusive", message)
        };
        let message = shortened(&message, MAX_MESSAGE);
        Some(Condition::new(
            EXCLUSIVE,
            status,
            reason,
            message,
            entity.generation,
        ))
    }
}

/// The condition of a deployment that is removed from a site; `None` if it had no conflict there.
pub(crate) fn ended(entity: &Entity, site: &SiteId) -> Option<Condition> {
    let known = entity.condition(EXCLUSIVE)?;
    let message =
        format!("removed from site {site}, where it had a resource of another deployment");
    (known.status != Some(true))
        .then(|| Condition::new(EXCLUSIVE, true, "Exclusive", message, entity.generation))
}

/// An object of a cluster: group, kind, namespace and name. The version does not distinguish objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ClusterObject<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> ClusterObject<'a> {
    fn of(identifier: &'a Identifier) -> Self {
        Self {
            group: &identifier.gvk.group,
            kind: &identifier.gvk.kind,
            namespace: identifier.namespace.as_deref(),
            name: &identifier.name,
        }
    }
}

impl std::fmt::Display for ClusterObject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SiteConflicts;
    use serde_json::json;
    use tko_core::{Deployment, DeploymentId, Entity, Package, Record, SiteId};

    fn record(id: &str, name: &str, version: &str) -> Record {
        let id = DeploymentId::new(id).expect("an id");
        let config = json!({
            "apiVersion": format!("x.example/{version}"), "kind": "Thing",
            "metadata": {"name": name, "namespace": "core"},
        });
        let package = Package::from_values(vec![config]).expect("a package");
        Record::new(Entity::new(&id, Deployment::default())).package(package)
    }

    /// O15: deployments with the same object on a site get a condition, whatever its version.
    #[test]
    fn deployments_that_share_an_object_are_told_so() {
        let site = SiteId::new("s").expect("an id");
        let all = [
            record("a", "same", "v1"),
            record("b", "same", "v2"),
            record("c", "other", "v1"),
        ];
        let conflicts = SiteConflicts::find(&all);
        let told = conflicts.condition(&all[0], &site).expect("a conflict");
        assert_eq!(
            (told.status, &*told.reason),
            (Some(false), "SharedResource")
        );
        let words = "Thing core/same is also in deployment b";
        assert!(told.message.contains(words), "{}", told.message);
        assert!(conflicts.condition(&all[1], &site).is_some());
        assert!(conflicts.condition(&all[2], &site).is_none());
    }
}
