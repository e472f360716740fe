//! Removes objects that no deployment has any more.

use crate::apply::{
    Application, ApplyReport, LiveObject, ObjectFailure, Pauses, RemovedKeys, finalizers,
    is_adopted, of_cluster,
};
use crate::applyset::{PART_OF, SET};
use crate::client::Deletion;
use crate::desired::{DesiredObject, ObjectKey};
use crate::ownership::HASH;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use tko_core::Result;
use tko_scheduler::apply::Phase;
use tokio::time::Instant;

/// The annotations, with their values, that keep an object when its deployment is removed: those of
/// cli-utils.
const KEEP: [(&str, &str); 2] = [
    ("cli-utils.sigs.k8s.io/on-remove", "keep"),
    ("client.lifecycle.config.k8s.io/deletion", "detach"),
];

/// The phases in the order of removing.
const PHASES: [Phase; 4] = [
    Phase::Extensions,
    Phase::Namespaced,
    Phase::Cluster,
    Phase::Foundations,
];

impl Application<'_> {
    /// Removes the members that are not desired. If something could not be applied, removes only
    /// the objects of removed deployments: the others may still be in use.
    pub(crate) async fn prune(
        &self,
        objects: &[DesiredObject],
        live: &HashMap<ObjectKey, LiveObject>,
        removed: &RemovedKeys,
        report: &mut ApplyReport,
    ) -> Result<()> {
        let desired: HashSet<&ObjectKey> = objects.iter().map(|one| &one.key).collect();
        let is_whole = report.failures.is_empty();
        let is_surplus =
            |key: &ObjectKey| !desired.contains(key) && (is_whole || self.is_removed(key, removed));
        let surplus: Vec<_> = live.iter().filter(|(key, _)| is_surplus(key)).collect();
        let mut waiting = Vec::new();
        for phase in PHASES {
            let of_phase = surplus
                .iter()
                .filter(|(key, found)| phase_of(key, found) == phase);
            let results = join_all(of_phase.map(|(key, found)| self.remove(key, found)));
            for result in results.await {
                match result {
                    Ok(Some(path)) => waiting.push(path),
                    Ok(None) => {}
                    Err(failure) => report.failures.push(failure),
                }
            }
        }
        self.wait_until_gone(waiting, report).await
    }

    fn is_removed(&self, key: &ObjectKey, removed: &RemovedKeys) -> bool {
        let with = |namespace: Option<&str>| {
            let namespace = namespace.map(str::to_owned);
            removed.contains(&(key.kind.clone(), namespace, key.name.clone()))
        };
        let unnamed = key.namespace.is_empty() || key.namespace == self.set.namespace;
        with(Some(&key.namespace)) || (unnamed && with(None))
    }

    /// Deletes an object, or releases it. Returns it if it still exists.
    async fn remove<'b>(
        &self,
        key: &'b ObjectKey,
        found: &LiveObject,
    ) -> Result<Option<(&'b ObjectKey, String)>, ObjectFailure> {
        let failed = |why: String| ObjectFailure {
            object: key.to_string(),
            owner: String::new(),
            why: format!("it is not removed: {why}"),
        };
        let namespace = (!key.namespace.is_empty()).then_some(key.namespace.as_str());
        let path = found.served.path(namespace, Some(&key.name));
        if is_kept(&found.value) || is_adopted(&found.value) {
            let released = self.release(key, found, &path).await;
            return released.map(|()| None).map_err(failed);
        }
        if found.value.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(Some((key, path)));
        }
        let uid = found.value["metadata"]["uid"].as_str().unwrap_or_default();
        match self.client.delete(&path, uid).await {
            Ok(Deletion::Gone) => {
                self.client.counters().pruned();
                Ok(None)
            }
            Ok(Deletion::Waits) => {
                self.client.counters().pruned();
                Ok(Some((key, path)))
            }
            Err(failure) => Err(failed(self.said(&failure))),
        }
    }

    /// Removes an object from the set. If another program had created the object, the fields that
    /// only TKO owns are removed; an object that must be kept keeps them.
    async fn release(&self, key: &ObjectKey, found: &LiveObject, path: &str) -> Result<(), String> {
        if !is_kept(&found.value) {
            let mut metadata = json!({"name": key.name});
            if !key.namespace.is_empty() {
                metadata["namespace"] = json!(key.namespace);
            }
            let nothing = json!({
                "apiVersion": found.served.api_version(), "kind": key.kind.kind,
                "metadata": metadata,
            });
            if self.client.apply(path, &nothing, false).await.is_ok() {
                return Ok(());
            }
            // The object is not valid without these fields, so they stay.
        }
        let unmarked = json!({"metadata": {
            "labels": {PART_OF: null, SET: null},
            "annotations": {HASH: null, crate::apply::ADOPTED: null},
        }});
        match self.client.merge(path, &unmarked).await {
            Err(failure) if failure.code() != 404 => Err(self.said(&failure)),
            _ => Ok(()),
        }
    }

    async fn wait_until_gone(
        &self,
        waiting: Vec<(&ObjectKey, String)>,
        report: &mut ApplyReport,
    ) -> Result<()> {
        let until = Instant::now() + self.settings.patience;
        for (key, path) in waiting {
            let mut pauses = Pauses::default();
            loop {
                let read = self.client.get(&path).await;
                let Some(found) = read.map_err(|failure| of_cluster(&failure))? else {
                    break;
                };
                if found.pointer("/metadata/deletionTimestamp").is_none() {
                    // Another program has created another object with this name.
                    break;
                }
                if Instant::now() >= until {
                    report.failures.push(ObjectFailure {
                        object: key.to_string(),
                        owner: String::new(),
                        why: format!("it is being deleted{}", finalizers(&found)),
                    });
                    break;
                }
                pauses.next().await;
            }
        }
        Ok(())
    }

    /// Deletes the parent of an empty set.
    pub(crate) async fn delete_parent(&self, parent: &Value) -> Result<()> {
        let uid = parent["metadata"]["uid"].as_str().unwrap_or_default();
        let deleted = self.client.delete(&self.parent_path(), uid).await;
        deleted.map(|_| ()).map_err(|failure| of_cluster(&failure))
    }
}

fn is_kept(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    KEEP.iter().any(|(name, value)| {
        annotations
            .and_then(|all| all.get(*name))
            .is_some_and(|found| found == value)
    })
}

fn phase_of(key: &ObjectKey, found: &LiveObject) -> Phase {
    match (key.kind.group.as_str(), key.kind.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            Phase::Foundations
        }
        ("admissionregistration.k8s.io", kind) if kind.ends_with("WebhookConfiguration") => {
            Phase::Extensions
        }
        ("apiregistration.k8s.io", "APIService") => Phase::Extensions,
        _ if found.served.namespaced => Phase::Namespaced,
        _ => Phase::Cluster,
    }
}

#[cfg(test)]
mod tests {
    use super::is_kept;
    use serde_json::json;

    #[test]
    fn objects_can_be_kept_by_the_annotations_of_cli_utils() {
        let with = |name: &str, value: &str| json!({"metadata": {"annotations": {name: value}}});
        assert!(is_kept(&with("cli-utils.sigs.k8s.io/on-remove", "keep")));
        assert!(is_kept(&with(
            "client.lifecycle.config.k8s.io/deletion",
            "detach"
        )));
        assert!(!is_kept(&with("cli-utils.sigs.k8s.io/on-remove", "other")));
        assert!(!is_kept(&json!({})));
    }
}
