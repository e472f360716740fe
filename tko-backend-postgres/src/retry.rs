//! Retrying reads whose connection was lost.

use crate::database::Database;
use crate::fault::SqlFault;
use sqlx::Error as SqlError;
use std::error::Error as _;
use tko_core::{Error, Result};

/// Whether the connection was lost, so that another connection may succeed.
fn is_connection_lost(error: &SqlError) -> bool {
    match error {
        SqlError::Io(_) | SqlError::Protocol(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now
        SqlError::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03"))
        }
        _ => false,
    }
}

/// Runs a read, and runs it again if its connection was lost.
///
/// Every connection in the pool may have died unnoticed, for example when the server restarted. So
/// the limit is one attempt for each of them, and one more.
pub(crate) async fn retry_read<T, F>(database: &Database, read: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut retries = database.settings.pool_size();
    loop {
        match read().await {
            Err(error) if retries > 0 && is_lost(&error) => {
                tracing::debug!(%error, "retrying a read: its connection was lost");
                retries -= 1;
            }
            result => return result,
        }
    }
}

/// Whether a statement failed because another transaction was in its way.
pub(crate) fn is_contended(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    source.is_some_and(|source| SqlFault::of(source) == SqlFault::Retry)
}

/// Whether a statement failed because its connection was lost.
pub(crate) fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. })
        && error
            .source()
            .and_then(|source| source.downcast_ref::<SqlError>())
            .is_some_and(is_connection_lost)
}

#[cfg(test)]
mod tests {
    use super::is_lost;
    use crate::fault::fault;
    use sqlx::Error as SqlError;

    #[test]
    fn only_a_lost_connection_is_retried() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(is_lost(&fault("read")(SqlError::Io(reset))));
        let cut = SqlError::Protocol("cut short".to_owned());
        assert!(is_lost(&fault("read")(cut)));
        assert!(
            !is_lost(&fault("read")(SqlError::PoolTimedOut)),
            "the call has already waited"
        );
        assert!(!is_lost(&fault("read")(SqlError::RowNotFound)));
    }
}
