//! Reads by key.

use super::reader::EntityReader;
use super::record::{self, FoundEntity, records};
use crate::codes::kind_number;
use crate::columns::RowColumns;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose};
use crate::retry::retry_read;
use crate::row::{COLUMNS, RowDecoder};
use sqlx::{AssertSqlSafe, Row as _};
use tko_core::{Error, Key, MAX_CHANGES, Record, Result, Want};

/// Returns the records of these keys, in order; `None` for keys that do not exist.
pub(crate) async fn get(
    reader: &EntityReader,
    keys: &[Key],
    want: Want,
) -> Result<Vec<Option<Record>>> {
    if keys.len() > MAX_CHANGES {
        return Err(Error::bad(
            "keys",
            format!(
                "there are {}; at most {MAX_CHANGES} are read at once: read them in parts",
                keys.len()
            ),
        ));
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    retry_read(&reader.database, || read(reader, keys, want)).await
}

async fn read(reader: &EntityReader, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
    let (columns, join) = (record::columns(COLUMNS, want), record::join(want));
    let query = if let [key] = keys {
        // Most reads are of one key: nothing to expand, nothing to join.
        let sql = format!(
            "SELECT 1::bigint, {columns} FROM entity e{join} WHERE e.kind = $1 AND e.id = $2"
        );
        let query = sqlx::query(AssertSqlSafe(sql));
        query.bind(kind_number(key.kind())).bind(key.id())
    } else {
        let sql = format!(
            "SELECT k.nth, {columns} FROM unnest($1::smallint[], $2::text[]) \
             WITH ORDINALITY k(kind, id, nth) CROSS JOIN LATERAL \
             (SELECT * FROM entity o WHERE o.kind = k.kind AND o.id = k.id LIMIT 1) e{join}"
        );
        let (kinds, ids): (Vec<i16>, Vec<&str>) = keys
            .iter()
            .map(|key| (kind_number(key.kind()), key.id()))
            .unzip();
        sqlx::query(AssertSqlSafe(sql)).bind(kinds).bind(ids)
    };
    let mut connection = reader.acquire(&reader.database.pool).await?;
    let rows = query
        .fetch_all(&mut *connection)
        .sent(&reader.database.metrics, Purpose::Get)
        .await?;
    connection.release();
    let broken = fault("decode entities");
    let (mut positions, mut found) = (Vec::new(), Vec::new());
    let mut decoder = RowDecoder::default();
    for row in &rows {
        let nth: i64 = row.try_get(0).map_err(&broken)?;
        positions.push(usize::try_from(nth - 1).unwrap_or_default());
        found.push(FoundEntity::of(RowColumns::of(row, 1), want, &mut decoder)?);
    }
    let mut answers = vec![None; keys.len()];
    let records = records(&reader.content, found, want).await?;
    for (position, record) in positions.into_iter().zip(records) {
        answers[position] = Some(record);
    }
    Ok(answers)
}
