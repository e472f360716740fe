//! Decisions about selections, so that each is evaluated once for all deployments that share it.

use std::collections::HashMap;

/// Maximum number of decisions that are kept.
const MAX_DECISIONS: usize = 10_000;

/// Whether each selection concerns the same changes.
#[derive(Debug, Default)]
pub(super) struct SelectionDecisions(HashMap<String, bool>);

impl SelectionDecisions {
    /// The decision about this selection. `decide` makes it if it is not known.
    pub(super) fn of(&mut self, selection: &str, decide: impl FnOnce(&str) -> bool) -> bool {
        if let Some(known) = self.0.get(selection).copied() {
            return known;
        }
        let decision = decide(selection);
        // Deployments of one template mostly share a selection, so this happens rarely.
        if self.0.len() >= MAX_DECISIONS {
            self.0.clear();
        }
        self.0.insert(selection.to_owned(), decision);
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DECISIONS, SelectionDecisions};

    #[test]
    fn a_selection_is_decided_once_and_few_decisions_are_kept() {
        let mut decisions = SelectionDecisions::default();
        assert!(decisions.of("a", |selection| selection == "a"));
        assert!(!decisions.of("b", |selection| selection == "a"));
        assert!(decisions.of("a", |_| unreachable!("it is decided")));
        assert!(!decisions.of("b", |_| unreachable!("it is decided")));
        for number in 0..2 * MAX_DECISIONS {
            decisions.of(&number.to_string(), |_| true);
            assert!(decisions.0.len() <= MAX_DECISIONS);
        }
        assert!(!decisions.of("a", |_| false), "it is decided anew");
    }
}
