//! The folder of a server: data, log and socket. It is removed at the end.

use crate::account::{Account, command};
use crate::error::StartError;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The limit of a folder's path in bytes. The address of a Unix socket has room for 103 bytes on
/// macOS and 107 on Linux, and PostgreSQL appends up to `/.s.PGSQL.65535`.
const LONGEST: usize = 103 - "/.s.PGSQL.65535".len();

/// Removes the folder when its standard input ends: when this process closes it, or ends in any
/// way. The server may still be writing at that time, so the shell tries again for a minute.
const KEEPER: &str = r#"
trap '' HUP INT TERM
read -r _
attempts=600
until rm -rf -- "$1"; do
    attempts=$((attempts - 1))
    test "$attempts" -gt 0 || exit 1
    sleep 0.1
done
"#;

/// A folder that is removed when this is dropped, and when this process ends.
#[derive(Debug)]
pub(crate) struct ServerFolder {
    path: PathBuf,
    account: Option<Account>,
    keeper: Child,
}

impl ServerFolder {
    /// Creates a folder that only the account can use.
    pub(crate) fn make(account: Option<Account>) -> Result<Self, StartError> {
        let parent = parent(account);
        let failed = |error| StartError::Folder(parent.clone(), error);
        // Until the keeper starts, `tempfile` removes the folder.
        let made = tempfile::Builder::new()
            .prefix("tko-pg-")
            .tempdir_in(&parent)
            .map_err(failed)?;
        if let Some(account) = account {
            chown(made.path(), Some(account.user), Some(account.group)).map_err(failed)?;
        }
        // In its own process group, so that Ctrl-C does not reach it.
        let keeper = command(Path::new("sh"), None)
            .args(["-c", KEEPER, "keeper"])
            .arg(made.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| StartError::Run("sh".into(), error))?;
        Ok(Self {
            path: made.keep(),
            account,
            keeper,
        })
    }

    /// The path of the folder. It also contains the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only the account can read. Returns its path.
    pub(crate) fn keep(&self, name: &str, text: &str) -> Result<PathBuf, StartError> {
        let path = self.path.join(name);
        let written = || {
            let options = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            options?.write_all(text.as_bytes())?;
            match self.account {
                Some(account) => chown(&path, Some(account.user), Some(account.group)),
                None => Ok(()),
            }
        };
        written().map_err(|error| StartError::Folder(path.clone(), error))?;
        Ok(path)
    }

    /// The folder of the data.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The path of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Drop for ServerFolder {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let kept = self.keeper.wait();
        if !kept.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be removed", self.path.display());
        }
    }
}

/// The folder for temporary files. It is `/tmp` instead if its name is too long, if PostgreSQL
/// would read its name as a list, or if the account cannot enter it.
fn parent(account: Option<Account>) -> PathBuf {
    let usual = env::temp_dir();
    let usual = fs::canonicalize(&usual).unwrap_or(usual);
    let name = usual.to_str();
    // The name of the new folder needs room as well.
    let plain = name.is_some_and(|name| {
        name.len() + "/tko-pg-123456".len() <= LONGEST && !name.contains([',', '"'])
    });
    let entered = |folder| account.is_none() || open(folder).is_ok_and(|open| open);
    if plain && usual.ancestors().all(entered) {
        usual
    } else {
        PathBuf::from("/tmp")
    }
}

/// Whether every user can enter a folder.
fn open(folder: &Path) -> io::Result<bool> {
    Ok(fs::metadata(folder)?.mode() & 0o001 != 0)
}
