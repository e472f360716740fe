//! Checks of every row: its bytes, its values in the index, its package, and its references.

use super::report::{SqliteCheckProblem, SqliteFindings};
use crate::arena::{Arena, RowList, unsigned};
use crate::connect::SqliteParts;
use crate::facet::terms;
use crate::pack::{unpack, unpack_body};
use crate::read::stored_key;
use sqlx::{Row, SqliteConnection};
use std::collections::{BTreeSet, HashMap};
use tko_core::{ContentHash, Key, Record, Result, SiteId};

/// The number of rows that are read at once.
const PAGE: i64 = 500;

/// Adds the missing values of rows to the index: `$1` arena, `$2` rows, as when they are written.
const ADD_TERMS: &str = "\
INSERT OR IGNORE INTO term (kind, facet, name, value, num) \
    SELECT j.value->>0, j.value->>1, substr($1, j.value->>3, j.value->>4), \
        substr($1, j.value->>5, j.value->>6), (SELECT number FROM head) + 1 + j.key \
    FROM json_each($2) j; \
UPDATE head SET number = number + (SELECT count(*) FROM json_each($2)); \
INSERT OR IGNORE INTO posting (term, id) \
    SELECT t.num, j.value->>2 FROM json_each($2) j CROSS JOIN term t \
    ON t.kind = j.value->>0 AND t.facet = j.value->>1 \
        AND t.name = substr($1, j.value->>3, j.value->>4) \
        AND t.value = substr($1, j.value->>5, j.value->>6);";

/// Counts the values of rows that the index has: `$1` arena, `$2` rows.
const COUNT_TERMS: &str = "\
SELECT count(*) FROM json_each($2) j CROSS JOIN term t \
    ON t.kind = j.value->>0 AND t.facet = j.value->>1 \
        AND t.name = substr($1, j.value->>3, j.value->>4) \
        AND t.value = substr($1, j.value->>5, j.value->>6) \
    CROSS JOIN posting p ON p.term = t.num AND p.id = j.value->>2";

/// Checks all rows, then the packages, and the counts of their users.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    parts: &SqliteParts,
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<()> {
    let fault = parts.file.fault("check the file");
    let mut uses: HashMap<ContentHash, i64> = HashMap::new();
    let (mut after, mut indexed) = ((-1_i64, String::new()), 0_u64);
    loop {
        let rows = sqlx::query(
            "SELECT kind, id, data FROM entity WHERE (kind, id) > ($1, $2) \
             ORDER BY kind, id LIMIT $3",
        )
        .bind(after.0)
        .bind(after.1.clone())
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await
        .map_err(&fault)?;
        let Some(last) = rows.last() else { break };
        after = (
            last.try_get(0).map_err(&fault)?,
            last.try_get(1).map_err(&fault)?,
        );
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            findings.entities += 1;
            let (kind, id): (i64, &str) = (
                row.try_get(0).map_err(&fault)?,
                row.try_get(1).map_err(&fault)?,
            );
            let record = unpack::<Record>(row.try_get(2).map_err(&fault)?);
            match (stored_key(kind, id), record) {
                (Ok(key), Ok(record)) if key == record.entity.key => records.push(record),
                (_, Err(error)) => {
                    findings.add(SqliteCheckProblem::Row, format!("{id}: {error}"), false);
                }
                _ => findings.add(SqliteCheckProblem::Row, id.to_owned(), false),
            }
        }
        indexed += index(connection, &records, repair, findings)
            .await
            .map_err(&fault)?;
        holders(connection, &records, repair, findings)
            .await
            .map_err(&fault)?;
        references(connection, &records, findings)
            .await
            .map_err(&fault)?;
        for record in &records {
            *uses.entry(record.entity.body).or_default() += 1;
        }
    }
    superfluous(connection, indexed, repair, findings)
        .await
        .map_err(&fault)?;
    let replaced = sqlx::query(
        "SELECT body_before, count(*) FROM change WHERE body_before IS NOT NULL GROUP BY 1",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(&fault)?;
    for row in replaced {
        let hash: &[u8] = row.try_get(0).map_err(&fault)?;
        if let Ok(hash) = hash.try_into() {
            let count: i64 = row.try_get(1).map_err(&fault)?;
            *uses.entry(ContentHash(hash)).or_default() += count;
        }
    }
    bodies(connection, parts, uses, repair, findings)
        .await
        .map_err(&fault)
}

