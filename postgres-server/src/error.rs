//! Why a server did not do as asked.

use std::io;
use std::path::PathBuf;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is none to start.
    #[error(
        "no PostgreSQL 15 or later is installed; run `cargo xtask test`, which installs it, or name the folder of its programs in TKO_POSTGRES_BIN"
    )]
    Missing,
    /// The one that was asked for is not there, or too old.
    #[error(
        "there is no PostgreSQL 15 or later in {}, which TKO_POSTGRES_BIN names; name the folder that has `initdb` and `postgres`, or unset it", .0.display()
    )]
    Named(PathBuf),
    /// PostgreSQL refuses to run as root, and there is nobody else.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`; run as another user"
    )]
    Root,
    /// No folder that both sides can use.
    #[error(
        "no folder for it in {}; set TMPDIR to a folder with a short name that every user can enter", .0.display()
    )]
    Folder(PathBuf, #[source] io::Error),
    /// A program could not be run.
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] io::Error),
    /// It was to have a file system of its own.
    #[error("there is no file system for it alone")]
    Disk(#[from] DiskError),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// `pg_basebackup` failed.
    #[error("pg_basebackup failed: {0}")]
    Copy(String),
    /// It ended before it was ready.
    #[error("PostgreSQL ended while it started; the end of its log:\n{0}")]
    Ended(String),
    /// It took too long.
    #[error("PostgreSQL is not ready after {0} seconds; the end of its log:\n{1}")]
    Late(u64, String),
    /// What was running before did not stop.
    #[error("it could not be started again, as it did not stop")]
    Stop(#[from] StopError),
}

/// Why there is no file system for one server, or nothing was done with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A program, of util-linux, could not be run.
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] io::Error),
    /// Not here, or not by this user.
    #[error("the system refuses: {0}")]
    Refused(String),
    /// The server uses the same file system as all others.
    #[error("the server has none; ask for one with `Settings::disk`")]
    None,
}

/// Why a server did not stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It took too long.
    #[error("PostgreSQL did not end within {0} seconds; the end of its log:\n{1}")]
    Late(u64, String),
    /// The process that watches over it is gone or broken.
    #[error("the process that watches over PostgreSQL does not answer")]
    Watch(#[source] io::Error),
}

/// Why a statement was not executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PsqlError {
    /// The client could not be run.
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] io::Error),
    /// The server refused, or is not there.
    #[error("{said}; the statement was: {sql}")]
    Failed {
        /// What was asked.
        sql: String,
        /// What the client printed.
        said: String,
    },
    /// What was waited for did not come.
    #[error("still not so after {seconds} seconds: {sql}")]
    Late {
        /// What was to be true.
        sql: String,
        /// For how long it was waited.
        seconds: u64,
    },
}
