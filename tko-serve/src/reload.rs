//! [`Reloaded`]: a value read from files, and read again when they change.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tko_core::{Error, Result};

/// The time between two checks of the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time after which a check that has not ended is reported.
const STALLED: Duration = Duration::from_secs(30);

/// A value read from files, and read again when they change. If that fails, the old value stays.
///
/// A thread checks the files, so that a file system that hangs keeps no request waiting. Only regular
/// files are read again: a pipe has its content once.
pub(crate) struct Reloaded<T> {
    current: Arc<CheckedFiles<T>>,
    /// Dropped with this value, which ends the thread. `None`: nothing is read again.
    _end: Option<mpsc::Sender<()>>,
}

/// The files, and their last valid value.
struct CheckedFiles<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T> + Send + Sync>,
    /// Never locked during a read of the files.
    value: RwLock<Arc<T>>,
    /// The versions of the files at the last check. Locked during a check.
    stamps: Mutex<Vec<Option<FileStamp>>>,
    /// `None` between checks.
    running: Mutex<Option<RunningCheck>>,
}

/// A check that has not ended.
struct RunningCheck {
    since: Instant,
    is_reported: bool,
}

/// Identifies one version of a file: its modification time, its size, and the file itself.
type FileStamp = (Option<SystemTime>, u64, u64);

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the value for the first time. `what` names it in logs.
    pub(crate) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::checked_every(INTERVAL, what, files, load)
    }

    fn checked_every(
        interval: Duration,
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        // The check comes before reading, so that a change in between is noticed at the next check.
        let stamps = stamps(&files);
        let special = files.iter().find(|file| is_special(file));
        if let Some(file) = special {
            tracing::info!(
                file = %file.display(),
                "reading {what} only once, because this is not a regular file"
            );
        }
        let is_checked = !files.is_empty() && special.is_none();
        let value = load()?;
        let current = Arc::new(CheckedFiles {
            what,
            files,
            load: Box::new(load),
            value: RwLock::new(Arc::new(value)),
            stamps: Mutex::new(stamps),
            running: Mutex::new(None),
        });
        let end = is_checked
            .then(|| start_checks(&current, interval))
            .transpose()?;
        Ok(Self { current, _end: end })
    }

    /// The value of the last check.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.report_stall();
        let value = &self.current.value;
        value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks the files at once.
    #[cfg(test)]
    pub(crate) fn check_now(&self) {
        self.current.check();
    }
}

/// Starts the thread that checks the files until the returned sender is dropped.
fn start_checks<T: Send + Sync + 'static>(
    files: &Arc<CheckedFiles<T>>,
    interval: Duration,
) -> Result<mpsc::Sender<()>> {
    let (end, ended) = mpsc::channel();
    let files = files.clone();
    let checks = move || {
        while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            files.check();
        }
    };
    // No thread of a runtime: its end would wait for a file system that hangs.
    let started = thread::Builder::new()
        .name("tko-reload".to_owned())
        .spawn(checks);
    started.map_err(|error| Error::unavailable("start a thread that reads files again", error))?;
    Ok(end)
}

impl<T> CheckedFiles<T> {
    /// Reads the files again if they have changed.
    fn check(&self) {
        let mut last = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        *self.running() = Some(RunningCheck {
            since: Instant::now(),
            is_reported: false,
        });
        let stamps = stamps(&self.files);
        if stamps != *last {
            self.load_again();
            *last = stamps;
        }
        *self.running() = None;
    }

    /// Reads the files.
    fn load_again(&self) {
        // Reading a pipe can take for ever.
        let special = self.files.iter().find(|file| is_special(file));
        let loaded = match special {
            Some(file) => Err(Error::bad(
                "file",
                format!("{}: this is not a regular file", file.display()),
            )),
            None => (self.load)(),
        };
        match loaded {
            Ok(value) => {
                let value = Arc::new(value);
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
                tracing::info!(files = ?self.files, "read {} again", self.what);
            }
            Err(error) => tracing::error!(
                files = ?self.files,
                error = error.chain(),
                "failed to read {} again; the old content stays in use",
                self.what
            ),
        }
    }

    /// Logs that a check does not end, once for each check. Until it ends, changes such as revoked
    /// tokens have no effect.
    fn report_stall(&self) {
        let mut running = self.running();
        let stalled = running
            .as_mut()
            .filter(|check| !check.is_reported && check.since.elapsed() > STALLED);
        if let Some(check) = stalled {
            check.is_reported = true;
            tracing::error!(
                files = ?self.files,
                "reading {} again takes too long; the old content stays in use",
                self.what
            );
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<RunningCheck>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is something else than a regular file, such as a pipe.
fn is_special(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file())
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

#[cfg(test)]
mod tests;
