//! What the database says went wrong, as errors of [`tko_core`].

use sqlx::Error as Sql;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use tko_core::Error;

/// What to do about a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another transaction was in the way: nothing was written, do it again at once.
    Retry,
    /// Something is there that was not there when it was looked for: read again, decide again.
    Taken,
    /// The server, or the way to it, is not there for now. A write may have been applied.
    Unavailable,
    /// A fault of this program, or of the database.
    Broken,
}

impl Fault {
    /// By `SQLSTATE`: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
    pub(crate) fn of(error: &Sql) -> Self {
        match error {
            Sql::Database(error) => match error.code().as_deref() {
                // serialization_failure, deadlock_detected, lock_not_available
                Some("40001" | "40P01" | "55P03") => Self::Retry,
                // unique_violation
                Some("23505") => Self::Taken,
                // Connections, resources (disk full, too many connections), operators (shutdown,
                // cancelled), the system (input and output), a server in recovery.
                Some(code) if ["08", "53", "57", "58"].contains(&&code[..2]) || code == "25006" => {
                    Self::Unavailable
                }
                _ => Self::Broken,
            },
            Sql::Io(_)
            | Sql::Tls(_)
            | Sql::PoolTimedOut
            | Sql::PoolClosed
            | Sql::WorkerCrashed
            | Sql::Protocol(_) => Self::Unavailable,
            _ => Self::Broken,
        }
    }
}

/// Whether nothing can have been written: it was not even sent, or the server says that it has
/// given it up, as when its disk is full. What ends the session (`FATAL`, `PANIC`) may come after
/// the commit; so may what a pooler in between says of its own connection.
pub(crate) fn was_not_applied(error: &Sql) -> bool {
    match error {
        Sql::PoolTimedOut | Sql::PoolClosed => true,
        Sql::Database(error) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| {
                matches!(error.severity(), PgSeverity::Error) && !error.code().starts_with("08")
            }),
        _ => false,
    }
}

/// As people and callers see it; `action` is a verb phrase.
pub(crate) fn fault(action: &'static str) -> impl Fn(Sql) -> Error {
    move |error| match Fault::of(&error) {
        Fault::Retry | Fault::Unavailable => Error::unavailable(action, error),
        Fault::Taken | Fault::Broken => Error::internal(action, error),
    }
}
