//! [`DeploymentState`]: the progress of a deployment in one word, for lists, counts and colours.

use crate::entity::{Condition, EDITED, Entity, PREPARED, REMOVAL_FAILED, REMOVED, SCHEDULED};
use crate::error::{Error, Result};
use crate::id::Kind;
use crate::select::Select;

/// Reasons of conditions that are false although nothing is wrong: the work continues by itself, or
/// after an approval.
const IN_PROGRESS: [&str; 7] = [
    "Waiting",
    "AwaitingApproval",
    EDITED,
    "NotApproved",
    "Moving",
    "Scheduling",
    REMOVED,
];

/// The progress of a deployment. Each deployment has exactly one state.
///
/// Other entities can be in the states [`Failing`](Self::Failing) and [`Deleting`](Self::Deleting).
///
/// ```
/// use tko_core::view::DeploymentState;
///
/// assert_eq!(DeploymentState::Waiting.as_str(), "waiting");
/// assert_eq!("failing".parse().ok(), Some(DeploymentState::Failing));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeploymentState {
    /// A scheduler reported that it is on its site, in its current version.
    Scheduled,
    /// It is approved, and a scheduler will place it, or is placing it.
    Approved,
    /// It is prepared and waits for a person's approval.
    Waiting,
    /// It is being prepared, or waits for something that preparation needs.
    Unprepared,
    /// Something was refused or failed; a condition says what.
    Failing,
    /// It is being deleted.
    Deleting,
}

impl DeploymentState {
    /// Restricts a selection so that it has all entities in this state, and few others.
    ///
    /// The filters that the selection already has stay.
    pub fn narrow(self, select: &mut Select) {
        match self {
            Self::Approved | Self::Scheduled => {
                select.approved.get_or_insert(true);
            }
            Self::Waiting => {
                select.prepared.get_or_insert(true);
                select.approved.get_or_insert(false);
            }
            Self::Unprepared => {
                select.prepared.get_or_insert(false);
            }
            Self::Deleting => select.deleting = true,
            Self::Failing => {}
        }
    }

    /// Whether a deployment in this state makes no progress if it has an
    /// [`obstacle`](super::obstacle). Others are on their sites, are being deleted, or wait for a
    /// person's approval.
    pub fn is_stuck(self) -> bool {
        matches!(self, Self::Failing | Self::Unprepared | Self::Approved)
    }

    /// All states, in the order in which people read them.
    pub const ALL: [Self; 6] = [
        Self::Scheduled,
        Self::Approved,
        Self::Waiting,
        Self::Unprepared,
        Self::Failing,
        Self::Deleting,
    ];

    /// The states in which entities of a kind can be.
    pub fn of_kind(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Deployment => &Self::ALL,
            _ => &[Self::Failing, Self::Deleting],
        }
    }

    /// Reads the word of a state in which entities of a kind can be.
    ///
    /// # Errors
    /// `BadArgument`: there is no such state.
    pub fn parse(kind: Kind, text: &str) -> Result<Self> {
        let states = Self::of_kind(kind);
        let known = states.iter().find(|state| state.as_str() == text);
        known.copied().ok_or_else(|| {
            let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
            let words = words.join(", ");
            let message = format!("unknown state {text:?} of a {kind}; expected {words}");
            Error::bad("state", message)
        })
    }

    /// Whether an entity of any kind is in this state.
    pub fn holds(self, entity: &Entity) -> bool {
        match (Self::of(entity), self) {
            (Some(state), _) => state == self,
            (None, Self::Deleting) => entity.deleting,
            (None, Self::Failing) => !entity.deleting && fault(entity).is_some(),
            (None, _) => false,
        }
    }

    /// The state of a deployment; `None` for other kinds.
    pub fn of(entity: &Entity) -> Option<Self> {
        let deployment = entity.deployment()?;
        Some(if entity.deleting {
            Self::Deleting
        } else if fault(entity).is_some() {
            Self::Failing
        } else if entity.is_scheduled() {
            Self::Scheduled
        } else if deployment.approved {
            Self::Approved
        } else if deployment.prepared {
            Self::Waiting
        } else {
            Self::Unprepared
        })
    }

    /// The word for the state: `scheduled`, `approved`, `waiting`, `unprepared`, `failing` or
    /// `deleting`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Approved => "approved",
            Self::Waiting => "waiting",
            Self::Unprepared => "unprepared",
            Self::Failing => "failing",
            Self::Deleting => "deleting",
        }
    }

    /// The meaning of the state, as a sentence without a full stop, for help texts and legends.
    pub fn description(self) -> &'static str {
        match self {
            Self::Scheduled => "It is on its site, in its current version",
            Self::Approved => "A scheduler will place it, or is placing it",
            Self::Waiting => "It is prepared and waits for a person's approval",
            Self::Unprepared => "It is being prepared, or waits for something that it needs",
            Self::Failing => "Something refuses or fails; a condition says what",
            Self::Deleting => "It is removed from its site, then deleted",
        }
    }
}

impl std::fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads the exact word of [`DeploymentState::as_str`].
impl std::str::FromStr for DeploymentState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(Kind::Deployment, text)
    }
}

/// The condition that says why an entity makes no progress and needs a person; `None` if there is
/// none.
pub fn fault(entity: &Entity) -> Option<&Condition> {
    entity.conditions.iter().find(|condition| {
        condition.reason == REMOVAL_FAILED
            || (condition.status == Some(false)
                && !IN_PROGRESS.contains(&condition.reason.as_str()))
    })
}

