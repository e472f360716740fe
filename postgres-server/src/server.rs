//! A server, from its start to its end.

mod standby;

use crate::account::{Account, command};
use crate::disk::Disk;
use crate::error::{DiskError, PsqlError, StartError, StopError};
use crate::folder::ServerFolder;
use crate::installation::Installation;
use crate::process::{Order, Processes};
use crate::psql::{PORT, USER, psql, quoted, url};
use crate::settings::PostgresServerSettings;
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The limit of waiting for a start or an end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The pause between two checks for readiness.
const LOOK: Duration = Duration::from_millis(10);

/// The limit of log lines in an error.
const SHOWN: usize = 40;

/// The name of the database that always exists.
const ALWAYS: &str = "postgres";

/// A private PostgreSQL server.
///
/// It is stopped, and its folder removed, when this is dropped, and when this process ends in any
/// other way. The superuser is `tko`, without a password.
#[derive(Debug)]
pub struct PostgresServer {
    // Dropped in this order, after `drop` has stopped the server.
    processes: Mutex<Option<Processes>>,
    installation: Installation,
    account: Option<Account>,
    parameters: Vec<String>,
    port: u16,
    databases: AtomicU64,
    disk: Option<Disk>,
    folder: ServerFolder,
}

/// How to stop a server before it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Ends all sessions, and writes all data.
    Fast,
    /// Ends at once, without writing; the next start recovers.
    Immediate,
}

