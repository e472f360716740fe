//! Who the server runs as.

use crate::error::StartError;
use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Who the server runs as, if not whoever runs this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Account {
    /// None but for root.
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

/// Asks `id`, which knows users from elsewhere than `/etc/passwd`, too.
fn id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").arg(which).arg(name).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A command that owes nothing to the environment: no `PG...` variable, no language, no working
/// directory, which the other user might not be allowed to enter.
pub(crate) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").current_dir("/");
    if let Some(account) = account {
        // Supplementary groups go with it.
        command.uid(account.user).gid(account.group);
    }
    command
}
