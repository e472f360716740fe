//! Tasks that run side by side until they are told to end.

use anyhow::Context;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How much longer than the grace that parts give to what is in flight they may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tasks that end when they are told to.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) tasks: JoinSet<anyhow::Result<()>>,
    pub(super) stop: CancellationToken,
    /// What they give to what is in flight then.
    pub(super) grace: Duration,
}

impl Parts {
    /// Tells them, and waits; what does not end is dropped.
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
            tracing::warn!("{what} did not end in time; work in flight is left to its lease");
            self.tasks.shutdown().await;
        }
    }
}

/// What a task ended with.
pub(super) fn result(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.context("a part of the server has failed")?
}
