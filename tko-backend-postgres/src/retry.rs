//! Doing again what may be done twice.

use crate::postgres::Shared;
use sqlx::Error as Sql;
use std::error::Error as _;
use tko_core::{Error, Result};

/// Whether the connection was lost, and nothing else: another one may do.
pub(crate) fn is_lost(error: &Sql) -> bool {
    match error {
        Sql::Io(_) | Sql::Protocol(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now
        Sql::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03"))
        }
        _ => false,
    }
}

/// Does what changes nothing, and does it again if its connection was lost: once for each
/// connection that may have died unnoticed in the pool, and once more.
pub(crate) async fn again<T, F>(shared: &Shared, read: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut left = shared.settings.connections.max(2);
    loop {
        match read().await {
            Err(error @ Error::Unavailable { .. }) if left > 0 && lost(&error) => {
                tracing::debug!(%error, "a connection was lost; reading again");
                left -= 1;
            }
            result => return result,
        }
    }
}

/// Whether it is that the connection was lost.
pub(crate) fn lost(error: &Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<Sql>())
        .is_some_and(is_lost)
}

#[cfg(test)]
mod tests {
    use super::lost;
    use crate::fault::fault;
    use sqlx::Error as Sql;

    #[test]
    fn only_a_lost_connection_is_lost() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(lost(&fault("read")(Sql::Io(reset))));
        assert!(lost(&fault("read")(Sql::Protocol("cut short".to_owned()))));
        assert!(
            !lost(&fault("read")(Sql::PoolTimedOut)),
            "it waited long enough"
        );
        assert!(!lost(&fault("read")(Sql::RowNotFound)));
    }
}
