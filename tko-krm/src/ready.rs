//! The `Ready` condition, which sums up the others for `kubectl wait` and kstatus.

use crate::stored::StoredMetadata;
use tko_core::entity::{PREPARED, REMOVED, SCHEDULED};
use tko_core::{Condition, Deployment, Entity, Facts};

/// The kind of the condition.
pub(crate) const READY: &str = "Ready";

/// The `Ready` condition of an entity; `None` for kinds that have none.
///
/// It names the first thing that a deployment still needs, with the reason and the message of the
/// corresponding condition.
///
/// A scheduler that knows the state of the objects on the site stores the condition `Ready` itself.
/// That condition decides as long as it describes what is on the site now.
pub(crate) fn ready(entity: &Entity) -> Option<Condition> {
    if let Some(finalizers) = kept_by(entity) {
        let message = format!("waiting for the removal of its finalizers: {finalizers}");
        let condition = Condition::new(READY, false, "Deleting", message, entity.generation);
        return Some(condition.since(entity.updated));
    }
    let stored = entity.condition(READY);
    if let Some(stored) = stored.filter(|stored| is_current(entity, stored)) {
        return Some(stored.clone());
    }
    let (status, reason, message, since) = match &entity.facts {
        Facts::Deployment(deployment) => deployment_ready(entity, deployment),
        Facts::Site { .. } => {
            let scheduled = entity.condition(SCHEDULED)?;
            let (reason, message) = (scheduled.reason.clone(), scheduled.message.clone());
            (scheduled.status, reason, message, scheduled.since)
        }
        Facts::Template | Facts::Plugin(_) => return None,
    };
    let condition = Condition::new(READY, status, reason, message, entity.generation);
    Some(condition.since(since))
}

/// The finalizers that keep a site or a deployment whose deletion was requested.
fn kept_by(entity: &Entity) -> Option<String> {
    let has_condition = matches!(entity.facts, Facts::Site { .. } | Facts::Deployment(_));
    if entity.deleting || !has_condition || !StoredMetadata::may_have_deletion(entity) {
        return None;
    }
    let stored = StoredMetadata::of(entity);
    stored.deletion.map(|_| stored.finalizers.join(", "))
}

/// Whether a stored condition describes what is on the site now.
fn is_current(entity: &Entity, stored: &Condition) -> bool {
    match &entity.facts {
        Facts::Deployment(deployment) => {
            !entity.deleting
                && deployment.prepared
                && deployment.approved
                && stored.observed == entity.generation
                // It may run on another site, whose scheduler does not know the state of objects.
                && stored.reason != REMOVED
                && is_placed(entity, deployment)
                && is_still_true(entity, stored)
        }
        Facts::Site { .. } => is_still_true(entity, stored),
        Facts::Template | Facts::Plugin(_) => true,
    }
}

/// Whether nothing has failed since the condition was stored; after a failure it is out of date.
fn is_still_true(entity: &Entity, stored: &Condition) -> bool {
    let scheduled = entity.condition(SCHEDULED);
    stored.status != Some(true) || scheduled.is_none_or(|scheduled| scheduled.status == Some(true))
}

/// Whether its newest generation is placed on its site.
fn is_placed(entity: &Entity, deployment: &Deployment) -> bool {
    deployment
        .placed
        .as_ref()
        .is_some_and(|(site, generation)| {
            Some(site) == deployment.site.as_ref() && *generation == entity.generation
        })
}

type Verdict = (Option<bool>, String, String, tko_core::Timestamp);