/// Compares the values of rows with the index. Returns how many of them the index has now.
async fn index(
    connection: &mut SqliteConnection,
    records: &[Record],
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<u64, sqlx::Error> {
    let mut total = 0;
    for record in records {
        let (mut arena, mut rows) = (Arena::default(), RowList::default());
        let key = &record.entity.key;
        let terms = terms(&record.entity);
        for term in &terms {
            let name = arena.add(term.name.as_bytes());
            let value = arena.add(term.value.as_bytes());
            rows.row()
                .number(key.kind() as i64)
                .number(term.facet as i64)
                .id(key.id())
                .place(name)
                .place(value)
                .end();
        }
        let (arena, rows) = (arena.into_bytes(), rows.into_text());
        let found: i64 = sqlx::query_scalar(COUNT_TERMS)
            .bind(arena.clone())
            .bind(rows.clone())
            .fetch_one(&mut *connection)
            .await?;
        let mut found = unsigned(found);
        if found != terms.len() as u64 {
            if repair {
                found = terms.len() as u64;
                sqlx::query(ADD_TERMS)
                    .bind(arena)
                    .bind(rows)
                    .execute(&mut *connection)
                    .await?;
            }
            findings.add(SqliteCheckProblem::Index, key.to_string(), repair);
        }
        total += found;
    }
    Ok(total)
}

/// A value of the index.
struct IndexedValue {
    number: i64,
    kind: i64,
    facet: i64,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl IndexedValue {
    /// Whether the row with this id exists, and has the value.
    async fn is_of(
        &self,
        connection: &mut SqliteConnection,
        id: &str,
    ) -> Result<bool, sqlx::Error> {
        let data: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT data FROM entity WHERE kind = $1 AND id = $2")
                .bind(self.kind)
                .bind(id.to_owned())
                .fetch_optional(connection)
                .await?;
        let record = data.and_then(|data| unpack::<Record>(&data).ok());
        Ok(record.is_some_and(|record| {
            terms(&record.entity).iter().any(|term| {
                term.facet as i64 == self.facet
                    && term.name.as_bytes() == self.name
                    && term.value.as_bytes() == self.value
            })
        }))
    }
}

/// Finds entries of the index that no row has, page by page: an index may be larger than the memory.
/// The rows have `indexed` entries, so the search ends once it has found all others.
async fn superfluous(
    connection: &mut SqliteConnection,
    indexed: u64,
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<(), sqlx::Error> {
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM posting")
        .fetch_one(&mut *connection)
        .await?;
    let mut left = unsigned(entries).saturating_sub(indexed);
    let mut after = (-1_i64, -1_i64, Vec::<u8>::new(), Vec::<u8>::new());
    while left > 0 {
        let rows = sqlx::query(
            "SELECT num, kind, facet, name, value FROM term \
             WHERE (kind, facet, name, value) > ($1, $2, $3, $4) \
             ORDER BY kind, facet, name, value LIMIT $5",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(after.2.clone())
        .bind(after.3.clone())
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let value = IndexedValue {
                number: row.try_get(0)?,
                kind: row.try_get(1)?,
                facet: row.try_get(2)?,
                name: row.try_get(3)?,
                value: row.try_get(4)?,
            };
            left -= superfluous_of(connection, &value, left, repair, findings).await?;
            after = (value.kind, value.facet, value.name, value.value);
        }
    }
    Ok(())
}

/// Finds entries of one value that no row has, at most `most`. Returns how many.
async fn superfluous_of(
    connection: &mut SqliteConnection,
    value: &IndexedValue,
    most: u64,
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<u64, sqlx::Error> {
    let (mut after, mut found) = (String::new(), 0);
    while found < most {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM posting WHERE term = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(value.number)
        .bind(after.clone())
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        for id in ids {
            if value.is_of(connection, &id).await? {
                continue;
            }
            found += 1;
            if repair {
                sqlx::query("DELETE FROM posting WHERE term = $1 AND id = $2")
                    .bind(value.number)
                    .bind(id.clone())
                    .execute(&mut *connection)
                    .await?;
            }
            findings.add(SqliteCheckProblem::Index, id, repair);
            if found == most {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Compares idempotency keys with their index.
async fn holders(
    connection: &mut SqliteConnection,
    records: &[Record],
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<(), sqlx::Error> {
    for record in records {
        let Some(deployment) = record.entity.deployment() else {
            continue;
        };
        let Some(idempotency_key) = &deployment.idempotency_key else {
            continue;
        };
        let id = record.entity.key.id();
        let holder: Option<String> =
            sqlx::query_scalar("SELECT id FROM holder WHERE idempotency_key = $1")
                .bind(idempotency_key.as_bytes().to_vec())
                .fetch_optional(&mut *connection)
                .await?;
        if holder.as_deref() != Some(id) {
            if repair {
                sqlx::query("INSERT OR REPLACE INTO holder (idempotency_key, id) VALUES ($1, $2)")
                    .bind(idempotency_key.as_bytes().to_vec())
                    .bind(id.to_owned())
                    .execute(&mut *connection)
                    .await?;
            }
            findings.add(SqliteCheckProblem::IdempotencyKey, id.to_owned(), repair);
        }
    }
    Ok(())
}

/// Finds references to entities that do not exist.
async fn references(
    connection: &mut SqliteConnection,
    records: &[Record],
    findings: &mut SqliteFindings,
) -> Result<(), sqlx::Error> {
    let mut rows = RowList::default();
    let mut named = Vec::new();
    for record in records {
        let entity = &record.entity;
        let mut keys: Vec<Key> = entity.template().map(Key::from).into_iter().collect();
        if let Some(deployment) = entity.deployment() {
            keys.extend(deployment.parent.as_ref().map(Key::from));
            keys.extend(
                deployment
                    .site
                    .as_ref()
                    .map(|site: &SiteId| Key::from(site)),
            );
        }
        for key in keys {
            rows.row().number(key.kind() as i64).id(key.id()).end();
            named.push((entity.key.clone(), key));
        }
    }
    let missing: Vec<i64> = sqlx::query_scalar(
        "SELECT j.key FROM json_each($1) j WHERE NOT EXISTS \
         (SELECT 1 FROM entity e WHERE e.kind = j.value->>0 AND e.id = j.value->>1)",
    )
    .bind(rows.into_text())
    .fetch_all(connection)
    .await?;
    for at in missing {
        if let Some((key, target)) = usize::try_from(at).ok().and_then(|at| named.get(at)) {
            let example = format!("{key} names {target}");
            findings.add(SqliteCheckProblem::Dangling, example, false);
        }
    }
    Ok(())
}

/// Decodes every package, compares it with its hash, and counts its users.
async fn bodies(
    connection: &mut SqliteConnection,
    parts: &SqliteParts,
    mut uses: HashMap<ContentHash, i64>,
    repair: bool,
    findings: &mut SqliteFindings,
) -> Result<(), sqlx::Error> {
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows = sqlx::query(
            "SELECT hash, refs, dictionary, data FROM body WHERE hash > $1 ORDER BY hash LIMIT $2",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get(0)?;
        for row in &rows {
            findings.bodies += 1;
            let (hash, refs): (&[u8], i64) = (row.try_get(0)?, row.try_get(1)?);
            let Ok(hash) = hash.try_into().map(ContentHash) else {
                let example = format!("a hash of {} bytes", hash.len());
                findings.add(SqliteCheckProblem::Body, example, false);
                continue;
            };
            let number: Option<i64> = row.try_get(2)?;
            let dictionaries = &parts.file.dictionaries;
            let known = dictionaries
                .read(connection, BTreeSet::from_iter(number))
                .await?;
            let known = known.unwrap_or_default();
            let dictionary = number.and_then(|number| known.get(&number));
            let body = unpack_body(row.try_get(3)?, dictionary.map(AsRef::as_ref));
            if body.map_or(true, |body| body.hash() != hash) {
                findings.add(SqliteCheckProblem::Body, hash.to_string(), false);
            }
            let used = uses.remove(&hash).unwrap_or_default();
            if used != refs {
                if repair {
                    sqlx::query("UPDATE body SET refs = $1 WHERE hash = $2")
                        .bind(used)
                        .bind(hash.0.to_vec())
                        .execute(&mut *connection)
                        .await?;
                }
                findings.add(SqliteCheckProblem::Uses, hash.to_string(), repair);
            }
        }
    }
    for hash in uses.into_keys() {
        findings.add(
            SqliteCheckProblem::Body,
            format!("{hash} is missing"),
            false,
        );
    }
    Ok(())
}
