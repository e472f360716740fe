//! The signal that work may be due, within a process.

use crate::codes::Stages;
use std::time::Duration;
use tko_core::Stage;
use tokio::sync::watch;

/// Wakes waiting claims. Each of them looks for work itself.
#[derive(Debug)]
pub(crate) struct WorkSignal([watch::Sender<u64>; Stage::ALL.len()]);

impl Default for WorkSignal {
    fn default() -> Self {
        Self(std::array::from_fn(|_| watch::Sender::new(0)))
    }
}

/// Receives every signal of a stage since it was created or [cleared](Self::clear).
pub(super) struct WorkListener(watch::Receiver<u64>);

impl WorkSignal {
    /// Signals that work of any stage may be due, or due earlier than expected.
    pub(crate) fn wake(&self) {
        self.wake_stages(Stages::ALL);
    }

    /// The same for work of these stages.
    pub(crate) fn wake_stages(&self, stages: Stages) {
        for (stage, sender) in Stage::ALL.into_iter().zip(&self.0) {
            if stages.has(stage) {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }

    pub(super) fn listener(&self, stage: Stage) -> WorkListener {
        let place = Stage::ALL.iter().position(|known| *known == stage);
        WorkListener(self.0[place.unwrap_or_default()].subscribe())
    }
}

impl WorkListener {
    /// Discards the signals so far.
    pub(super) fn clear(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for a signal, but not longer than this.
    pub(super) async fn wait(&mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::WorkSignal;
    use crate::codes::Stages;
    use tko_core::Stage;

    #[test]
    fn only_the_claims_of_a_stage_are_woken() {
        let signal = WorkSignal::default();
        let prepare = signal.listener(Stage::Prepare);
        let delete = signal.listener(Stage::Delete);
        let stages = Stages::from_iter([Stage::Prepare, Stage::Schedule]);
        signal.wake_stages(Stages::of_bits(stages.bits()));
        assert!(prepare.0.has_changed().expect("it is there"));
        assert!(!delete.0.has_changed().expect("it is there"));
        signal.wake();
        assert!(delete.0.has_changed().expect("it is there"));
    }
}
