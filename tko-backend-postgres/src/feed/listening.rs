//! Notices changes by other processes, through notifications and polling.

use super::head::{FeedHead, position};
use crate::database::Database;
use crate::dialect::{self, FeedNotice};
use crate::monitor::DatabaseMonitor;
use crate::work::WorkSignal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two polls, which make up for lost notifications.
const POLL: Duration = Duration::from_millis(500);

/// The first and the longest pause before a lost connection is opened again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Receives the notifications of numbering passes, as long as the process runs.
pub(super) async fn listen(database: Arc<Database>, head: Arc<FeedHead>, signal: Arc<WorkSignal>) {
    let mut pause = RECONNECT.0;
    loop {
        let start = Instant::now();
        if let Err(error) = receive(&database, &head, &signal).await {
            tracing::debug!(%error, "notifications interrupted; polling meanwhile");
        }
        // A connection that lasted was healthy, so the pauses start again from the shortest.
        pause = if start.elapsed() > RECONNECT.1 {
            RECONNECT.0
        } else {
            (pause * 2).min(RECONNECT.1)
        };
        tokio::time::sleep(pause).await;
    }
}

async fn receive(
    database: &Database,
    head: &FeedHead,
    signal: &WorkSignal,
) -> Result<(), sqlx::Error> {
    let mut listener = dialect::listener(&database.options).await?;
    loop {
        // `None` after the connection was lost and opened again: notifications may be missing.
        let notification = listener.try_recv().await?;
        let notice = notification.map_or_else(
            || FeedNotice::of(""),
            |notification| FeedNotice::of(notification.payload()),
        );
        if let Some(revision) = notice.revision {
            head.advance(revision);
        }
        if notice.process != database.process {
            signal.wake_stages(notice.stages);
        }
    }
}

/// Polls the head, as long as the process runs.
pub(super) async fn poll(
    database: Arc<Database>,
    head: Arc<FeedHead>,
    monitor: Arc<DatabaseMonitor>,
) {
    loop {
        let revision = if monitor.is_due() {
            monitor.poll(&database).await
        } else {
            let position = position(&database).await;
            position.map(|position| position.revision.0)
        };
        if let Ok(revision) = revision {
            head.advance(revision);
        }
        tokio::time::sleep(POLL).await;
    }
}
