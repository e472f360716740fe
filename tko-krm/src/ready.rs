//! The `Ready` condition, which sums up the others for `kubectl wait` and kstatus.

use tko_core::entity::{PREPARED, SCHEDULED};
use tko_core::{Condition, Deployment, Entity, Facts};

/// The `Ready` condition of an entity; `None` for kinds that have none.
///
/// It names the first thing that a deployment still needs, with the reason and the message of the
/// condition that is about it.
pub(crate) fn ready(entity: &Entity) -> Option<Condition> {
    let (status, reason, message, since) = match &entity.facts {
        Facts::Deployment(deployment) => deployment_ready(entity, deployment),
        Facts::Site { .. } => {
            let scheduled = entity.condition(SCHEDULED)?;
            let (reason, message) = (scheduled.reason.clone(), scheduled.message.clone());
            (scheduled.status, reason, message, scheduled.since)
        }
        Facts::Template | Facts::Plugin(_) => return None,
    };
    let condition = Condition::new("Ready", status, reason, message, entity.generation);
    Some(condition.since(since))
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
        return blocked(SCHEDULED, "NoSite", "it has no site: set spec.siteId");
    }
    let current = deployment
        .placed
        .as_ref()
        .is_some_and(|(site, generation)| {
            Some(site) == deployment.site.as_ref() && *generation == entity.generation
        });
    if !current {
        return blocked(SCHEDULED, "NotScheduled", "waiting for a scheduler");
    }
    match entity.condition(SCHEDULED) {
        Some(condition) => (
            condition.status,
            condition.reason.clone(),
            condition.message.clone(),
            condition.since,
        ),
        None => (
            Some(true),
            "Scheduled".to_owned(),
            "it is placed on its site".to_owned(),
            entity.updated,
        ),
    }
}