/// The condition that says what blocks the next step of a deployment: its [`fault`], or else what
/// it waits for.
pub fn obstacle(entity: &Entity) -> Option<&Condition> {
    fault(entity).or_else(|| {
        let unmet = |kind| {
            entity
                .condition(kind)
                .filter(|condition| condition.status == Some(false))
        };
        unmet(PREPARED).or_else(|| unmet(SCHEDULED))
    })
}

#[cfg(test)]
mod tests {
    use super::{DeploymentState, fault, obstacle};
    use crate::deployment_resource::DeploymentResource;
    use crate::entity::{APPROVED, EDITED, SCHEDULED};
    use crate::{Condition, Deployment, DeploymentId, Entity, Facts, Generation, Kind, SiteId};

    fn deployment(change: impl FnOnce(Deployment) -> Deployment) -> Entity {
        let id = DeploymentId::new("a1").expect("an id");
        Entity::new(id, change(Deployment::new(DeploymentResource::default())))
    }

    fn condition(kind: &str, reason: &str) -> Condition {
        Condition::new(kind, false, reason, "why", Generation(1))
    }

    /// A deployment on the site `lab/1`, as its scheduler has reported.
    fn scheduled() -> Entity {
        let site = SiteId::new("lab/1").expect("an id");
        let facts = |d: Deployment| {
            let d = d.prepared(true).approved(true);
            d.site(site.clone()).placed((site, Generation(1)))
        };
        let reported = Condition::new(SCHEDULED, true, "Scheduled", "on it", Generation(1));
        deployment(facts).conditions(vec![reported])
    }

    #[test]
    fn a_deployment_has_the_furthest_state_that_holds() {
        for (entity, state) in [
            (deployment(|d| d), DeploymentState::Unprepared),
            (deployment(|d| d.prepared(true)), DeploymentState::Waiting),
            (
                deployment(|d| d.prepared(true).approved(true)),
                DeploymentState::Approved,
            ),
            (scheduled(), DeploymentState::Scheduled),
            (scheduled().deleting(true), DeploymentState::Deleting),
        ] {
            assert_eq!(DeploymentState::of(&entity), Some(state));
        }
    }

    #[test]
    fn only_what_a_scheduler_has_reported_of_this_generation_is_scheduled() {
        let state = |change: fn(&mut Entity)| {
            let mut entity = scheduled();
            change(&mut entity);
            DeploymentState::of(&entity)
        };
        let approved = Some(DeploymentState::Approved);
        // It is recorded as placed before its schedulers are called.
        assert_eq!(state(|entity| entity.conditions.clear()), approved);
        assert_eq!(state(|entity| entity.generation = Generation(2)), approved);
        let edited = state(|entity| {
            entity.generation = Generation(2);
            if let Facts::Deployment(facts) = &mut entity.facts {
                facts.approved = false;
            }
        });
        assert_eq!(edited, Some(DeploymentState::Waiting));
        let removed = state(|entity| {
            entity.conditions = vec![condition(SCHEDULED, "Removed")];
            if let Facts::Deployment(facts) = &mut entity.facts {
                facts.placed = None;
            }
        });
        assert_eq!(removed, approved);
    }

    #[test]
    fn waiting_is_an_obstacle_and_not_a_fault() {
        let waits = deployment(|d| d).conditions(vec![condition("Prepared", "Waiting")]);
        assert_eq!(
            DeploymentState::of(&waits),
            Some(DeploymentState::Unprepared)
        );
        assert!(fault(&waits).is_none());
        assert_eq!(obstacle(&waits).map(|c| &*c.reason), Some("Waiting"));
        let fails = deployment(|d| d).conditions(vec![condition("Prepared", "Failed")]);
        assert_eq!(DeploymentState::of(&fails), Some(DeploymentState::Failing));
    }

    #[test]
    fn an_edit_that_waits_for_approval_is_no_fault() {
        for reason in [EDITED, "NotApproved", "AwaitingApproval"] {
            let edited = deployment(|d| d.prepared(true));
            let edited = edited.conditions(vec![condition(APPROVED, reason)]);
            let state = DeploymentState::of(&edited);
            assert_eq!(state, Some(DeploymentState::Waiting), "{reason}");
        }
    }

    #[test]
    fn other_entities_fail_and_are_deleted_too() {
        let id = SiteId::new("lab/1").expect("an id");
        let site = Entity::new(id, Facts::site(None, None));
        let holding = |entity: &Entity| {
            let states = DeploymentState::ALL.into_iter();
            states.filter(|s| s.holds(entity)).collect::<Vec<_>>()
        };
        assert!(holding(&site).is_empty());
        let fails = site.conditions(vec![condition(SCHEDULED, "SchedulerFailed")]);
        assert_eq!(holding(&fails), [DeploymentState::Failing]);
        let goes = fails.deleting(true);
        assert_eq!(holding(&goes), [DeploymentState::Deleting]);
        assert!(DeploymentState::parse(Kind::Site, "waiting").is_err());
        for state in DeploymentState::of_kind(Kind::Site) {
            let read = DeploymentState::parse(Kind::Site, state.as_str());
            assert_eq!(read.ok(), Some(*state));
        }
    }

    #[test]
    fn words_are_read_back() {
        for state in DeploymentState::ALL {
            assert_eq!(state.as_str().parse().ok(), Some(state));
        }
        assert!("Failing".parse::<DeploymentState>().is_err());
    }
}
