//! Rows as records, with the parts that are wanted.

use crate::arena::Arena;
use crate::arena::RowList;
use crate::connect::SqliteFile;
use crate::pack::{unpack, unpack_body};
use sqlx::{Row, SqliteConnection};
use std::collections::{BTreeSet, HashMap};
use tko_core::commit::WorkItem;
use tko_core::{ContentHash, Error, Key, Kind, Package, Record, Result, Stage, Want};

/// The key in two columns of a row.
pub(crate) fn stored_key(kind: i64, id: &str) -> Result<Key> {
    let kind = Kind::ALL.into_iter().find(|known| *known as i64 == kind);
    let kind =
        kind.ok_or_else(|| Error::internal("read a stored row", "unknown kind of entity"))?;
    Key::new(kind, id).map_err(|error| Error::internal("read a stored row", error))
}

/// The keys as an argument: a list of kind and id.
fn keys_argument<'a>(keys: impl IntoIterator<Item = &'a Key>) -> RowList {
    let mut rows = RowList::default();
    for key in keys {
        rows.row().number(key.kind() as i64).id(key.id()).end();
    }
    rows
}

/// Reads entities in the order of `keys`.
pub(crate) async fn read_records(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    keys: &[Key],
    want: Want,
) -> Result<Vec<Option<Record>>> {
    let fault = file.fault("read entities");
    // A key may be named twice.
    let once: BTreeSet<&Key> = keys.iter().collect();
    let rows = sqlx::query(
        "SELECT e.data FROM json_each($1) j \
         CROSS JOIN entity e ON e.kind = j.value->>0 AND e.id = j.value->>1",
    )
    .bind(keys_argument(once).into_text())
    .fetch_all(&mut *connection)
    .await
    .map_err(&fault)?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.push(unpack::<Record>(row.try_get(0).map_err(&fault)?)?);
    }
    complete(connection, file, &mut records, want).await?;
    let found: HashMap<Key, Record> = records
        .into_iter()
        .map(|record| (record.entity.key.clone(), record))
        .collect();
    Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
}

/// Adds the wanted parts to rows, and removes the others.
pub(super) async fn complete(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    records: &mut [Record],
    want: Want,
) -> Result<()> {
    if !want.revision {
        for record in &mut *records {
            record.revision = None;
        }
    }
    if want.package {
        let hashes = records.iter().map(|record| record.entity.body).collect();
        let bodies = read_bodies(connection, file, hashes).await?;
        for record in &mut *records {
            record.package = Some(body_of(&bodies, record)?);
        }
    }
    if want.work && !records.is_empty() {
        let keys = keys_argument(records.iter().map(|record| &record.entity.key));
        let items = read_work(connection, file, keys.into_text()).await?;
        let mut of_key: HashMap<Key, Vec<(Stage, WorkItem)>> = HashMap::new();
        for (key, stage, item) in items {
            of_key.entry(key).or_default().push((stage, item));
        }
        for record in &mut *records {
            let key = &record.entity.key;
            let mut items = of_key.remove(key).unwrap_or_default();
            items.sort_by_key(|(stage, _)| *stage);
            let work = items.iter().map(|(stage, item)| item.work(*stage, key));
            record.work = work.collect();
        }
    }
    Ok(())
}

/// The package of a row.
pub(crate) fn body_of(bodies: &HashMap<ContentHash, Package>, record: &Record) -> Result<Package> {
    bodies.get(&record.entity.body).cloned().ok_or_else(|| {
        let key = &record.entity.key;
        Error::internal(
            "read a package",
            format!("the package of {key} is missing: run `tko backend check`"),
        )
    })
}

/// Reads packages by their hashes.
pub(crate) async fn read_bodies(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    hashes: BTreeSet<ContentHash>,
) -> Result<HashMap<ContentHash, Package>> {
    let fault = file.fault("read packages");
    let (mut arena, mut rows) = (Arena::default(), RowList::default());
    for hash in hashes {
        rows.row().place(arena.add(&hash.0)).end();
    }
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT b.hash, b.data, b.dictionary FROM json_each($2) j \
         CROSS JOIN body b ON b.hash = substr($1, j.value->>0, j.value->>1)",
    )
    .bind(arena.into_bytes())
    .bind(rows.into_text())
    .fetch_all(&mut *connection)
    .await
    .map_err(&fault)?;
    let mut numbers = BTreeSet::new();
    for row in &rows {
        let number: Option<i64> = row.try_get(2).map_err(&fault)?;
        numbers.extend(number);
    }
    let dictionaries = file.dictionaries.read(connection, numbers).await;
    let dictionaries = dictionaries.map_err(&fault)??;
    let mut bodies = HashMap::with_capacity(rows.len());
    for row in rows {
        let hash: &[u8] = row.try_get(0).map_err(&fault)?;
        if let Ok(hash) = hash.try_into() {
            let number: Option<i64> = row.try_get(2).map_err(&fault)?;
            let dictionary = number.and_then(|number| dictionaries.get(&number));
            let data = row.try_get(1).map_err(&fault)?;
            let body = unpack_body(data, dictionary.map(AsRef::as_ref))?;
            bodies.insert(ContentHash(hash), body);
        }
    }
    Ok(bodies)
}

/// Reads the work of all stages on these keys, an argument that is a list of kind and id.
pub(crate) async fn read_work(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    keys: String,
) -> Result<Vec<(Key, Stage, WorkItem)>> {
    let fault = file.fault("read queued work");
    let rows = sqlx::query(
        "SELECT w.kind, w.id, w.stage, w.data FROM json_each($1) j \
         CROSS JOIN work w ON w.kind = j.value->>0 AND w.id = j.value->>1",
    )
    .bind(keys)
    .fetch_all(connection)
    .await
    .map_err(&fault)?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let stage: i64 = row.try_get(2).map_err(&fault)?;
        let Some(stage) = Stage::ALL.into_iter().find(|known| *known as i64 == stage) else {
            continue;
        };
        let key = stored_key(
            row.try_get(0).map_err(&fault)?,
            row.try_get(1).map_err(&fault)?,
        )?;
        items.push((key, stage, unpack(row.try_get(3).map_err(&fault)?)?));
    }
    Ok(items)
}
