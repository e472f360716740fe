//! A file system for the data of one server, small enough to be filled.
//!
//! It is in memory, mounted in its own namespace. So it needs no root user, no other process sees
//! it, and it disappears with the last process in the namespace. The first of these is a shell that
//! waits for the end of its standard input. That is a pipe from this process, so nothing outlives
//! this process.

use crate::account::{Account, command};
use crate::error::DiskError;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Mounts the file system, reports it, and waits.
const HOLDER: &str = r#"
trap '' HUP INT TERM
mount -t tmpfs -o "$1" tmpfs "$2" && echo mounted && read -r _
"#;

/// The name of the file that fills the disk.
const BALLAST: &str = "ballast";

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Disk {
    holder: Child,
    /// The mount point, as seen inside the namespace.
    at: PathBuf,
    account: Option<Account>,
}

impl Disk {
    /// Mounts a file system of this many bytes for the account, at an existing folder.
    pub(crate) fn mount(
        bytes: u64,
        at: &Path,
        account: Option<Account>,
    ) -> Result<Self, DiskError> {
        let size = format!("size={bytes},mode=700");
        let mut unshare = command(Path::new("unshare"), None);
        unshare.arg("--mount");
        // Root needs no user namespace. Other users are root inside one.
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
        // It has ended, or ends now because its input is closed.
        let output = holder
            .wait_with_output()
            .map_err(|error| DiskError::Run("unshare".into(), error))?;
        Err(DiskError::Refused(said_by(&output)))
    }

    /// Returns a command of the account that sees the file system.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut enter = command(Path::new("nsenter"), None);
        enter.arg(format!("--target={}", self.holder.id()));
        enter.arg("--mount");
        if let Some(Account { user, group }) = self.account {
            enter.arg(format!("--setuid={user}"));
            enter.arg(format!("--setgid={group}"));
        } else {
            // PostgreSQL refuses to run as root, so it keeps its outer user id inside the
            // namespace.
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

    /// Takes all free space.
    pub(crate) fn fill(&self) -> Result<(), DiskError> {
        let output = self.shell("cat /dev/zero >\"$1\"")?;
        let said = said_by(&output);
        if said.contains("No space left on device") {
            return Ok(());
        }
        Err(DiskError::Refused(said))
    }

    /// Frees the space again, if it was taken.
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
        // It only has to end.
        let _ = self.holder.wait();
    }
}

fn said_by(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
