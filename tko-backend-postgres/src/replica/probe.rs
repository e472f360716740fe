//! Whether a server is a standby of our database, and not too far behind.

use crate::connect::migrations;
use crate::dialect;
use crate::fault::fault;
use sqlx::{FromRow, PgPool};
use std::time::Duration;
use tko_core::Result;

/// Of a database: a physical copy has the same, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(super) struct Identity {
    /// Of all that began as the same server.
    system: i64,
    /// Among its databases.
    database: i64,
}

/// For the primary to say where the feed is.
const ASKED: Duration = Duration::from_secs(1);

/// Why it is not read from, in words that stay the same while it is so.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It never will be.
    Foreign(String),
    /// It may be later.
    ForNow(String),
}

impl From<sqlx::Error> for Unfit {
    fn from(error: sqlx::Error) -> Self {
        Self::ForNow(error.to_string())
    }
}

impl Identity {
    /// Of this database.
    pub(super) async fn of(pool: &PgPool) -> Result<Self> {
        sqlx::query_as(dialect::IDENTITY)
            .fetch_one(pool)
            .await
            .map_err(fault("ask the database which one it is"))
    }
}

/// Looks at what a replica is, and how far it is.
pub(super) async fn look(
    identity: Identity,
    replica: &PgPool,
    primary: &PgPool,
) -> Result<(), Unfit> {
    let its: Identity = sqlx::query_as(dialect::IDENTITY).fetch_one(replica).await?;
    if its != identity {
        return Err(Unfit::Foreign(
            "is another database, and no standby of the one that --backend-connection names; \
             name a streaming standby of that, or none"
                .to_owned(),
        ));
    }
    let standby: bool = sqlx::query_scalar(dialect::IS_STANDBY)
        .fetch_one(replica)
        .await?;
    if !standby {
        // As after it was promoted: if our connection leads to it now, all is well.
        return Err(Unfit::ForNow(
            "it is no standby, but takes writes itself".to_owned(),
        ));
    }
    let migrations = migrations();
    let known: Option<i64> = sqlx::query_scalar(
        "SELECT count(*) FROM _sqlx_migrations WHERE success AND version = ANY($1)",
    )
    .bind(&migrations)
    .fetch_optional(replica)
    .await?;
    if known.unwrap_or_default().unsigned_abs() < migrations.len() as u64 {
        return Err(Unfit::ForNow(
            "it has not yet the schema of this version".to_owned(),
        ));
    }
    // In this order: the primary's only grows.
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM head")
        .fetch_one(replica)
        .await?;
    let feed =
        sqlx::query_as::<_, (i64, i64)>("SELECT revision, oldest FROM head").fetch_one(primary);
    let Ok(Ok((head, oldest))) = tokio::time::timeout(ASKED, feed).await else {
        // No fault of the replica's.
        return Ok(());
    };
    if revision > head {
        return Err(Unfit::ForNow(
            "it shows a revision that the database has not: it follows another server".to_owned(),
        ));
    }
    // Whoever listed would be told that it is too late to watch from there, again and again.
    if revision < oldest {
        return Err(Unfit::ForNow(
            "it is so far behind that the changes it has not yet are not kept any more".to_owned(),
        ));
    }
    Ok(())
}
