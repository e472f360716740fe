//! Groups of tasks that stop together.

use anyhow::Context;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Extra time after the grace period for tasks to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A group of tasks that stop when the token is cancelled.
#[derive(Default)]
pub(super) struct TaskGroup {
    pub(super) tasks: JoinSet<anyhow::Result<()>>,
    pub(super) stop: CancellationToken,
    /// The time that the tasks give to work in flight when stopping.
    pub(super) grace: Duration,
}

impl TaskGroup {
    /// Cancels the tasks and waits for them. Drops the ones that take too long.
    pub(super) async fn end(&mut self, what: &str) {
        self.stop.cancel();
        let ended = tokio::time::timeout(self.grace + PATIENCE, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = result(ended) {
                    tracing::error!("{error:#}");
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!(
                "{what} did not stop in time; work in flight is left until its lease expires"
            );
            self.tasks.shutdown().await;
        }
    }
}

/// The result of a task that ended.
pub(super) fn result(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.context("a part of the server panicked")?
}
