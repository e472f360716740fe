//! The annotations of Deployment resources that a preparer cannot set.
//!
//! - `nephio.org/approved`: the approval policy decides, or a person.
//! - `nephio.org/prepared`: this controller sets it, when nothing is left to prepare.
//! - `nephio.org/approve`, if the new policy may approve where the old one does not.
//!
//! The first two apply to children as well: they are prepared next, and their policy decides then.
//! The store keeps `approve: Manual` of a child's template.

use std::sync::Arc;
use tko_core::annotation::{self, APPROVE, APPROVED, Approve, PREPARED};
use tko_core::{Effect, Package, Resource, deployment_resource};

/// A preparer's answer, in which the annotations that it cannot set stay as they were `before`. It
/// can remove the marks `prepared` and `approved`. A missing Deployment resource is restored, as by
/// the store.
pub(super) fn keep_own_marks(before: &Package, answer: Package) -> Package {
    let own = deployment_resource::identifier();
    // In any namespace, because a function may have set one.
    let is_own = |resource: &Arc<Resource>| {
        let identifier = resource.identifier();
        identifier.name == own.name && identifier.gvk == own.gvk
    };
    let Some(place) = before.iter().position(is_own) else {
        return answer;
    };
    let old = &before.resources()[place];
    let mut kept = answer.clone();
    let mut is_missing = true;
    for new in answer.iter().filter(|resource| is_own(resource)) {
        is_missing = false;
        let restored = restored(old, new);
        if !Arc::ptr_eq(&restored, new) {
            kept = kept.with(restored);
        }
    }
    if is_missing {
        let mut resources = answer.resources().to_vec();
        resources.insert(place.min(answer.len()), old.clone());
        kept = Package::new(resources).unwrap_or(answer);
    }
    kept
}

/// A preparer's effects, in which no child is marked as prepared or approved.
///
/// The Deployment resource of a child can have any name before it is merged, because of
/// `nephio.org/rename`.
pub(super) fn without_marks(mut effects: Vec<Effect>) -> Vec<Effect> {
    let own = deployment_resource::identifier();
    for effect in &mut effects {
        let Effect::Deployment(child) = effect else {
            continue;
        };
        child.prepared = false;
        child.approved = false;
        let resources = child.merge.of(&own.gvk);
        let marked: Vec<Arc<Resource>> = resources.filter(|one| is_marked(one)).cloned().collect();
        for resource in &marked {
            child.merge = child.merge.with(unmarked(resource));
        }
    }
    effects
}

fn is_marked(resource: &Resource) -> bool {
    annotation::is_true(resource, PREPARED) || annotation::is_true(resource, APPROVED)
}

fn unmarked(resource: &Arc<Resource>) -> Arc<Resource> {
    let plain = deployment_resource::asked(None, None, false, false);
    let unprepared = annotation::restored(resource, &plain, PREPARED);
    annotation::restored(&unprepared, &plain, APPROVED)
}

fn restored(old: &Resource, new: &Arc<Resource>) -> Arc<Resource> {
    let mut restored = new.clone();
    for mark in [PREPARED, APPROVED] {
        if annotation::is_true(new, mark) && !annotation::is_true(old, mark) {
            restored = annotation::restored(&restored, old, mark);
        }
    }
    if is_laxer(annotation::approve(new), annotation::approve(old)) {
        restored = annotation::restored(&restored, old, APPROVE);
    }
    restored
}

/// Whether a policy may approve where the old one does not.
fn is_laxer(new: Approve, old: Approve) -> bool {
    match new {
        Approve::Auto => old != Approve::Auto,
        Approve::Default => old == Approve::Manual,
        Approve::Manual => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{keep_own_marks, without_marks};
    use serde_json::{Value, json};
    use tko_core::{Effect, NewDeployment, Package};

    fn package(annotations: &Value) -> Package {
        let own = json!({
            "apiVersion": "deployment.nephio.org/v1alpha1",
            "kind": "Deployment",
            "metadata": {"name": "deployment", "annotations": annotations},
        });
        let other = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "annotations": {"nephio.org/prepared": "true"}},
        });
        Package::from_values([own, other]).expect("resources")
    }

    #[test]
    fn a_missing_deployment_resource_is_restored() {
        let marked = json!({"nephio.org/approve": "Manual"});
        let before = package(&marked);
        let own = before.resources()[0].identifier().clone();
        assert_eq!(keep_own_marks(&before, before.without(&own)), before);
        assert_eq!(keep_own_marks(&before, Package::default()).len(), 1);
    }

    #[test]
    fn a_preparer_neither_marks_nor_approves_the_deployment() {
        let prepared = json!({"nephio.org/prepared": "true"});
        let both = json!({"nephio.org/prepared": "true", "nephio.org/approved": "true"});
        let neither = json!({"nephio.org/prepared": "false", "nephio.org/approved": false});
        let manual = json!({"nephio.org/approve": "Manual"});
        let auto = json!({"nephio.org/approve": "Auto"});
        let default = json!({"nephio.org/approve": "Default"});
        for (before, answer, expected) in [
            (json!({}), &both, &json!({})),
            (prepared.clone(), &both, &prepared),
            (both.clone(), &both, &both),
            (both.clone(), &neither, &neither),
            (neither.clone(), &both, &neither),
            (manual.clone(), &auto, &manual),
            (manual.clone(), &default, &manual),
            (manual.clone(), &json!({}), &manual),
            (json!({}), &auto, &json!({})),
            (default.clone(), &manual, &manual),
            (auto.clone(), &default, &default),
            (auto.clone(), &auto, &auto),
        ] {
            let result = keep_own_marks(&package(&before), package(answer));
            assert_eq!(result, package(expected), "{before} {answer}");
        }
    }

    #[test]
    fn a_preparer_neither_marks_nor_approves_a_child() {
        let marked = json!({
            "nephio.org/prepared": "true",
            "nephio.org/approved": true,
            "nephio.org/approve": "Auto",
            "nephio.org/rename": "deployment",
        });
        let kept = json!({"nephio.org/approve": "Auto", "nephio.org/rename": "deployment"});
        let child = NewDeployment::new().prepared(true).approved(true);
        let effects = vec![Effect::Deployment(child.merge(package(&marked)))];
        let effects = without_marks(effects);
        let [Effect::Deployment(child)] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert!(!child.prepared && !child.approved);
        assert_eq!(child.merge, package(&kept));
    }
}
