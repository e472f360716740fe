//! Modifications: exclusive rights to change one package, and the format of secrets.

use crate::connect::SqliteParts;
use crate::read::read_records;
use sqlx::{Row, SqliteConnection};
use std::time::Duration;
use tko_core::{Error, Key, Modification, Result, Timestamp, Token, Want};
use uuid::Uuid;

/// The beginning of the secret of a lease.
pub(crate) const LEASE: &str = "lease.";
/// The beginning of the secret of a modification.
const MODIFICATION: &str = "edit.";

/// A token of a new lease.
pub(crate) fn lease_token(key: &Key) -> Token {
    Token::new(key, format!("{LEASE}{}", Uuid::new_v4().simple()))
}

/// Starts a modification until `ttl` from now.
pub(crate) async fn start(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    key: &Key,
    ttl: Duration,
    want: Want,
    now: Timestamp,
) -> Result<Modification> {
    let fault = shared.file.fault("start the modification");
    let mut records =
        read_records(connection, &shared.file, std::slice::from_ref(key), want).await?;
    let record = records.pop().flatten();
    let record = record
        .filter(|record| !record.entity.deleting)
        .ok_or_else(|| Error::not_found(key))?;
    let open = "SELECT until FROM modification WHERE latest = 1 AND kind = $1 AND id = $2";
    let open = sqlx::query(open)
        .bind(key.kind() as i64)
        .bind(key.id().to_owned())
        .fetch_optional(&mut *connection)
        .await
        .map_err(&fault)?;
    if let Some(row) = open {
        let until: i64 = row.try_get(0).map_err(&fault)?;
        if Timestamp(until) > now {
            return Err(Error::Busy(key.clone()));
        }
    }
    let token = Token::new(key, format!("{MODIFICATION}{}", Uuid::new_v4().simple()));
    let until = now.plus(ttl);
    sqlx::query(
        "UPDATE modification SET latest = 0 WHERE latest = 1 AND kind = $1 AND id = $2; \
         INSERT INTO modification (secret, kind, id, until, latest) VALUES ($3, $1, $2, $4, 1);",
    )
    .bind(key.kind() as i64)
    .bind(key.id().to_owned())
    .bind(token.secret.to_string())
    .bind(until.0)
    .execute(&mut *connection)
    .await
    .map_err(&fault)?;
    Ok(Modification::new(token, until, record))
}

/// Moves the end of an open modification. False: it is not open.
pub(crate) async fn renew(
    connection: &mut SqliteConnection,
    token: &Token,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(
        "UPDATE modification SET until = $1 \
         WHERE secret = $2 AND kind = $3 AND id = $4 AND latest = 1 AND until > $5",
    )
    .bind(until.0)
    .bind(token.secret.to_string())
    .bind(token.key.kind() as i64)
    .bind(token.key.id().to_owned())
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() > 0)
}

/// Ends an open modification. False: it is not open.
pub(crate) async fn close(
    connection: &mut SqliteConnection,
    token: &Token,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let closed = sqlx::query(
        "DELETE FROM modification \
         WHERE secret = $1 AND kind = $2 AND id = $3 AND latest = 1 AND until > $4",
    )
    .bind(token.secret.to_string())
    .bind(token.key.kind() as i64)
    .bind(token.key.id().to_owned())
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(closed.rows_affected() > 0)
}
