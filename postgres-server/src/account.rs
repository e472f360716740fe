//! The account that the server runs as.

use crate::error::StartError;
use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The account that the server runs as, if not the current one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Account {
    /// Chooses an account if the current user is root, or else none.
    pub(crate) fn choose() -> Result<Option<Self>, StartError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let known = ["postgres", "nobody"].into_iter().find_map(Self::of);
        known.map(Some).ok_or(StartError::Root)
    }

    fn of(name: &str) -> Option<Self> {
        Some(Self {
            user: id("-u", name)?,
            group: id("-g", name)?,
        })
    }
}

/// Asks `id`, which also knows users that are not in `/etc/passwd`.
fn id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").arg(which).arg(name).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Returns a command that is independent of the environment. It has no `PG…` variables, no
/// language, and no working directory that the other user may not enter.
pub(crate) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").current_dir("/");
    if let Some(account) = account {
        // This also drops the supplementary groups.
        command.uid(account.user).gid(account.group);
    }
    command
}
