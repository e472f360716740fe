//! Splits the report of a site into commits of bounded size.

use std::collections::BTreeMap;
use tko_core::{Key, ScheduleStep};

/// Maximum number of entities in one commit. A store commits 500 together; one of them may be the
/// site, because of its schedulers.
const STEP: usize = 499;

/// Splits a step, because messages between processes have a maximum size. Everything about one
/// entity stays together, so that the entity is written once. The last step settles the claim.
///
/// Schedulers are recorded by the first step, before any placement, and forgotten by the last one,
/// after all removals. So a crash in between loses no scheduler that still has something to remove.
pub(crate) fn in_steps(step: ScheduleStep) -> Vec<ScheduleStep> {
    let mut entities: BTreeMap<Key, ScheduleStep> = BTreeMap::new();
    for (id, generation) in step.placed {
        let of = entities.entry(Key::from(&id)).or_default();
        of.placed.push((id, generation));
    }
    for id in step.removed {
        entities.entry(Key::from(&id)).or_default().removed.push(id);
    }
    for (key, conditions) in step.conditions {
        let of = entities.entry(key.clone()).or_default();
        of.conditions.push((key, conditions));
    }
    let mut steps = vec![ScheduleStep::default()];
    for (number, of) in entities.into_values().enumerate() {
        if number > 0 && number % STEP == 0 {
            steps.push(ScheduleStep::default());
        }
        if let Some(last) = steps.last_mut() {
            last.placed.extend(of.placed);
            last.removed.extend(of.removed);
            last.conditions.extend(of.conditions);
        }
    }
    if let Some(first) = steps.first_mut() {
        first.called = step.called;
        first.expect = step.expect;
    }
    if let Some(last) = steps.last_mut() {
        last.forgotten = step.forgotten;
        last.settle = step.settle;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::{STEP, in_steps};
    use tko_core::{
        Condition, DeploymentId, Generation, Key, Outcome, ScheduleStep, SiteScheduler,
    };

    #[test]
    fn an_entity_stays_in_one_step_and_the_last_step_settles() {
        let ids: Vec<DeploymentId> = (0..=STEP)
            .map(|number| DeploymentId::new(&format!("d{number:04}")).expect("a valid id"))
            .collect();
        let report = |id: &DeploymentId| {
            let condition = Condition::new("Scheduled", true, "Scheduled", "", Generation(1));
            (Key::from(id), vec![condition])
        };
        let step = ScheduleStep::new()
            .all_placed(ids.iter().map(|id| (id.clone(), Generation(1))))
            .all_conditions(ids.iter().rev().map(report))
            .settle(Outcome::Done);
        let steps = in_steps(step);
        let sizes: Vec<_> = steps.iter().map(|step| step.placed.len()).collect();
        assert_eq!(sizes, [STEP, 1]);
        for step in &steps {
            let placed = step.placed.iter().map(|(id, _)| Key::from(id));
            let reported = step.conditions.iter().map(|(key, _)| key.clone());
            assert!(placed.eq(reported));
        }
        assert_eq!(
            (&steps[0].settle, &steps[1].settle),
            (&None, &Some(Outcome::Done))
        );
    }

    #[test]
    fn schedulers_are_recorded_first_and_forgotten_last() {
        let ids = (0..=STEP).map(|number| DeploymentId::new(&format!("d{number:04}")));
        let ids = ids.map(|id| id.expect("a valid id"));
        let step = ScheduleStep::new()
            .all_removed(ids)
            .all_called([SiteScheduler::new("new")])
            .all_forgotten([SiteScheduler::new("old")])
            .expect(Generation(2));
        let steps = in_steps(step);
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].called.len(), steps[0].forgotten.len()), (1, 0));
        assert_eq!(steps[0].expect, Some(Generation(2)));
        assert_eq!((steps[1].called.len(), steps[1].forgotten.len()), (0, 1));
    }

    #[test]
    fn an_empty_report_settles_the_claim() {
        let step = ScheduleStep::new().settle(Outcome::Done);
        let steps = in_steps(step);
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].settle, Some(Outcome::Done));
    }
}
