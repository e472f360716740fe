//! Reading by key.

use super::found::{self, Found, records};
use crate::cancel_on_drop::Lent;
use crate::columns::Columns;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::retry::again;
use crate::row::{Before, COLUMNS, number};
use sqlx::{AssertSqlSafe, Row as _};
use tko_core::{Error, Key, MAX_CHANGES, Record, Result, Want};

/// What is there of these keys, in their order.
pub(crate) async fn get(shared: &Shared, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
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
    again(shared, || read(shared, keys, want)).await
}

async fn read(shared: &Shared, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
    let sql = format!(
        "SELECT k.nth, {} FROM unnest($1::smallint[], $2::text[]) \
         WITH ORDINALITY k(kind, id, nth) CROSS JOIN LATERAL \
         (SELECT * FROM entity o WHERE o.kind = k.kind AND o.id = k.id LIMIT 1) e{}",
        found::columns(COLUMNS, want),
        found::join(want)
    );
    let (kinds, ids): (Vec<i16>, Vec<&str>) = keys
        .iter()
        .map(|key| (number(key.kind()), key.id()))
        .unzip();
    let failed = fault("get a connection");
    let mut connection = Lent::of(shared, &shared.pool).await.map_err(failed)?;
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .fetch_all(&mut *connection)
        .sent(&shared.measures, Purpose::Get)
        .await?;
    connection.give_back();
    let broken = fault("decode entities");
    let (mut places, mut found) = (Vec::new(), Vec::new());
    let mut before = Before::default();
    for row in &rows {
        let place: i64 = row.try_get(0).map_err(&broken)?;
        places.push(usize::try_from(place - 1).unwrap_or_default());
        found.push(Found::of(Columns::of(row, 1), want, &mut before)?);
    }
    let mut answers = vec![None; keys.len()];
    for (place, record) in places.into_iter().zip(records(shared, found, want).await?) {
        answers[place] = Some(record);
    }
    Ok(answers)
}
