//! [`StateCounts`]: how many deployments are in each state.

use serde_json::{Map, Value};
use tko_core::view::DeploymentState;

/// How many deployments are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateCounts([u64; 6]);

impl StateCounts {
    fn at(state: DeploymentState) -> usize {
        match state {
            DeploymentState::Scheduled => 0,
            DeploymentState::Approved => 1,
            DeploymentState::Waiting => 2,
            DeploymentState::Unprepared => 3,
            DeploymentState::Failing => 4,
            DeploymentState::Deleting => 5,
        }
    }

    /// The number in one state.
    pub(crate) fn of(&self, state: DeploymentState) -> u64 {
        self.0[Self::at(state)]
    }

    /// The number in all states.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, state: DeploymentState) {
        self.0[Self::at(state)] += 1;
    }

    pub(super) fn remove(&mut self, state: DeploymentState) {
        let count = &mut self.0[Self::at(state)];
        *count = count.saturating_sub(1);
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Each state with its number, in the order of [`DeploymentState::ALL`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DeploymentState, u64)> + '_ {
        DeploymentState::ALL
            .into_iter()
            .map(|state| (state, self.of(state)))
    }

    /// As JSON: a number for each state, and `total`.
    pub(crate) fn to_value(self) -> Value {
        let mut map: Map<String, Value> = self
            .iter()
            .map(|(state, count)| (state.as_str().to_owned(), count.into()))
            .collect();
        map.insert("total".into(), self.total().into());
        Value::Object(map)
    }
}
