//! Streaming standbys, and how far they have replayed.

use super::{ALWAYS, LOOK, PATIENCE, PostgresServer};
use crate::account::{Account, command};
use crate::error::{PsqlError, StartError};
use crate::folder::ServerFolder;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Instant;

impl PostgresServer {
    /// Creates a standby of this server, and waits until it can be read from.
    ///
    /// It has the same settings, but no TCP, and a separate folder. It follows its primary as long
    /// as both run, also after a restart of either.
    ///
    /// # Errors
    /// - `Copy`: `pg_basebackup` failed; with its output.
    /// - `Run`: a program cannot be run.
    /// - `Folder`: no folder can be used.
    /// - Others as [`start_again`](Self::start_again).
    pub fn standby(&self) -> Result<Self, StartError> {
        let folder = ServerFolder::make(self.account)?;
        let program = &self.installation.pg_basebackup;
        copy(program, self.account, &self.url(ALWAYS), &folder.data())?;
        let mut parameters = self.parameters.clone();
        // The last value of a name wins. The port names the socket; on loopback it is taken.
        parameters.extend([
            "listen_addresses=".to_owned(),
            "ssl=off".to_owned(),
            format!("unix_socket_directories={}", folder.path().display()),
        ]);
        let standby = Self {
            processes: Mutex::new(None),
            installation: self.installation.clone(),
            account: self.account,
            parameters,
            port: self.port,
            databases: AtomicU64::new(0),
            disk: None,
            folder,
        };
        standby.start_again()?;
        Ok(standby)
    }

    /// Pauses the replay of a standby. It keeps receiving changes, but does not show them.
    ///
    /// # Errors
    /// - As [`psql`](Self::psql); `Failed` also if this server is no standby.
    /// - `Late`: the replay was not paused in time.
    pub fn pause_replay(&self) -> Result<(), PsqlError> {
        self.psql(ALWAYS, "SELECT pg_wal_replay_pause()")?;
        self.until("SELECT pg_get_wal_replay_pause_state() = 'paused'")
    }

    /// Resumes the replay of a standby.
    ///
    /// # Errors
    /// As [`psql`](Self::psql); `Failed` also if this server is no standby.
    pub fn resume_replay(&self) -> Result<(), PsqlError> {
        self.psql(ALWAYS, "SELECT pg_wal_replay_resume()")?;
        Ok(())
    }

    /// Waits until a standby shows everything that is committed on the primary now.
    ///
    /// # Errors
    /// - As [`psql`](Self::psql), for either server.
    /// - `Late`: the standby did not show it in time.
    pub fn catch_up(&self, primary: &Self) -> Result<(), PsqlError> {
        let committed = primary.psql(ALWAYS, "SELECT pg_current_wal_flush_lsn()")?;
        self.until(&format!(
            "SELECT pg_last_wal_replay_lsn() >= '{committed}'::pg_lsn"
        ))
    }

    /// Waits until this statement returns true.
    fn until(&self, sql: &str) -> Result<(), PsqlError> {
        let begun = Instant::now();
        while self.psql(ALWAYS, sql)? != "t" {
            if begun.elapsed() > PATIENCE {
                return Err(PsqlError::Late {
                    sql: sql.to_owned(),
                    seconds: PATIENCE.as_secs(),
                });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Copies the data of a running server, with the settings of a standby.
fn copy(
    program: &Path,
    account: Option<Account>,
    url: &str,
    data: &Path,
) -> Result<(), StartError> {
    let output = command(program, account)
        .arg(format!("--dbname={url}"))
        .arg(format!("--pgdata={}", data.display()))
        .args(["--write-recovery-conf", "--wal-method=stream"])
        .args(["--checkpoint=fast", "--no-sync", "--no-password"])
        .process_group(0)
        .output()
        .map_err(|error| StartError::Run(program.to_owned(), error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(StartError::Copy(said.trim().to_owned()))
}
