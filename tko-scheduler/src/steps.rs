//! What a pass has to say, in commits of bounded size.

use std::collections::BTreeMap;
use tko_core::{Key, ScheduleStep};

/// Most entities that one commit speaks of.
const STEP: usize = 500;

/// Of bounded size, for a message between processes is; the claim is settled by the last. All that
/// is said of one entity stays together, so that it is one write.
pub(crate) fn in_steps(step: ScheduleStep) -> Vec<ScheduleStep> {
    let mut said: BTreeMap<Key, ScheduleStep> = BTreeMap::new();
    for (id, generation) in step.placed {
        let of = said.entry(Key::from(&id)).or_default();
        of.placed.push((id, generation));
    }
    for id in step.removed {
        said.entry(Key::from(&id)).or_default().removed.push(id);
    }
    for (key, conditions) in step.conditions {
        let of = said.entry(key.clone()).or_default();
        of.conditions.push((key, conditions));
    }
    let mut steps = vec![ScheduleStep::default()];
    for (number, of) in said.into_values().enumerate() {
        if number > 0 && number % STEP == 0 {
            steps.push(ScheduleStep::default());
        }
        if let Some(last) = steps.last_mut() {
            last.placed.extend(of.placed);
            last.removed.extend(of.removed);
            last.conditions.extend(of.conditions);
        }
    }
    if let Some(last) = steps.last_mut() {
        last.settle = step.settle;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::{STEP, in_steps};
    use tko_core::{Condition, DeploymentId, Generation, Key, Outcome, ScheduleStep};

    #[test]
    fn all_that_is_said_of_one_entity_stays_together_and_the_last_step_settles() {
        let ids: Vec<DeploymentId> = (0..=STEP)
            .map(|number| DeploymentId::new(&format!("d{number:04}")).expect("fine"))
            .collect();
        let say = |id: &DeploymentId| {
            let condition = Condition::new("Scheduled", true, "Scheduled", "", Generation(1));
            (Key::from(id), vec![condition])
        };
        let step = ScheduleStep {
            placed: ids.iter().map(|id| (id.clone(), Generation(1))).collect(),
            removed: Vec::new(),
            conditions: ids.iter().rev().map(say).collect(),
            settle: Some(Outcome::Done),
        };
        let steps = in_steps(step);
        let sizes: Vec<_> = steps.iter().map(|step| step.placed.len()).collect();
        assert_eq!(sizes, [STEP, 1]);
        for step in &steps {
            let there = step.placed.iter().map(|(id, _)| Key::from(id));
            let said = step.conditions.iter().map(|(key, _)| key.clone());
            assert!(there.eq(said));
        }
        assert_eq!(
            (&steps[0].settle, &steps[1].settle),
            (&None, &Some(Outcome::Done))
        );
    }

    #[test]
    fn nothing_to_say_still_settles() {
        let step = ScheduleStep {
            settle: Some(Outcome::Done),
            ..ScheduleStep::default()
        };
        let steps = in_steps(step);
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].settle, Some(Outcome::Done));
    }
}
