//! The conditions that scheduling reports.
//!
//! A condition is written only when its message changes. So no message contains counters of
//! attempts, or times: those are in the site's due work.

use crate::manifests::CONDITION;
use tko_core::entity::{NO_SCHEDULER, REMOVAL_FAILED, REMOVED, SCHEDULED};
use tko_core::{Condition, Entity, Key, Record, SiteId, SiteScheduler};
use tko_worker::shortened;

/// Maximum length of a message, in bytes: a condition is part of every listed row.
const MAX_MESSAGE: usize = 2_000;

/// Maximum number of schedulers that a message names.
const MAX_NAMED: usize = 5;

/// The reason of a site with deployments of a scheduler that serves the site no more.
const SCHEDULER_GONE: &str = "SchedulerGone";

/// The condition of a site that is about to be scheduled for the first time. From now on the
/// controller has to clean it up before it can be deleted.
pub(crate) fn started(site: &Entity) -> Condition {
    scheduling(site, None, "Scheduling", "schedulers are working on it")
}

/// A deployment runs on the site, as of its generation. `charts` are those of its charts that no
/// scheduler of the site installs.
pub(crate) fn scheduled(entity: &Entity, site: &SiteId, charts: &[&str]) -> Condition {
    let mut message = format!("on site {site}");
    let ignored = match charts {
        [] => None,
        [chart] => Some(format!("its HelmChart {chart}")),
        charts => Some(format!("its {} HelmCharts", charts.len())),
    };
    if let Some(ignored) = ignored {
        message.push_str("; no scheduler of the site installs ");
        message.push_str(&ignored);
        message.push_str(
            ": set spec.render to true, start the scheduler with --install-charts (the site needs a \
             KubernetesCluster or a Cluster), or register a schedule plugin that installs charts",
        );
    }
    scheduling(entity, true, "Scheduled", &message)
}

/// All schedulers of the site succeeded.
pub(crate) fn site_scheduled(site: &Entity) -> Condition {
    scheduling(site, true, "Scheduled", "all schedulers succeeded")
}

/// A deployment was removed from the site.
pub(crate) fn removed(entity: &Entity, site: &SiteId) -> Condition {
    scheduling(entity, false, REMOVED, &format!("removed from site {site}"))
}

/// The condition of a deployment that waits until its old site has reported it as removed.
pub(crate) fn moving(entity: &Entity, from: &SiteId, to: &SiteId) -> Condition {
    let message = format!(
        "moving to site {to}; waiting for its removal from site {from}; if that takes long, see \
         the conditions of site {from}"
    );
    scheduling(entity, false, "Moving", &message)
}

/// The site could not be scheduled.
pub(crate) fn failed(entity: &Entity, why: &str) -> Condition {
    scheduling(entity, false, "SchedulerFailed", why)
}

/// The manifests of a site were written once, and could not be written now.
pub(crate) fn manifests_unknown(site: &Entity) -> Condition {
    let message = "the last write failed; see the condition Scheduled";
    Condition::new(CONDITION, None, "SchedulerFailed", message, site.generation)
}

/// A deployment of a site that could not be scheduled.
pub(crate) fn failed_on(entity: &Entity, site: &SiteId, why: &str) -> Condition {
    let message = format!("not scheduled on site {site}: {why}");
    scheduling(entity, false, "SchedulerFailed", &message)
}

/// The condition of a deployment that could not be removed. It is unknown whether it still runs.
pub(crate) fn removal_failed(entity: &Entity, site: &SiteId, why: &str) -> Condition {
    let message = format!("not removed from site {site} yet: {why}");
    scheduling(entity, None, REMOVAL_FAILED, &message)
}

/// The condition of a site that no scheduler serves; `removed` deployments therefore stay on it.
pub(crate) fn unserved(site: &Entity, removed: usize) -> Condition {
    let known = site.condition(SCHEDULED);
    let never = removed == 0 && known.is_none_or(|condition| condition.reason == NO_SCHEDULER);
    let reason = if never { NO_SCHEDULER } else { SCHEDULER_GONE };
    scheduling(site, false, reason, &no_scheduler(&kept(removed)))
}

/// The condition of a site that no scheduler serves, and on which nothing is left.
pub(crate) fn emptied(site: &Entity) -> Condition {
    scheduling(site, false, NO_SCHEDULER, &no_scheduler(""))
}

/// The condition of a site with deployments of schedulers that do not exist any more. `missing` is
/// the text of [`missing`] about them.
pub(crate) fn scheduler_gone(site: &Entity, removed: usize, missing: &str) -> Condition {
    let message = format!("{missing}{}", kept(removed));
    scheduling(site, false, SCHEDULER_GONE, &message)
}

/// Which schedulers placed deployments on a site and cannot be called for it now, and what to do;
/// `None` if there are none.
pub(crate) fn missing(schedulers: &[&SiteScheduler]) -> Option<String> {
    let first = schedulers.first()?;
    let mut named: Vec<String> = schedulers.iter().map(ToString::to_string).collect();
    let more = named.len().saturating_sub(MAX_NAMED);
    named.truncate(MAX_NAMED);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let (noun, verb) = if named.len() == 1 {
        ("scheduler", "does")
    } else {
        ("schedulers", "do")
    };
    Some(format!(
        "{noun} {} placed deployments on this site and {verb} not serve it now; to remove them, \
         register the plugin with the triggers that it had, or start the scheduler with the flags \
         that it had; to leave them there, start the scheduler with --abandon-scheduler '{}'",
        named.join(", "),
        first.name
    ))
}

fn kept(removed: usize) -> String {
    match removed {
        0 => String::new(),
        1 => "; 1 deployment waits for a scheduler to remove it".to_owned(),
        _ => format!("; {removed} deployments wait for a scheduler to remove them"),
    }
}

fn no_scheduler(kept: &str) -> String {
    format!(
        "no scheduler serves this site{kept}; start the scheduler with --manifests, \
         --manifests-git or --clusters, register a schedule plugin that one of the site's resources \
         triggers, or add a resource that triggers a scheduler"
    )
}

/// Whether a scheduler that the site needs was missing when the site was scheduled last.
pub(crate) fn is_unserved(site: &Entity) -> bool {
    site.condition(SCHEDULED).is_some_and(|condition| {
        [NO_SCHEDULER, SCHEDULER_GONE].contains(&condition.reason.as_str())
    })
}

/// The condition of a deployment of a site that no scheduler serves.
pub(crate) fn unserved_on(entity: &Entity, site: &SiteId) -> Condition {
    let message = format!("no scheduler serves site {site}; see the conditions of the site");
    scheduling(entity, false, NO_SCHEDULER, &message)
}

/// The conditions that differ from those of the entity; `None` if all are the same.
pub(crate) fn news(record: &Record, conditions: Vec<Condition>) -> Option<(Key, Vec<Condition>)> {
    let new: Vec<Condition> = conditions
        .into_iter()
        .filter(|condition| record.entity.condition(&condition.kind) != Some(condition))
        .collect();
    (!new.is_empty()).then(|| (record.entity.key.clone(), new))
}

fn scheduling(
    entity: &Entity,
    status: impl Into<Option<bool>>,
    reason: &str,
    message: &str,
) -> Condition {
    let message = shortened(message, MAX_MESSAGE);
    Condition::new(SCHEDULED, status, reason, message, entity.generation)
}