impl PostgresServer {
    /// Creates a new, empty server, and waits until it is ready.
    ///
    /// # Errors
    /// Every error names the failed step, and shows the end of the server's log if it started.
    pub fn start(settings: PostgresServerSettings) -> Result<Self, StartError> {
        let installation = Installation::find()?;
        let account = Account::choose()?;
        let folder = ServerFolder::make(account)?;
        let data = folder.data();
        let disk = match settings.disk {
            Some(bytes) => {
                fs::create_dir(&data).map_err(|error| StartError::Folder(data.clone(), error))?;
                Some(Disk::mount(bytes, &data, account)?)
            }
            None => None,
        };
        initialize(program(&installation.initdb, account, disk.as_ref()), &data)?;
        let port = settings.loopback.as_ref().map_or(PORT, |tcp| tcp.port);
        let mut parameters = vec![
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={}", folder.path().display()),
            format!("port={port}"),
        ];
        if let Some(tcp) = &settings.loopback {
            let certificate = folder.keep("server.crt", &tcp.certificate)?;
            let key = folder.keep("server.key", &tcp.key)?;
            parameters.extend([
                "listen_addresses=127.0.0.1".to_owned(),
                "ssl=on".to_owned(),
                format!("ssl_cert_file={}", certificate.display()),
                format!("ssl_key_file={}", key.display()),
            ]);
        }
        parameters.extend(settings.into_parameters());
        let server = Self {
            processes: Mutex::new(None),
            installation,
            account,
            parameters,
            port,
            databases: AtomicU64::new(0),
            disk,
            folder,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Returns the URL of a database.
    pub fn url(&self, database: &str) -> String {
        url(self.folder.path(), self.port, database)
    }

    /// Returns the URL of a database over TCP, if the server listens on loopback.
    pub fn loopback_url(&self, database: &str) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Executes SQL with the client `psql`. Returns the result: one line per row, with `|` between
    /// columns. Several statements are one transaction.
    ///
    /// # Errors
    /// - `Failed`: the server rejected a statement, or does not run.
    /// - `Run`: `psql` cannot be run.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, PsqlError> {
        psql(&self.installation.psql, &self.url(database), sql)
    }

    /// Creates an empty database, and returns its unique name.
    ///
    /// # Errors
    /// As [`psql`](Self::psql).
    pub fn create_database(&self) -> Result<String, PsqlError> {
        self.create_database_from("template1")
    }

    /// Creates a copy of a database, and returns its unique name.
    ///
    /// # Errors
    /// As [`psql`](Self::psql); `Failed` also if the original does not exist or has connections.
    pub fn create_database_from(&self, template: &str) -> Result<String, PsqlError> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("tko_{number}");
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}", quoted(template));
        self.psql(ALWAYS, &sql)?;
        Ok(name)
    }

    /// Deletes a database, and ends all sessions in it.
    ///
    /// # Errors
    /// As [`psql`](Self::psql); `Failed` also if the database does not exist.
    pub fn drop_database(&self, name: &str) -> Result<(), PsqlError> {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", quoted(name));
        self.psql(ALWAYS, &sql)?;
        Ok(())
    }

    /// Stops the server, and starts it again.
    ///
    /// # Errors
    /// - `Stop`: the server did not stop in time.
    /// - Others as [`start_again`](Self::start_again).
    pub fn restart(&self, mode: Mode) -> Result<(), StartError> {
        self.end(match mode {
            Mode::Fast => Order::Fast,
            Mode::Immediate => Order::Immediate,
        })?;
        self.start_again()
    }

    /// Stops the server, and waits for its end. The data stay for
    /// [`start_again`](Self::start_again).
    ///
    /// # Errors
    /// - `Late`: the server did not stop in time.
    /// - `Watch`: the shell that controls it does not answer.
    pub fn stop(&self) -> Result<(), StopError> {
        self.end(Order::Fast)
    }

    /// Kills all processes of the server, as a crash would, and waits for their end.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn kill(&self) -> Result<(), StopError> {
        self.end(Order::Kill)
    }

    /// Starts the server after it was stopped, was killed, or ended by itself, and waits until it
    /// is ready. A running server is left alone.
    ///
    /// # Errors
    /// - `Ended`, `Late`: the server ended before it was ready, or was not ready in time; both show
    ///   the end of its log.
    /// - `Run`: the shell or `psql` cannot be run.
    /// - `Folder`: the log cannot be opened.
    /// - `Stop`: the rest of a server that ended by itself cannot be stopped.
    pub fn start_again(&self) -> Result<(), StartError> {
        let mut processes = self.processes();
        if let Some(running) = processes.as_ref() {
            if !running.gone(Duration::ZERO) {
                return Ok(());
            }
            self.ended(&mut processes, Order::Immediate)?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.log())
            .map_err(|error| StartError::Folder(self.folder.path().to_owned(), error))?;
        let shell = program(Path::new("sh"), self.account, self.disk.as_ref());
        let postgres = &self.installation.postgres;
        let data = self.folder.data();
        let started = Processes::start(shell, postgres, &data, &self.parameters, log)
            .map_err(|error| StartError::Run("sh".into(), error))?;
        *processes = Some(started);
        let ready = self.ready(processes.as_ref().expect("it was just put there"));
        if ready.is_err() {
            // The first failure is the interesting one.
            let _ = self.ended(&mut processes, Order::Immediate);
        }
        ready
    }

    /// Takes all free space of the file system from [`PostgresServerSettings::disk`].
    ///
    /// # Errors
    /// - `None`: the server has no file system of its own.
    /// - `Run`: `nsenter` cannot be run.
    /// - `Refused`: the space cannot be taken; with the output of the shell.
    pub fn fill(&self) -> Result<(), DiskError> {
        self.disk.as_ref().ok_or(DiskError::None)?.fill()
    }

    /// Frees the space that [`fill`](Self::fill) took.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn make_space(&self) -> Result<(), DiskError> {
        self.disk.as_ref().ok_or(DiskError::None)?.make_space()
    }

    /// The folder of the data, the log and the socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the end of the server's log.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    fn ready(&self, running: &Processes) -> Result<(), StartError> {
        let begun = Instant::now();
        loop {
            match self.psql(ALWAYS, "SELECT 1") {
                Ok(_) => return Ok(()),
                Err(PsqlError::Run(program, error)) => return Err(StartError::Run(program, error)),
                Err(_) if begun.elapsed() > PATIENCE => {
                    return Err(StartError::Late(PATIENCE.as_secs(), self.log()));
                }
                Err(_) => {}
            }
            if running.gone(LOOK) {
                return Err(StartError::Ended(self.log()));
            }
        }
    }

    fn end(&self, order: Order) -> Result<(), StopError> {
        self.ended(&mut self.processes(), order)
    }

    fn ended(&self, processes: &mut Option<Processes>, order: Order) -> Result<(), StopError> {
        if let Some(running) = processes {
            if !running.end(order, PATIENCE).map_err(StopError::Watch)? {
                return Err(StopError::Late(PATIENCE.as_secs(), self.log()));
            }
            *processes = None;
        }
        Ok(())
    }

    fn processes(&self) -> MutexGuard<'_, Option<Processes>> {
        // A test that panicked with the lock left the processes as they were.
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Err(error) = self
            .end(Order::Immediate)
            .or_else(|_| self.end(Order::Kill))
        {
            eprintln!("{error}");
        }
    }
}

/// Returns the server that all tests of a process share. The first call starts it.
///
/// # Panics
/// If the server does not start.
pub fn shared() -> &'static PostgresServer {
    static SHARED: OnceLock<PostgresServer> = OnceLock::new();
    SHARED.get_or_init(|| {
        PostgresServer::start(PostgresServerSettings::default()).unwrap_or_else(|error| {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            panic!("{message}")
        })
    })
}

/// Returns a command with access to the data.
fn program(path: &Path, account: Option<Account>, disk: Option<&Disk>) -> Command {
    match disk {
        Some(disk) => disk.command(path),
        None => command(path, account),
    }
}

fn initialize(mut initdb: Command, data: &Path) -> Result<(), StartError> {
    let name = initdb.get_program().into();
    let output = initdb
        .arg(format!("--pgdata={}", data.display()))
        .arg(format!("--username={USER}"))
        .args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--no-sync", "--no-instructions"])
        .process_group(0)
        .output()
        .map_err(|error| StartError::Run(name, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(StartError::Init(said.trim().to_owned()))
}
