//! [`Reloaded`]: a value read from files, and read again when they change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tko_core::Result;

/// The time between two checks of the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// A value read from files, and read again when they change. If that fails, the old value stays.
pub(crate) struct Reloaded<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T> + Send + Sync>,
    state: Mutex<ReloadState<T>>,
}

struct ReloadState<T> {
    value: Arc<T>,
    stamps: Vec<Option<FileStamp>>,
    checked: Instant,
}

/// Identifies one version of a file: its modification time, its size, and the file itself.
type FileStamp = (Option<SystemTime>, u64, u64);

impl<T> Reloaded<T> {
    /// Reads the value for the first time. `what` names it in logs.
    pub(crate) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        // The check comes before reading, so that a change in between is noticed at the next check.
        let stamps = stamps(&files);
        let value = Arc::new(load()?);
        Ok(Self {
            what,
            files,
            load: Box::new(load),
            state: Mutex::new(ReloadState {
                value,
                stamps,
                checked: Instant::now(),
            }),
        })
    }

    /// The value; checks the files at most once a second.
    pub(crate) fn current(&self) -> Arc<T> {
        self.after(INTERVAL)
    }

    /// Checks the files at once.
    #[cfg(test)]
    pub(crate) fn check_now(&self) {
        self.after(Duration::ZERO);
    }

    fn after(&self, interval: Duration) -> Arc<T> {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.checked.elapsed() < interval {
            return state.value.clone();
        }
        state.checked = Instant::now();
        let stamps = stamps(&self.files);
        if stamps != state.stamps {
            match (self.load)() {
                Ok(value) => {
                    state.value = Arc::new(value);
                    tracing::info!(files = ?self.files, "read {} again", self.what);
                }
                Err(error) => tracing::error!(
                    files = ?self.files,
                    error = error.chain(),
                    "failed to read {} again; the old content stays in use",
                    self.what
                ),
            }
            state.stamps = stamps;
        }
        state.value.clone()
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<FileStamp>> {
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok(), metadata.len(), inode(&metadata)))
    };
    files.iter().map(stamp).collect()
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}
