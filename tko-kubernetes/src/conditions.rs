//! The words for what happened in a cluster.

use crate::apply::ApplyReport;
use crate::failure::shown;
use crate::health::Health;
use std::fmt::Write;
use tko_core::{Condition, Entity, Error};

/// The kind of the condition that says whether the objects do what they are for.
pub(crate) const READY: &str = "Ready";

/// Objects that a message names.
const NAMED: usize = 3;

/// The error of the objects that could not be applied or removed.
pub(crate) fn failure(report: &ApplyReport) -> Option<Error> {
    let failures = &report.failures;
    if failures.is_empty() {
        return None;
    }
    let named = failures.iter().take(NAMED).map(|failure| {
        let owner = match failure.owner.as_str() {
            "" => String::new(),
            owner => format!(" of {owner}"),
        };
        format!("{}{owner}: {}", shown(&failure.object), failure.why)
    });
    let mut text = named.collect::<Vec<_>>().join("; ");
    if failures.len() > NAMED {
        // Writing to a string cannot fail.
        let _ = write!(text, "; and {} more", failures.len() - NAMED);
    }
    let action = format!(
        "bring {} of {} objects to the cluster",
        failures.len(),
        report.wanted.max(failures.len())
    );
    Some(Error::unavailable(action, text))
}

/// The condition of a site whose objects are all applied.
pub(crate) fn ready(report: &ApplyReport, site: &Entity) -> Condition {
    let condition = |status: bool, reason: &str, message: String| {
        Condition::new(READY, status, reason, message, site.generation)
    };
    if !report.contested.is_empty() {
        return condition(
            false,
            "Contested",
            format!(
                "something else keeps changing {}; TKO leaves {} as {} for an hour; find out which \
                 program it is by metadata.managedFields",
                listed(&report.contested),
                if report.contested.len() == 1 {
                    "it"
                } else {
                    "them"
                },
                if report.contested.len() == 1 {
                    "it is"
                } else {
                    "they are"
                },
            ),
        );
    }
    let of = |wanted: fn(&Health) -> Option<&String>| -> Vec<String> {
        let matching = report.health.iter().filter_map(|(key, owner, health)| {
            let why = wanted(health)?;
            Some(format!("{key} of {owner}: {}", shown(why)))
        });
        matching.collect()
    };
    let failed = of(|health| match health {
        Health::Failed(why) => Some(why),
        _ => None,
    });
    let waiting = of(|health| match health {
        Health::InProgress(why) => Some(why),
        _ => None,
    });
    let all = report.health.len();
    if !failed.is_empty() {
        return condition(false, "ObjectsFailed", listed(&failed));
    }
    if !waiting.is_empty() {
        let message = format!(
            "{} of {all} objects are not ready: {}",
            waiting.len(),
            listed(&waiting)
        );
        return condition(false, "Progressing", message);
    }
    let message = match all {
        0 => "the site has no objects".to_owned(),
        1 => "1 object is ready".to_owned(),
        all => format!("all {all} objects are ready"),
    };
    condition(true, "Ready", message)
}

fn listed(all: &[String]) -> String {
    let mut text = all[..all.len().min(NAMED)].join("; ");
    if all.len() > NAMED {
        // Writing to a string cannot fail.
        let _ = write!(text, "; and {} more", all.len() - NAMED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{failure, ready};
    use crate::apply::{ApplyReport, ObjectFailure};
    use crate::desired::ObjectKey;
    use crate::health::Health;
    use crate::kinds::GroupKind;
    use tko_core::{Entity, Facts, Key, SiteId};

    fn site() -> Entity {
        let id = SiteId::new("a").expect("an id");
        Entity::new(Key::Site(id), Facts::site(None, None))
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            kind: GroupKind::parse("Deployment.apps").expect("a kind"),
            namespace: "edge".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_failure_names_object_deployment_and_remedy_but_not_hundreds() {
        let failures = (0..100).map(|number| ObjectFailure {
            object: format!("ConfigMap edge/{number}"),
            owner: "smf".to_owned(),
            why: "quota exceeded".to_owned(),
        });
        let report = ApplyReport {
            wanted: 200,
            failures: failures.collect(),
            ..ApplyReport::default()
        };
        let said = failure(&report).expect("an error").chain();
        for part in [
            "100 of 200",
            "ConfigMap edge/0 of smf: quota exceeded",
            "97 more",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(failure(&ApplyReport::default()).is_none());
    }

    #[test]
    fn a_site_is_ready_when_all_objects_are() {
        let health = |second: Health| ApplyReport {
            health: vec![
                (key("a"), "smf".to_owned(), Health::Current),
                (key("b"), "smf".to_owned(), second),
            ],
            ..ApplyReport::default()
        };
        let condition = ready(&health(Health::Current), &site());
        assert_eq!(condition.status, Some(true));
        let condition = ready(
            &health(Health::InProgress("1 of 2 pods".to_owned())),
            &site(),
        );
        assert_eq!(
            (condition.status, &*condition.reason),
            (Some(false), "Progressing")
        );
        assert!(
            condition
                .message
                .contains("Deployment.apps edge/b of smf: 1 of 2 pods")
        );
        let condition = ready(&health(Health::Failed("crash".to_owned())), &site());
        assert_eq!(condition.reason, "ObjectsFailed");
    }
}
