//! The conditions that describe the result in a cluster.

use crate::apply::ApplyReport;
use crate::failure::shown;
use crate::health::Health;
use std::fmt::Write;
use tko_core::entity::REMOVED;
use tko_core::{Condition, Entity, Error};

/// The kind of the condition that says whether the objects are healthy.
pub(crate) const READY: &str = "Ready";

/// Maximum number of objects that a message names.
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

/// The state of a site's objects as a whole.
pub(crate) fn ready(report: &ApplyReport, site: &Entity) -> Condition {
    ObjectsState::of(report, None).condition(site, "the site has no objects")
}

/// The state of one deployment's objects. Objects that another deployment of the site contains,
/// too, belong to the deployment that is applied last.
pub(crate) fn deployment_ready(report: &ApplyReport, deployment: &Entity) -> Condition {
    let state = ObjectsState::of(report, Some(deployment.key.id()));
    state.condition(deployment, "the deployment has no objects on the site")
}

/// The condition for objects that could not be read.
pub(crate) fn unknown(entity: &Entity) -> Condition {
    let message = "the objects could not be read; see the condition Scheduled of the site";
    Condition::new(READY, None, "Unknown", message, entity.generation)
}

/// The deployment was removed from the site.
pub(crate) fn removed(entity: &Entity, site: &str) -> Condition {
    let message = format!("removed from site {site}");
    Condition::new(READY, false, REMOVED, message, entity.generation)
}

/// The part of a report about the objects of a site or of one deployment.
struct ObjectsState {
    failures: Vec<String>,
    contested: Vec<String>,
    failed: Vec<String>,
    waiting: Vec<String>,
    /// The number of existing objects.
    all: usize,
}

impl ObjectsState {
    fn of(report: &ApplyReport, deployment: Option<&str>) -> Self {
        let is_of = |owner: &str| deployment.is_none_or(|wanted| wanted == owner);
        // In a deployment's own condition its id needs no mention.
        let of = |owner: &str| match deployment {
            None if !owner.is_empty() => format!(" of {owner}"),
            _ => String::new(),
        };
        let failures = report.failures.iter().filter(|one| is_of(&one.owner));
        let contested = report.contested.iter().filter(|(_, owner)| is_of(owner));
        let health: Vec<_> = report
            .health
            .iter()
            .filter(|(_, owner, _)| is_of(owner))
            .collect();
        let unhealthy = |wanted: fn(&Health) -> Option<&str>| -> Vec<String> {
            let matching = health.iter().filter_map(|(key, owner, health)| {
                let why = wanted(health)?;
                Some(format!("{key}{}: {}", of(owner), shown(why)))
            });
            matching.collect()
        };
        Self {
            failures: failures
                .map(|one| format!("{}{}: {}", shown(&one.object), of(&one.owner), one.why))
                .collect(),
            contested: contested.map(|(key, _)| key.to_string()).collect(),
            failed: unhealthy(|health| match health {
                Health::Failed(why) => Some(why),
                _ => None,
            }),
            waiting: unhealthy(|health| match health {
                Health::InProgress(why) => Some(why),
                Health::Terminating => Some("it is being deleted"),
                _ => None,
            }),
            all: health.len(),
        }
    }

    fn condition(&self, entity: &Entity, nothing: &str) -> Condition {
        let condition = |status: bool, reason: &str, message: String| {
            Condition::new(READY, status, reason, message, entity.generation)
        };
        if !self.failures.is_empty() {
            return condition(false, "NotApplied", listed(&self.failures));
        }
        if !self.contested.is_empty() {
            let (them, they_are) = match self.contested.len() {
                1 => ("it", "it is"),
                _ => ("them", "they are"),
            };
            let message = format!(
                "something else keeps changing {}; TKO leaves {them} as {they_are} for an hour; \
                 find out which program it is by metadata.managedFields",
                listed(&self.contested),
            );
            return condition(false, "Contested", message);
        }
        if !self.failed.is_empty() {
            return condition(false, "ObjectsFailed", listed(&self.failed));
        }
        let all = self.all;
        if !self.waiting.is_empty() {
            let message = format!(
                "{} of {all} objects are not ready: {}",
                self.waiting.len(),
                listed(&self.waiting)
            );
            return condition(false, "Progressing", message);
        }
        let message = match all {
            0 => nothing.to_owned(),
            1 => "1 object is ready".to_owned(),
            all => format!("all {all} objects are ready"),
        };
        condition(true, "Ready", message)
    }
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
    use super::{deployment_ready, failure, ready};
    use crate::apply::{ApplyReport, ObjectFailure};
    use crate::desired::ObjectKey;
    use crate::health::Health;
    use crate::kinds::GroupKind;
    use tko_core::{DeploymentId, Entity, Facts, Key, SiteId};

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

    #[test]
    fn each_deployment_has_the_state_of_its_own_objects() {
        let report = ApplyReport {
            failures: vec![ObjectFailure {
                object: "ConfigMap edge/c".to_owned(),
                owner: "amf".to_owned(),
                why: "quota exceeded".to_owned(),
            }],
            contested: vec![(key("x"), "nwdaf".to_owned())],
            health: vec![
                (key("a"), "smf".to_owned(), Health::Current),
                (
                    key("b"),
                    "upf".to_owned(),
                    Health::InProgress("0 of 1".to_owned()),
                ),
            ],
            ..ApplyReport::default()
        };
        for (id, status, reason) in [
            ("smf", true, "Ready"),
            ("upf", false, "Progressing"),
            ("amf", false, "NotApplied"),
            ("nwdaf", false, "Contested"),
            ("none", true, "Ready"),
        ] {
            let key = Key::Deployment(DeploymentId::new(id).expect("an id"));
            let entity = Entity::new(key, Facts::Deployment(Box::default()));
            let condition = deployment_ready(&report, &entity);
            assert_eq!(
                (condition.status, &*condition.reason),
                (Some(status), reason),
                "{id}: {}",
                condition.message
            );
            assert!(
                !condition.message.contains(&format!(" of {id}")),
                "{}",
                condition.message
            );
        }
        assert_eq!(ready(&report, &site()).reason, "NotApplied");
    }
}
