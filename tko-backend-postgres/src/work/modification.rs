//! Modifications: exclusive rights to change one package.

use super::lease::cancel_modification;
use crate::codes::{kind_number, micros};
use crate::metrics::{Instrument, Purpose};
use crate::read::{EntityReader, get};
use crate::token::modification_token;
use std::time::Duration;
use tko_core::{Error, Key, Modification, Result, Timestamp, Want};
use uuid::Uuid;

/// Starts a modification. Every writer locks the row, so the row holds the token. Later the table
/// `edit` shows whether a token that is no longer in the row was used or expired.
const START: &str = "WITH opened AS ( \
         UPDATE entity e SET edit = $3, edit_until = now_us() + $4 \
         WHERE e.kind = $1 AND e.id = $2 AND NOT e.deleting \
         AND (e.edit IS NULL OR e.edit_until <= now_us()) RETURNING e.edit_until) \
     INSERT INTO edit (token, until) SELECT $3, edit_until FROM opened RETURNING until";

/// Starts a modification.
///
/// # Errors
/// As [`Backend::start_modification`](tko_core::Backend::start_modification).
pub(crate) async fn start_modification(
    reader: &EntityReader,
    key: &Key,
    ttl: Duration,
    want: Want,
) -> Result<Modification> {
    let uuid = Uuid::new_v4();
    let until: Option<i64> = sqlx::query_scalar(START)
        .bind(kind_number(key.kind()))
        .bind(key.id())
        .bind(uuid)
        .bind(micros(ttl))
        .fetch_optional(&reader.database.pool)
        .sent(&reader.database.metrics, Purpose::StartModification)
        .await?;
    let found = get(reader, std::slice::from_ref(key), want).await;
    if until.is_some() && found.is_err() {
        // Nobody else has its token.
        let token = modification_token(key, uuid);
        if let Err(error) = cancel_modification(&reader.database, &token).await {
            let error = error.chain();
            tracing::warn!(%key, error, "failed to cancel a modification; it will expire");
        }
    }
    let record = found?.pop().flatten().filter(|r| !r.entity.deleting);
    match (until, record) {
        (Some(until), Some(record)) => Ok(Modification::new(
            modification_token(key, uuid),
            Timestamp(until),
            record,
        )),
        (None, Some(_)) => Err(Error::Busy(key.clone())),
        (_, None) => Err(Error::not_found(key)),
    }
}