fn deployment_ready(entity: &Entity, deployment: &Deployment) -> Verdict {
    let blocked = |kind: &str, reason: &str, message: &str| {
        let condition = entity
            .condition(kind)
            .filter(|condition| condition.status != Some(true));
        match condition {
            Some(condition) => (
                Some(false),
                condition.reason.clone(),
                condition.message.clone(),
                condition.since,
            ),
            None => (
                Some(false),
                reason.to_owned(),
                message.to_owned(),
                entity.updated,
            ),
        }
    };
    if entity.deleting {
        return blocked(
            SCHEDULED,
            "Deleting",
            "waiting for its removal from its site",
        );
    }
    if !deployment.prepared {
        return blocked(PREPARED, "NotPrepared", "waiting for a preparer");
    }
    if !deployment.approved {
        return blocked(
            "Approved",
            "NotApproved",
            "waiting for approval: approve it, or set the annotation nephio.org/approve",
        );
    }
    if deployment.site.is_none() {
        let why = "it has no site: set spec.siteId";
        return match &deployment.placed {
            // It waits for its removal from that site.
            Some(_) => blocked(SCHEDULED, "NoSite", why),
            // A stored condition is about a site that it had.
            None => (
                Some(false),
                "NoSite".to_owned(),
                why.to_owned(),
                entity.updated,
            ),
        };
    }
    if !is_placed(entity, deployment) {
        return blocked(SCHEDULED, "NotScheduled", "waiting for a scheduler");
    }
    match entity.condition(SCHEDULED) {
        Some(condition) => (
            condition.status,
            condition.reason.clone(),
            condition.message.clone(),
            condition.since,
        ),
        // It is recorded as placed before its schedulers are called.
        None => blocked(
            SCHEDULED,
            "Scheduling",
            "the schedulers of its site are working on it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{READY, ready};
    use crate::stored::StoredMetadata;
    use tko_core::entity::SCHEDULED;
    use tko_core::{Condition, Deployment, DeploymentId, Entity, Facts, Generation, Key, SiteId};

    fn placed() -> Entity {
        let site = SiteId::new("a").expect("an id");
        let deployment = Deployment::default()
            .prepared(true)
            .approved(true)
            .site(site.clone())
            .placed((site, Generation(1)));
        let key = Key::Deployment(DeploymentId::new("d").expect("an id"));
        let mut entity = Entity::new(key, Facts::Deployment(Box::new(deployment)));
        let condition = |kind: &str, status: bool, reason: &str| {
            Condition::new(kind, status, reason, "", Generation(1))
        };
        entity.conditions = vec![
            condition(SCHEDULED, true, "Scheduled"),
            condition(READY, false, "Progressing"),
        ];
        entity
    }

    fn said(entity: &Entity) -> (Option<bool>, String) {
        let ready = ready(entity).expect("it has one");
        (ready.status, ready.reason)
    }

    #[test]
    fn the_state_of_the_objects_decides_while_they_are_those_of_the_deployment() {
        let entity = placed();
        assert_eq!(said(&entity), (Some(false), "Progressing".to_owned()));
        let mut changed = entity.clone();
        changed.generation = Generation(2);
        assert_eq!(said(&changed).0, Some(false));
        assert_ne!(said(&changed).1, "Progressing");
        let mut deleting = entity.clone();
        deleting.deleting = true;
        assert_ne!(said(&deleting).1, "Progressing");
        let mut without = entity;
        without.conditions.truncate(1);
        assert_eq!(said(&without), (Some(true), "Scheduled".to_owned()));
        without.conditions.clear();
        assert_eq!(said(&without), (Some(false), "Scheduling".to_owned()));
    }

    #[test]
    fn stored_metadata_is_read_only_if_it_may_have_the_time_of_a_deletion() {
        let entity = placed();
        let with = |deletion: Option<&str>| {
            let mut stored = StoredMetadata {
                finalizers: vec!["example.com/keep".to_owned()],
                deletion: deletion.map(str::to_owned),
                ..StoredMetadata::default()
            };
            let text = r#"{"d":"2026-01-01T00:00:00Z"}"#;
            stored.annotations.insert("a".to_owned(), text.to_owned());
            let mut entity = entity.clone();
            stored.write_into(&mut entity.given);
            entity
        };
        let kept = with(Some("2026-01-01T00:00:00Z"));
        assert!(StoredMetadata::may_have_deletion(&kept));
        assert_eq!(said(&kept), (Some(false), "Deleting".to_owned()));
        let others = with(None);
        assert!(!StoredMetadata::may_have_deletion(&others));
        assert_eq!(said(&others), (Some(false), "Progressing".to_owned()));
    }

    #[test]
    fn a_deployment_without_a_site_says_so_whatever_was_said_about_its_last_one() {
        let mut entity = placed();
        let without = Deployment::default().prepared(true).approved(true);
        entity.facts = Facts::Deployment(Box::new(without));
        entity.conditions = vec![Condition::new(
            SCHEDULED,
            false,
            "NoScheduler",
            "no scheduler serves site a",
            Generation(1),
        )];
        let ready = ready(&entity).expect("it has one");
        assert_eq!((ready.status, &*ready.reason), (Some(false), "NoSite"));
        assert!(ready.message.contains("no site"), "{}", ready.message);
    }

    #[test]
    fn a_site_that_cannot_be_scheduled_is_not_ready_although_it_was() {
        let id = SiteId::new("a").expect("an id");
        let mut site = Entity::new(Key::Site(id), Facts::site(None, None));
        let condition = |kind: &str, status: bool, reason: &str| {
            Condition::new(kind, status, reason, "", Generation(1))
        };
        site.conditions = vec![
            condition(SCHEDULED, false, "SchedulerFailed"),
            condition(READY, true, "Ready"),
        ];
        assert_eq!(said(&site), (Some(false), "SchedulerFailed".to_owned()));
        site.conditions[1] = condition(READY, false, "NotApplied");
        assert_eq!(said(&site), (Some(false), "NotApplied".to_owned()));
    }
}
