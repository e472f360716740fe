//! Edits: one writer of an entity's package at a time.

use super::EDIT;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::row::number;
use std::time::Duration;
use tko_core::{Error, Key, Modification, Result, Timestamp, Token, Want};
use uuid::Uuid;

/// The row is what all writers lock, so it says who may write; `edit` says whether a token that is
/// not in the row any more was used or has lapsed.
const OPEN: &str = "WITH opened AS ( \
         UPDATE entity e SET edit = $3, edit_until = now_us() + $4 \
         WHERE e.kind = $1 AND e.id = $2 AND NOT e.deleting \
         AND (e.edit IS NULL OR e.edit_until <= now_us()) RETURNING e.edit_until) \
     INSERT INTO edit (token, until) SELECT $3, edit_until FROM opened RETURNING until";

/// Opens an edit.
///
/// # Errors
/// As `Backend::edit` says them.
pub(crate) async fn edit(
    shared: &Shared,
    key: &Key,
    ttl: Duration,
    want: Want,
) -> Result<Modification> {
    let uuid = Uuid::new_v4();
    // An edit of no time at all could not even be given up.
    let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 4);
    let until: Option<i64> = sqlx::query_scalar(OPEN)
        .bind(number(key.kind()))
        .bind(key.id())
        .bind(uuid)
        .bind(ttl)
        .fetch_optional(&shared.pool)
        .sent(&shared.measures, Purpose::Modification)
        .await?;
    let mut found = crate::read::get(shared, std::slice::from_ref(key), want).await?;
    let record = found.pop().flatten().filter(|r| !r.entity.deleting);
    match (until, record) {
        (Some(until), Some(record)) => Ok(Modification {
            token: Token {
                key: key.clone(),
                secret: format!("{EDIT}{}", uuid.simple()).into(),
            },
            until: Timestamp(until),
            record,
        }),
        (None, Some(_)) => Err(Error::Busy(key.clone())),
        (_, None) => Err(Error::not_found(key)),
    }
}
