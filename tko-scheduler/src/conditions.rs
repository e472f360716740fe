//! What conditions say. Words that do not change are not written again, so nothing here counts,
//! or tells the time.

use tko_core::entity::{NO_SCHEDULER, SCHEDULED};
use tko_core::{Condition, Entity, Key, Record, SiteId};

/// Longest message, in bytes: a condition is part of a row that is listed.
const LONGEST: usize = 2_000;

/// Before anything is done on a site for the first time: from now on it is in our charge.
pub(crate) fn started(site: &Entity) -> Condition {
    about(site, None, "Scheduling", "schedulers are at work on it")
}

/// Everything that is to run on the site does, as of this generation.
pub(crate) fn scheduled(entity: &Entity, site: &SiteId) -> Condition {
    about(entity, true, "Scheduled", &format!("on site {site}"))
}

/// The site is as it is to be.
pub(crate) fn site_scheduled(site: &Entity) -> Condition {
    about(site, true, "Scheduled", "every scheduler has succeeded")
}

/// A deployment that is not to run here is off.
pub(crate) fn taken_off(entity: &Entity, site: &SiteId) -> Condition {
    about(entity, false, "Removed", &format!("taken off site {site}"))
}

/// A deployment waits until its old site has reported it off.
pub(crate) fn moving(entity: &Entity, from: &SiteId, to: &SiteId) -> Condition {
    let message = format!(
        "goes to site {to} as soon as site {from} reports it off; if that does not happen, see the conditions of site {from}"
    );
    about(entity, false, "Moving", &message)
}

/// The site could not be scheduled.
pub(crate) fn failed(entity: &Entity, why: &str) -> Condition {
    about(entity, false, "SchedulerFailed", why)
}

/// A deployment of a site that could not be scheduled.
pub(crate) fn failed_on(entity: &Entity, site: &SiteId, why: &str) -> Condition {
    about(
        entity,
        false,
        "SchedulerFailed",
        &format!("site {site}: {why}"),
    )
}

/// A deployment could not be taken off: whether it is still there is unknown.
pub(crate) fn not_taken_off(entity: &Entity, site: &SiteId, why: &str) -> Condition {
    let message = format!("still to be taken off site {site}: {why}");
    about(entity, None, "RemovalFailed", &message)
}

/// No scheduler serves the site. `removed`: how many deployments stay on it for that.
pub(crate) fn unserved(site: &Entity, removed: usize) -> Condition {
    let known = site.condition(SCHEDULED);
    let never = removed == 0 && known.is_none_or(|condition| condition.reason == NO_SCHEDULER);
    let reason = if never { NO_SCHEDULER } else { "SchedulerGone" };
    let kept = if removed > 0 {
        format!(
            "; {removed} deployments are to be taken off it, and are kept until a scheduler is \
             there again to do so"
        )
    } else {
        String::new()
    };
    let message = format!(
        "no scheduler serves this site: none is set to serve every site, and none is triggered by \
         a resource of its package; register a schedule plugin for one of its resources, or give \
         it a resource that triggers one{kept}"
    );
    about(site, false, reason, &message)
}

/// A deployment of a site that no scheduler serves.
pub(crate) fn unserved_on(entity: &Entity, site: &SiteId) -> Condition {
    let message = format!("no scheduler serves site {site}; see its conditions");
    about(entity, false, NO_SCHEDULER, &message)
}

/// Those of the conditions that say something new of the entity.
pub(crate) fn news(record: &Record, conditions: Vec<Condition>) -> Option<(Key, Vec<Condition>)> {
    let new: Vec<Condition> = conditions
        .into_iter()
        .filter(|condition| record.entity.condition(&condition.kind) != Some(condition))
        .collect();
    (!new.is_empty()).then(|| (record.entity.key.clone(), new))
}

fn about(
    entity: &Entity,
    status: impl Into<Option<bool>>,
    reason: &str,
    message: &str,
) -> Condition {
    Condition::new(
        SCHEDULED,
        status,
        reason,
        shortened(message),
        entity.generation,
    )
}

fn shortened(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let end = (0..=LONGEST)
        .rev()
        .find(|end| message.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, shortened};

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shortened(&"ä".repeat(LONGEST));
        assert_eq!(cut.len(), LONGEST + '…'.len_utf8());
        assert_eq!(shortened("short"), "short");
    }
}
