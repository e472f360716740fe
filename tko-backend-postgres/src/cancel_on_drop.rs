//! Connections that are lent to whoever reads: who gives up in the middle ends the session, and the
//! server stops what it was doing for it (`client_connection_check_interval`, see
//! [`options`](crate::connect::options)).

use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use std::ops::{Deref, DerefMut};

/// A connection on which a statement may be running.
pub(crate) struct Lent {
    connection: PoolConnection<Postgres>,
    running: bool,
}

impl Lent {
    /// One of this pool, which is the database's own or a replica's.
    pub(crate) async fn of(shared: &Shared, pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self {
            connection: pool
                .acquire()
                .measured(&shared.measures, Purpose::Lend)
                .await?,
            running: true,
        })
    }

    /// Nothing is running on it: others may have it.
    pub(crate) fn give_back(mut self) {
        self.running = false;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.running {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
