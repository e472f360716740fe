//! Classification of database errors, and their translation to errors of [`tko_core`].

use sqlx::Error as SqlError;
use std::path::{Path, PathBuf};
use tko_core::Error;

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
        // Servers hide the source of an error from their clients, but not the action.
        SqliteFault::Unavailable => match remedy(&error) {
            Some(remedy) => Error::unavailable(format!("{action}: {remedy}"), error),
            None => Error::unavailable(action, error),
        },
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

/// The reason of a frequent error, with its remedy. It contains no paths.
fn remedy(error: &SqlError) -> Option<&'static str> {
    let SqlError::Database(error) = error else {
        return None;
    };
    let code = error.code()?.parse::<u32>().ok()?;
    match code & 0xff {
        13 => Some("the disk is full; free space, then retry"),
        5 | 6 => Some("another process is writing to the file for too long; retry, or stop it"),
        8 => Some("the file cannot be written; check its permissions and its file system"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{SqliteFault, translate};
    use crate::commit::copy;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Executor};
    use std::path::Path;
    use tko_core::ErrorKind;

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

    #[tokio::test]
    async fn the_text_of_a_frequent_error_has_its_reason_and_remedy() {
        for (state, reason) in [
            ("PRAGMA max_page_count = 1", "the disk is full; free space"),
            ("PRAGMA query_only = ON", "the file cannot be written"),
        ] {
            let options = SqliteConnectOptions::new().in_memory(true);
            let mut connection = options.connect().await.expect("a database");
            connection.execute(state).await.expect("executed");
            let made = connection.execute("CREATE TABLE t (x)").await;
            let error = made.expect_err("it cannot be written");
            let error = translate("commit", Path::new("/some/path"), error);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            let said = error.to_string();
            assert!(said.starts_with("could not commit: "), "{said}");
            assert!(said.contains(reason), "{said}");
            assert!(!said.contains("/some/path"), "{said}");
            // Other writes of the same transaction say it, too.
            assert_eq!(copy(&error).to_string(), said);
        }
    }
}
