//! Errors of servers.

use std::io;
use std::path::PathBuf;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// PostgreSQL is not installed.
    #[error(
        "no PostgreSQL 15 or later is installed; run `cargo xtask test`, which installs it, or set TKO_POSTGRES_BIN to the folder of its programs"
    )]
    Missing,
    /// `TKO_POSTGRES_BIN` names a folder without PostgreSQL, or with an old version.
    #[error(
        "no PostgreSQL 15 or later in {}; set TKO_POSTGRES_BIN to the folder of `initdb` and `postgres`, or unset it", .0.display()
    )]
    Named(PathBuf),
    /// PostgreSQL refuses to run as root, and no other user exists.
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody`; run as another user"
    )]
    Root,
    /// No folder is accessible to this process and to the server.
    #[error(
        "cannot use a folder in {}; set TMPDIR to a folder with a short name that every user can enter", .0.display()
    )]
    Folder(PathBuf, #[source] io::Error),
    /// A program could not be run.
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] io::Error),
    /// The file system for the data could not be mounted.
    #[error("cannot mount a file system for the data")]
    Disk(#[from] DiskError),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// `pg_basebackup` failed.
    #[error("pg_basebackup failed: {0}")]
    Copy(String),
    /// The server ended before it was ready.
    #[error("PostgreSQL ended while it started; the end of its log:\n{0}")]
    Ended(String),
    /// The server was not ready in time.
    #[error("PostgreSQL is not ready after {0} seconds; the end of its log:\n{1}")]
    Late(u64, String),
    /// The previous server did not stop.
    #[error("cannot start the server again: it did not stop")]
    Stop(#[from] StopError),
}

/// Why the file system of a server could not be mounted or filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A program of util-linux could not be run.
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] io::Error),
    /// The system does not support it, or does not allow it for this user.
    #[error("the system refused to mount a file system: {0}")]
    Refused(String),
    /// The server has no file system of its own.
    #[error(
        "the server has no file system of its own; request one with `PostgresServerSettings::disk`"
    )]
    None,
}

/// Why a server did not stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// The server did not stop in time.
    #[error("PostgreSQL did not end within {0} seconds; the end of its log:\n{1}")]
    Late(u64, String),
    /// The shell that controls the server failed.
    #[error("the shell that controls PostgreSQL does not answer")]
    Watch(#[source] io::Error),
}

/// Why a statement was not executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PsqlError {
    /// The client could not be run.
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] io::Error),
    /// The server rejected the statement, or is not running.
    #[error("{said}; the statement was: {sql}")]
    Failed {
        /// The statement.
        sql: String,
        /// The output of the client.
        said: String,
    },
    /// A condition did not become true in time.
    #[error("still false after {seconds} seconds: {sql}")]
    Late {
        /// The statement that selects the condition.
        sql: String,
        /// The length of the wait.
        seconds: u64,
    },
}
