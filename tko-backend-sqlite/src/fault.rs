//! Classification of database errors, and their translation to errors of [`tko_core`].

use sqlx::Error as SqlError;
use std::path::{Path, PathBuf};
use tko_core::{BoxError, Error};

/// The result of statements.
pub(crate) type SqlResult<T> = Result<T, SqlError>;

/// The reaction that a failed statement calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqliteFault {
    /// The file cannot be read or written for now: locked, the disk is full, out of memory.
    Unavailable,
    /// The file is not a database, or its content is damaged.
    Damaged,
    /// A bug of this program.
    Broken,
}

impl SqliteFault {
    /// Classifies by the primary result code: <https://www.sqlite.org/rescode.html>.
    pub(crate) fn of(error: &SqlError) -> Self {
        match error {
            SqlError::Database(error) => {
                match error.code().and_then(|code| code.parse::<u32>().ok()) {
                    Some(code) => Self::of_code(code & 0xff),
                    None => Self::Broken,
                }
            }
            SqlError::Io(_)
            | SqlError::PoolTimedOut
            | SqlError::PoolClosed
            | SqlError::WorkerCrashed => Self::Unavailable,
            _ => Self::Broken,
        }
    }

    fn of_code(primary: u32) -> Self {
        match primary {
            // PERM, ABORT, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR; FULL, CANTOPEN,
            // PROTOCOL; NOLFS, AUTH
            3..=10 | 13..=15 | 22 | 23 => Self::Unavailable,
            // CORRUPT, NOTADB
            11 | 26 => Self::Damaged,
            _ => Self::Broken,
        }
    }
}

/// The error for a damaged file, with the remedy.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file {} is damaged ({problem}): stop all programs that use it, keep a copy of it and of \
     its -wal file, then restore a backup with `tko backend restore`; without a backup, \
     `sqlite3 FILE .recover` saves what can be read",
    path.display()
)]
struct DamagedFile {
    path: PathBuf,
    problem: String,
}

/// Translates a database error for callers. `action` is a verb phrase: what could not be done.
pub(crate) fn translate(action: &'static str, path: &Path, error: SqlError) -> Error {
    match SqliteFault::of(&error) {
        SqliteFault::Unavailable => Error::unavailable(action, explain(error)),
        SqliteFault::Damaged => Error::internal(
            action,
            DamagedFile {
                path: path.to_owned(),
                problem: error.to_string(),
            },
        ),
        SqliteFault::Broken => Error::internal(action, error),
    }
}

/// Adds the remedy to frequent errors.
fn explain(error: SqlError) -> BoxError {
    let code = match &error {
        SqlError::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
        _ => None,
    };
    match code.map(|code| code & 0xff) {
        Some(13) => "the disk is full; free space, then retry".into(),
        Some(5 | 6) => {
            "another process is writing to the file for too long; retry, or stop it".into()
        }
        Some(8) => "the file cannot be written; check its permissions and its file system".into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::SqliteFault;

    #[test]
    fn codes_are_classified() {
        for (code, fault) in [
            (5, SqliteFault::Unavailable),
            (10, SqliteFault::Unavailable),
            (13, SqliteFault::Unavailable),
            (11, SqliteFault::Damaged),
            (26, SqliteFault::Damaged),
            (1, SqliteFault::Broken),
            (19, SqliteFault::Broken),
        ] {
            assert_eq!(SqliteFault::of_code(code), fault, "{code}");
        }
    }
}
