//! The lock beside a SQLite file, which keeps `--backend-clean` from emptying it under a server.

use anyhow::Context;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tko_core::Error;

/// The lock of the servers that use a SQLite file. Held as long as this value lives.
#[derive(Debug)]
pub(crate) struct SqliteLock {
    path: PathBuf,
    file: File,
}

impl SqliteLock {
    /// Opens the lock of an existing SQLite file, without taking it.
    ///
    /// # Errors
    /// It cannot be created or read.
    pub(crate) fn of(database: &Path) -> anyhow::Result<Self> {
        // Two names of the same file have the same lock.
        let database = database.canonicalize();
        let database = database.context("cannot find the file of the backend")?;
        let mut path = database.into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        // Nothing is written into it, and another user may have created it, such as root.
        let file = opened
            .or_else(|error| File::open(&path).map_err(|_| error))
            .with_context(|| format!("cannot open the lock {path:?}"))?;
        Ok(Self { path, file })
    }

    /// Takes the lock together with other servers.
    ///
    /// # Errors
    /// `Unavailable`: another process empties the file.
    pub(crate) fn share(&self) -> anyhow::Result<()> {
        if self.is_taken(self.file.try_lock_shared())? {
            return Ok(());
        }
        let message = "another process is deleting everything in it; retry";
        Err(Error::unavailable("open the backend", message).into())
    }

    /// Takes the lock for this process alone, until [`release`](Self::release).
    ///
    /// # Errors
    /// `BadArgument`: other processes use the file.
    pub(crate) fn exclude(&self) -> anyhow::Result<()> {
        if self.is_taken(self.file.try_lock())? {
            return Ok(());
        }
        let message = "other processes use this file, and would lose their data; stop them first, \
                       or start without --backend-clean and TKO_BACKEND_CLEAN";
        Err(Error::bad("--backend-clean", message).into())
    }

    /// Releases the lock.
    pub(crate) fn release(&self) -> anyhow::Result<()> {
        match self.file.unlock() {
            // Then it was not taken.
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            released => released.map_err(|error| self.failed(error)),
        }
    }

    /// Whether an attempt took the lock. It counts as taken on a file system without locks, which
    /// must not keep a server from starting.
    fn is_taken(&self, attempt: Result<(), TryLockError>) -> anyhow::Result<bool> {
        match attempt {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(
                    file = %self.path.display(),
                    "the file system has no locks; --backend-clean of another server may delete the data of this one"
                );
                Ok(true)
            }
            Err(TryLockError::Error(error)) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: std::io::Error) -> anyhow::Error {
        anyhow::Error::from(error).context(format!("cannot lock {:?}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::SqliteLock;
    use std::fs::TryLockError;
    use std::io::ErrorKind;

    #[test]
    fn a_file_in_use_is_shared_but_not_excluded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("o.db");
        std::fs::write(&path, "").expect("written");
        let lock = || SqliteLock::of(&path).expect("a lock");
        let (first, second, cleaner) = (lock(), lock(), lock());
        first.share().expect("it is free");
        second.share().expect("it is shared");
        let refused = cleaner.exclude().expect_err("it is in use");
        assert!(refused.to_string().contains("stop them"), "{refused}");
        drop(first);
        cleaner.exclude().expect_err("it is in use");
        drop(second);
        cleaner.exclude().expect("it is free");
        let refused = lock().share().expect_err("it is cleaned");
        assert!(format!("{refused:#}").contains("retry"), "{refused:#}");
        cleaner.release().expect("released");
        lock().share().expect("it is free");
    }

    #[test]
    fn a_lock_that_cannot_be_written_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("o.db");
        std::fs::write(&path, "").expect("written");
        // Nobody can open a folder for writing, not even root, who may run this test.
        std::fs::create_dir(folder.path().join("o.db.lock")).expect("a folder");
        let lock = || SqliteLock::of(&path).expect("a lock");
        let (server, cleaner) = (lock(), lock());
        server.share().expect("it is free");
        cleaner.exclude().expect_err("it is in use");
        drop(server);
        cleaner.exclude().expect("it is free");
    }

    #[test]
    fn a_file_system_without_locks_keeps_no_server_from_starting() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("o.db");
        std::fs::write(&path, "").expect("written");
        let lock = SqliteLock::of(&path).expect("a lock");
        let attempt = |kind: ErrorKind| lock.is_taken(Err(TryLockError::Error(kind.into())));
        assert!(attempt(ErrorKind::Unsupported).expect("it is tolerated"));
        attempt(ErrorKind::InvalidInput).expect_err("another error");
    }
}
