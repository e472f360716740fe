//! The default folder for the data of a server: one SQLite file, and a lock that names the process
//! that uses it.

use anyhow::Context;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tko_core::{Clock, Error};

/// The name of the SQLite file in the folder.
const FILE: &str = "tko.db";

/// The name of the lock in the folder.
const LOCK: &str = "tko.lock";

/// Maximum number of bytes of a lock's content that are shown.
const MAX_SHOWN: u64 = 500;

/// The folder, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// The folder for data: the given one, or `tko` in the user's folder for data.
///
/// # Errors
/// `BadArgument`: no folder was given, and the user has none.
pub(crate) fn data_folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    // Relative paths in this variable must be ignored: XDG Base Directory Specification 0.8.
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let is_absolute = |path: &PathBuf| path.is_absolute();
    let base = variable("XDG_DATA_HOME").filter(is_absolute).or_else(|| {
        let home = variable("HOME").filter(is_absolute)?;
        Some(home.join(".local/share"))
    });
    let base = base.ok_or_else(|| {
        Error::bad(
            "--data",
            "neither XDG_DATA_HOME nor HOME is set; name a directory for the data",
        )
    })?;
    Ok(base.join("tko"))
}

/// The SQLite file in a folder.
pub(crate) fn file_in(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl DataFolder {
    /// Creates the folder if it does not exist, and locks it for this process.
    ///
    /// # Errors
    /// `Unavailable`: another process has it. The error says which one.
    pub(crate) fn open(path: PathBuf, clock: &dyn Clock) -> anyhow::Result<Self> {
        create(&path).with_context(|| format!("cannot create the directory {path:?}"))?;
        let lock = path.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .with_context(|| format!("cannot open the lock {lock:?}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The lock holds even without its content.
                let _ = Read::by_ref(&mut file)
                    .take(MAX_SHOWN)
                    .read_to_string(&mut owner);
                let message = format!(
                    "it is in use by {}; stop that process, or choose another directory with --data",
                    owner.trim()
                );
                let action = format!("use the data in {path:?}");
                return Err(Error::unavailable(action, message).into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {lock:?}"));
            }
        }
        let since = u64::try_from(clock.now().0).unwrap_or(0);
        let since = UNIX_EPOCH + Duration::from_micros(since);
        file.set_len(0)?;
        writeln!(
            file,
            "process {} on {}, since {}",
            std::process::id(),
            host(),
            humantime::format_rfc3339_seconds(since)
        )?;
        file.flush()?;
        Ok(Self { path, _lock: file })
    }

    /// The SQLite file in the folder.
    pub(crate) fn file(&self) -> PathBuf {
        file_in(&self.path)
    }
}

/// Creates a folder that only its owner can read.
fn create(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "this machine".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{DataFolder, data_folder};
    use std::path::Path;
    use tko_core::system::SystemClock;

    #[test]
    fn a_folder_has_one_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        let clock = SystemClock::new();
        let first = DataFolder::open(path.clone(), &clock).expect("it is free");
        let second = DataFolder::open(path.clone(), &clock).expect_err("it is taken");
        let message = format!("{second:#}");
        let owner = format!("process {} on ", std::process::id());
        assert!(message.contains(&owner), "{message}");
        assert!(message.contains(", since 20"), "{message}");
        drop(first);
        DataFolder::open(path, &clock).expect("it is free again");
    }

    #[test]
    fn a_given_folder_is_used() {
        let given = data_folder(Some(Path::new("here"))).expect("a folder");
        assert_eq!(given, Path::new("here"));
    }
}
