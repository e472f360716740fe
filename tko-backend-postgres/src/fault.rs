//! Classification of database errors, and their translation to errors of [`tko_core`].

use sqlx::Error as SqlError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use tko_core::Error;

/// The reaction that a failed statement calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlFault {
    /// Another transaction was in the way. Nothing was written; retry at once.
    Retry,
    /// A key exists that was absent when it was read. Read and check again.
    Taken,
    /// The server cannot be reached, or cannot serve the statement for now. A write may have been
    /// applied.
    Unavailable,
    /// A bug of this program, or a damaged database.
    Broken,
}

impl SqlFault {
    /// Classifies by `SQLSTATE`: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
    pub(crate) fn of(error: &SqlError) -> Self {
        match error {
            SqlError::Database(error) => match error.code().as_deref() {
                // serialization_failure, deadlock_detected, lock_not_available
                Some("40001" | "40P01" | "55P03") => Self::Retry,
                // unique_violation
                Some("23505") => Self::Taken,
                // Connection errors, lack of resources (disk full, too many connections), operator
                // intervention (shutdown, cancel), system errors (I/O), a server in recovery.
                Some(code) if ["08", "53", "57", "58"].contains(&&code[..2]) || code == "25006" => {
                    Self::Unavailable
                }
                _ => Self::Broken,
            },
            SqlError::Io(_)
            | SqlError::Tls(_)
            | SqlError::PoolTimedOut
            | SqlError::PoolClosed
            | SqlError::WorkerCrashed
            | SqlError::Protocol(_) => Self::Unavailable,
            _ => Self::Broken,
        }
    }
}

/// Whether the connection was lost, so that another connection may succeed.
pub(crate) fn is_connection_lost(error: &SqlError) -> bool {
    match error {
        SqlError::Io(_) | SqlError::Protocol(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now
        SqlError::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03"))
        }
        _ => false,
    }
}

/// Whether a failed write was certainly not applied.
///
/// That holds if the statement was never sent, or if the server reports that it aborted it, as when
/// the disk is full. An error that ends the session (`FATAL`, `PANIC`) may follow a commit, and so
/// may a connection error that a pooler reports.
pub(crate) fn was_not_applied(error: &SqlError) -> bool {
    match error {
        SqlError::PoolTimedOut | SqlError::PoolClosed => true,
        SqlError::Database(error) => {
            error
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| {
                    matches!(error.severity(), PgSeverity::Error) && !error.code().starts_with("08")
                })
        }
        _ => false,
    }
}

/// Translates a database error for callers. `action` is a verb phrase: what could not be done.
pub(crate) fn fault(action: &'static str) -> impl Fn(SqlError) -> Error {
    move |error| match SqlFault::of(&error) {
        SqlFault::Retry | SqlFault::Unavailable => Error::unavailable(action, error),
        SqlFault::Taken | SqlFault::Broken => Error::internal(action, error),
    }
}
