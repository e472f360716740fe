//! Settings of a backend.

use std::path::PathBuf;
use std::time::Duration;

/// When a commit survives a loss of power.
///
/// With either setting, commits survive a crash of the process, and a loss of power cannot damage
/// the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SqliteSync {
    /// Before the commit returns: the disk has confirmed the write.
    #[default]
    Full,
    /// Some time after the commit returned. A loss of power may undo the last commits, in order.
    Normal,
}

/// The path of the file, and how a process uses it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteSettings {
    /// The path of the file. It is created if it does not exist; its folder must exist.
    ///
    /// SQLite keeps two more files next to it, with `-wal` and `-shm` added to the name. The file
    /// must be on a local disk: network file systems do not lock reliably.
    pub path: PathBuf,
    /// When a commit survives a loss of power. Default: before it returns.
    pub sync: SqliteSync,
    /// The number of connections that read; at least 1. Default: 4.
    pub readers: u32,
    /// How long a write waits for the writes of other processes. Default: 30 seconds.
    pub busy_timeout: Duration,
    /// Minimum number of recent changes to keep, for watchers and for history. Default: 100,000.
    pub history: u64,
    /// Younger changes are kept, regardless of their number. Default: 15 minutes, which is longer
    /// than Kubernetes clients go without receiving a revision.
    pub history_time: Duration,
    /// Shortest pause between two checks for writes of other processes. Default: 100 milliseconds.
    ///
    /// Writes of this process are noticed at once.
    pub poll: Duration,
}

impl SqliteSettings {
    /// Returns the defaults for the file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync: SqliteSync::Full,
            readers: 4,
            busy_timeout: Duration::from_secs(30),
            history: 100_000,
            history_time: Duration::from_mins(15),
            poll: Duration::from_millis(100),
        }
    }
}
