//! The folder of a server: data, log and socket, and its end.

use crate::account::{Account, command};
use crate::error::StartError;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Longest path of a folder for sockets. The address of a Unix socket has room for 103 bytes where
/// it has least (macOS; 107 on Linux), and PostgreSQL appends `/.s.PGSQL.65535` at most.
const LONGEST: usize = 103 - "/.s.PGSQL.65535".len();

/// Removes the folder when its standard input ends, which is when this process has closed it or is
/// gone, however it went. The server may be about to end just then, too, and still write: hence
/// more than one attempt, for a minute.
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
pub(crate) struct Folder {
    path: PathBuf,
    account: Option<Account>,
    keeper: Child,
}

impl Folder {
    /// Makes one that the account can use, and nobody else.
    pub(crate) fn make(account: Option<Account>) -> Result<Self, StartError> {
        let parent = parent(account);
        let failed = |error| StartError::Folder(parent.clone(), error);
        // Removed by itself until the keeper takes over.
        let made = tempfile::Builder::new()
            .prefix("tko-pg-")
            .tempdir_in(&parent)
            .map_err(failed)?;
        if let Some(account) = account {
            chown(made.path(), Some(account.user), Some(account.group)).map_err(failed)?;
        }
        // In a process group of its own, which no Ctrl-C reaches.
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

    /// Where it is. The socket is in it, too.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only the account can read, and says where.
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

    /// Where the data are.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Where the log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let kept = self.keeper.wait();
        if !kept.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be removed", self.path.display());
        }
    }
}

/// The folder for temporary ones, or `/tmp` if that has a name that is too long or means something
/// to PostgreSQL (which takes a list of folders), or if the account cannot enter it.
fn parent(account: Option<Account>) -> PathBuf {
    let usual = env::temp_dir();
    let usual = fs::canonicalize(&usual).unwrap_or(usual);
    let name = usual.to_str();
    // With room for the name of the folder itself.
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

/// Whether everybody can enter it.
fn open(folder: &Path) -> io::Result<bool> {
    Ok(fs::metadata(folder)?.mode() & 0o001 != 0)
}
