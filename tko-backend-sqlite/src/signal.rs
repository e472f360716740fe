//! Wake-ups: at once within this process, and between processes by polling the file.
//!
//! SQLite does not notify a process of writes by other processes. A connection that only runs
//! `PRAGMA data_version` notices them without reading the file. It polls more often while other
//! processes write, and less often otherwise.

use crate::arena::unsigned;
use crate::connect::{SqliteParts, pause_after, watcher};
use sqlx::SqliteConnection;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tko_core::{Revision, Stage};
use tokio::sync::{Notify, watch};

/// The shortest pause between two polls.
const SHORTEST: Duration = Duration::from_millis(10);

/// The stages whose work may be due after a job of the writer, and whether there are changes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) stages: [bool; Stage::ALL.len()],
    pub(crate) revision: Option<Revision>,
}

impl Touched {
    pub(crate) fn all_stages() -> Self {
        Self {
            stages: [true; Stage::ALL.len()],
            revision: None,
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (stage, also) in self.stages.iter_mut().zip(other.stages) {
            *stage |= also;
        }
        self.revision = self.revision.max(other.revision);
    }
}

/// The signals that end waits.
pub(crate) struct WriteSignal {
    /// The last revision; feeds wait for it to change.
    head: watch::Sender<Revision>,
    /// Signals per stage: work may be due, or due earlier than a waiting claim knows.
    due: [Notify; Stage::ALL.len()],
}

impl WriteSignal {
    pub(crate) fn new(head: Revision) -> Self {
        Self {
            head: watch::Sender::new(head),
            due: Stage::ALL.map(|_| Notify::new()),
        }
    }

    /// The signal for work of this stage.
    pub(crate) fn due(&self, stage: Stage) -> &Notify {
        &self.due[stage as usize]
    }

    /// Follows the last revision.
    pub(crate) fn head(&self) -> watch::Receiver<Revision> {
        self.head.subscribe()
    }

    /// Wakes the claims and feeds that a write of this process concerns.
    pub(crate) fn wrote(&self, touched: Touched) {
        if let Some(revision) = touched.revision {
            self.moved(revision);
        }
        for (due, touched) in self.due.iter().zip(touched.stages) {
            if touched {
                due.notify_one();
            }
        }
    }

    fn moved(&self, revision: Revision) {
        self.head.send_if_modified(|head| {
            let newer = *head < revision;
            *head = revision.max(*head);
            newer
        });
    }

    /// Wakes everyone: another process wrote something.
    fn wrote_elsewhere(&self, revision: Revision) {
        self.moved(revision);
        for due in &self.due {
            due.notify_one();
        }
    }
}

/// Looks for writes of other processes as long as the signal is in use.
pub(crate) async fn follow(shared: Arc<SqliteParts>, signal: Weak<WriteSignal>) {
    let mut connection: Option<SqliteConnection> = None;
    let mut version = None;
    let longest = shared.file.settings.poll.max(SHORTEST);
    let mut pause = SHORTEST;
    while signal.strong_count() > 0 {
        tokio::time::sleep(pause).await;
        let looked = look(&shared, &mut connection).await;
        let Some(signal) = signal.upgrade() else {
            break;
        };
        match looked {
            Ok((seen, revision)) => {
                if version.replace(seen) == Some(seen) {
                    pause = (pause * 2).min(longest);
                } else {
                    pause = SHORTEST;
                    signal.wrote_elsewhere(revision);
                }
            }
            Err(error) => {
                pause = pause_after(&error);
                tracing::debug!(%error, "failed to look for writes of other processes");
                connection = None;
            }
        }
    }
}

/// Reads the version of the data, and the last revision.
async fn look(
    shared: &SqliteParts,
    connection: &mut Option<SqliteConnection>,
) -> Result<(i64, Revision), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(watcher(&shared.file.settings).await?),
    };
    let version = sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(&mut *connection)
        .await?;
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM head")
        .fetch_one(&mut *connection)
        .await?;
    Ok((version, Revision(unsigned(revision))))
}
