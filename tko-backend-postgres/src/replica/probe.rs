//! The probe of a replica: whether it is a standby of the database, and not too far behind.

use crate::connect::migrations;
use crate::dialect;
use crate::fault::fault;
use sqlx::{FromRow, PgPool};
use std::time::Duration;
use tko_core::Result;

/// The identity of a database, which only its physical copies share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(super) struct DatabaseIdentity {
    /// The server from which the copy was made.
    system: i64,
    /// The database within the server.
    database: i64,
}

/// How long the probe waits for the primary.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a replica cannot be used. The text stays the same as long as the reason does.
#[derive(Debug)]
pub(super) enum UnfitReason {
    /// It is not a copy of the database.
    Foreign(String),
    /// It may become usable.
    Temporary(String),
}

impl From<sqlx::Error> for UnfitReason {
    fn from(error: sqlx::Error) -> Self {
        Self::Temporary(error.to_string())
    }
}

impl DatabaseIdentity {
    /// Reads the identity of a database.
    pub(super) async fn of(pool: &PgPool) -> Result<Self> {
        sqlx::query_as(dialect::IDENTITY)
            .fetch_one(pool)
            .await
            .map_err(fault("read the identity of the database"))
    }
}

/// Checks the identity, the role, the schema, and the revision of a replica.
pub(super) async fn probe(
    identity: DatabaseIdentity,
    replica: &PgPool,
    primary: &PgPool,
) -> Result<(), UnfitReason> {
    let its: DatabaseIdentity = sqlx::query_as(dialect::IDENTITY).fetch_one(replica).await?;
    if its != identity {
        return Err(UnfitReason::Foreign(
            "is not a standby of the database in --backend-connection; \
             give the URL of a streaming standby, or remove the option"
                .to_owned(),
        ));
    }
    let standby: bool = sqlx::query_scalar(dialect::IS_STANDBY)
        .fetch_one(replica)
        .await?;
    if !standby {
        // It was promoted. If the primary's URL now leads to it, all is well.
        return Err(UnfitReason::Temporary(
            "it is not a standby: it accepts writes".to_owned(),
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
        return Err(UnfitReason::Temporary(
            "its schema is older than this version".to_owned(),
        ));
    }
    // The primary's revision only grows, so it is read last.
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM head")
        .fetch_one(replica)
        .await?;
    let feed =
        sqlx::query_as::<_, (i64, i64)>("SELECT revision, oldest FROM head").fetch_one(primary);
    let Ok(Ok((head, oldest))) = tokio::time::timeout(PRIMARY_TIMEOUT, feed).await else {
        // This says nothing about the replica.
        return Ok(());
    };
    if revision > head {
        return Err(UnfitReason::Temporary(
            "it has a revision that the database does not have: it follows another server"
                .to_owned(),
        ));
    }
    // Clients that list from here could not watch from the revision that they get.
    if revision < oldest {
        return Err(UnfitReason::Temporary(
            "it is too far behind: the changes it lacks were deleted from the feed".to_owned(),
        ));
    }
    Ok(())
}
