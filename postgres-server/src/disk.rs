//! A file system for the data of one server, of a size at which it can be full.
//!
//! It is in memory, and mounted in a namespace that nobody else is in: nobody needs to be root for
//! that, nobody else sees it, and it goes with the last process in the namespace. The first of these
//! is a shell that waits for the end of its standard input, a pipe whose other end is here, so that
//! nothing outlives this process.

use crate::account::{Account, command};
use crate::error::DiskError;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Mounts it, says so, and stays.
const HOLDER: &str = r#"
trap '' HUP INT TERM
mount -t tmpfs -o "$1" tmpfs "$2" && echo mounted && read -r _
"#;

/// What takes the space that is left.
const BALLAST: &str = "ballast";

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Disk {
    holder: Child,
    /// Where it is mounted, for those in its namespace.
    at: PathBuf,
    account: Option<Account>,
}

impl Disk {
    /// Makes one of so many bytes that the account can use, at a folder that is there.
    pub(crate) fn mount(
        bytes: u64,
        at: &Path,
        account: Option<Account>,
    ) -> Result<Self, DiskError> {
        let size = format!("size={bytes},mode=700");
        let mut unshare = command(Path::new("unshare"), None);
        unshare.arg("--mount");
        // Root needs no other users for it; whoever is not root is root among users of his own.
        let options = if let Some(Account { user, group }) = account {
            format!("{size},uid={user},gid={group}")
        } else {
            unshare.args(["--user", "--map-root-user"]);
            size
        };
        let mut holder = unshare
            .args(["sh", "-c", HOLDER, "holder", &options])
            .arg(at)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| DiskError::Run("unshare".into(), error))?;
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        let told = BufReader::new(stdout).read_line(&mut said);
        if told.is_ok() && said == "mounted\n" {
            let at = at.to_owned();
            return Ok(Self {
                holder,
                at,
                account,
            });
        }
        // It has ended, or does so now, its input being closed.
        let output = holder
            .wait_with_output()
            .map_err(|error| DiskError::Run("unshare".into(), error))?;
        Err(DiskError::Refused(said_by(&output)))
    }

    /// A command of the account that sees the file system.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut enter = command(Path::new("nsenter"), None);
        enter.arg(format!("--target={}", self.holder.id()));
        enter.arg("--mount");
        if let Some(Account { user, group }) = self.account {
            enter.arg(format!("--setuid={user}"));
            enter.arg(format!("--setgid={group}"));
        } else {
            // PostgreSQL must not take itself for root: in there it is who it is out here.
            let user = rustix::process::geteuid().as_raw();
            let group = rustix::process::getegid().as_raw();
            enter.args(["--user", "--preserve-credentials", "--"]);
            enter.args(["unshare", "--user"]);
            enter.arg(format!("--map-user={user}"));
            enter.arg(format!("--map-group={group}"));
        }
        enter.arg("--").arg(program);
        enter
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) -> Result<(), DiskError> {
        let output = self.shell("cat /dev/zero >\"$1\"")?;
        let said = said_by(&output);
        if said.contains("No space left on device") {
            return Ok(());
        }
        Err(DiskError::Refused(said))
    }

    /// Gives it back. Nothing happens if it was not taken.
    pub(crate) fn make_space(&self) -> Result<(), DiskError> {
        let output = self.shell("rm -f -- \"$1\"")?;
        if output.status.success() {
            return Ok(());
        }
        Err(DiskError::Refused(said_by(&output)))
    }

    fn shell(&self, script: &str) -> Result<Output, DiskError> {
        self.command(Path::new("sh"))
            .args(["-c", script, "sh"])
            .arg(self.at.join(BALLAST))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| DiskError::Run("nsenter".into(), error))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It has nothing to do but end.
        let _ = self.holder.wait();
    }
}

fn said_by(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
