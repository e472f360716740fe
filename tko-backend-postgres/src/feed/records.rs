//! Change records: changes with the states before and after them.
//!
//! A change stores only the row before it. The row after it is the row before the next change of the
//! same entity, numbered or not, or else the current row. One snapshot reads all of them.

use crate::body::{BodyRow, PackedBody, SELECT_BODIES};
use crate::codes::{count, key_of, kind_number, signed};
use crate::content::Content;
use crate::database::Database;
use crate::entity::entities;
use crate::metrics::{Instrument, Purpose};
use crate::row::EntityRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use std::collections::{BTreeSet, HashMap};
use tko_core::feed::MAX_READ_WITH_PACKAGES;
use tko_core::select::MAX_PAGE;
use tko_core::{ChangeRecord, Entity, Error, Key, Package, Record, Result, Revision, Timestamp};

/// Reads changes `v` of the table `event` that match the filter `{which}`.
const CHANGES: &str = "SELECT h.revision AS head, h.oldest, x.* FROM head h LEFT JOIN ( \
         SELECT v.revision, v.set_revision, v.at, v.kind, v.id, v.gone, v.cause, v.before, \
         (SELECT max(o.revision) FROM event o WHERE o.kind = v.kind AND o.id = v.id \
          AND o.revision < v.revision) AS revision_before, \
         CASE WHEN v.gone THEN NULL ELSE coalesce( \
             (SELECT n.before FROM event n WHERE n.kind = v.kind AND n.id = v.id \
              AND n.revision > v.revision ORDER BY n.revision LIMIT 1), \
             (SELECT p.before FROM pending p WHERE p.kind = v.kind AND p.id = v.id \
              ORDER BY p.change_set, p.ordinal LIMIT 1), \
             (SELECT row_to_json(e) FROM entity e WHERE e.kind = v.kind AND e.id = v.id)) END AS after \
         FROM event v WHERE {which}) x ON true ORDER BY x.revision";

/// A row of [`CHANGES`].
#[derive(FromRow)]
struct ChangeRow {
    head: i64,
    oldest: i64,
    /// `None`: there is no change, only the head.
    revision: Option<i64>,
    set_revision: Option<i64>,
    at: Option<i64>,
    kind: Option<i16>,
    id: Option<String>,
    cause: Option<String>,
    before: Option<Json<EntityRow<'static>>>,
    after: Option<Json<EntityRow<'static>>>,
    revision_before: Option<i64>,
}

/// Reads the next changes after a revision, in order; none if it is the last one.
///
/// # Errors
/// `Expired`: the changes were deleted, or the revision does not exist.
pub(super) async fn after(
    database: &Database,
    content: &Content,
    after: Revision,
    package: bool,
) -> Result<Vec<ChangeRecord>> {
    let which = "v.revision > $1 ORDER BY v.revision LIMIT $2";
    let most = if package {
        MAX_READ_WITH_PACKAGES
    } else {
        MAX_PAGE
    };
    let rows: Vec<ChangeRow> = sqlx::query_as(AssertSqlSafe(CHANGES.replace("{which}", which)))
        .bind(signed(after.0))
        .bind(count(most))
        .fetch_all(&database.pool)
        .sent(&database.metrics, Purpose::Tail)
        .await?;
    if let Some(first) = rows.first()
        && (signed(after.0) < first.oldest || signed(after.0) > first.head)
    {
        return Err(Error::Expired {
            oldest: Revision(first.oldest.unsigned_abs()),
        });
    }
    records(database, content, rows, package).await
}

/// Reads changes of one entity before a revision, newest first, with packages.
pub(super) async fn of_key(
    database: &Database,
    content: &Content,
    key: &Key,
    before: Option<Revision>,
    limit: usize,
) -> Result<Vec<ChangeRecord>> {
    let which = "v.kind = $1 AND v.id = $2 AND v.revision < $3 \
         AND v.revision > (SELECT o.oldest FROM head o) ORDER BY v.revision DESC LIMIT $4";
    let rows: Vec<ChangeRow> = sqlx::query_as(AssertSqlSafe(CHANGES.replace("{which}", which)))
        .bind(kind_number(key.kind()))
        .bind(key.id())
        .bind(before.map_or(i64::MAX, |before| signed(before.0)))
        .bind(count(limit.min(MAX_PAGE)))
        .fetch_all(&database.pool)
        .sent(&database.metrics, Purpose::History)
        .await?;
    let mut records = records(database, content, rows, true).await?;
    records.reverse();
    Ok(records)
}

/// One state of an entity in a change.
#[derive(Clone, Copy)]
struct StateRef {
    /// The position of its row.
    row: usize,
    body_at: i64,
    revision: Option<i64>,
}

/// A change whose rows are still to be decoded.
struct StoredChange {
    revision: i64,
    set: i64,
    at: i64,
    key: Key,
    before: Option<StateRef>,
    after: Option<StateRef>,
    cause: Option<String>,
}

async fn records(
    database: &Database,
    content: &Content,
    found: Vec<ChangeRow>,
    package: bool,
) -> Result<Vec<ChangeRecord>> {
    let oldest = found.first().map_or(0, |first| first.oldest);
    let (changes, rows) = states(found)?;
    let entities = entities(&content.skeletons, rows).await?;
    let bodies = if package {
        let states = changes.iter().flat_map(|c| [c.before, c.after]).flatten();
        let wanted = states.map(|state| state.body_at).filter(|at| *at != 0);
        Some(bodies(database, wanted.collect()).await?)
    } else {
        None
    };
    let mut records = Vec::with_capacity(changes.len());
    for change in changes {
        let mut states = [None, None];
        for (record, state) in states.iter_mut().zip([change.before, change.after]) {
            let Some(state) = state else { continue };
            let entity = &entities[state.row];
            let package = match &bodies {
                None => None,
                Some(bodies) => {
                    let found = package_of(content, bodies, entity, state.body_at).await?;
                    // Retention deleted the body since the row was read.
                    let oldest = Revision(oldest.unsigned_abs());
                    Some(found.ok_or(Error::Expired { oldest })?)
                }
            };
            *record = Some(
                Record::new(entity.clone())
                    .package(package)
                    .revision(state.revision.map(|number| Revision(number.unsigned_abs()))),
            );
        }
        let [before, after] = states;
        records.push(
            ChangeRecord::new(
                Revision(change.revision.unsigned_abs()),
                Revision(change.set.unsigned_abs()),
                Timestamp(change.at),
                change.key,
            )
            .before(before)
            .after(after)
            .cause(change.cause.map(Into::into)),
        );
    }
    Ok(records)
}

/// Separates the rows of all states from their changes.
fn states(found: Vec<ChangeRow>) -> Result<(Vec<StoredChange>, Vec<EntityRow<'static>>)> {
    let mut rows = Vec::new();
    let mut changes = Vec::with_capacity(found.len());
    for change in found {
        let (Some(revision), Some(set), Some(at), Some(kind), Some(id)) = (
            change.revision,
            change.set_revision,
            change.at,
            change.kind,
            change.id,
        ) else {
            continue;
        };
        let mut keep = |row: Option<Json<EntityRow<'static>>>, revision: Option<i64>| {
            let Json(row) = row?;
            let state = StateRef {
                row: rows.len(),
                body_at: row.body_at,
                revision,
            };
            rows.push(row);
            Some(state)
        };
        changes.push(StoredChange {
            before: keep(change.before, change.revision_before),
            after: keep(change.after, Some(revision)),
            revision,
            set,
            at,
            key: key_of(kind, &id)?,
            cause: change.cause,
        });
    }
    Ok((changes, rows))
}

/// Returns the package of a state; `None` if its body does not exist.
async fn package_of(
    content: &Content,
    bodies: &HashMap<i64, PackedBody>,
    entity: &Entity,
    body_at: i64,
) -> Result<Option<Package>> {
    if body_at == 0 {
        return Ok(Some(Package::default()));
    }
    match bodies.get(&body_at) {
        Some(packed) => content.bodies.unpack(entity.body, packed).await.map(Some),
        None => Ok(None),
    }
}

async fn bodies(database: &Database, wanted: BTreeSet<i64>) -> Result<HashMap<i64, PackedBody>> {
    let wanted: Vec<i64> = wanted.into_iter().collect();
    let found: Vec<BodyRow> = sqlx::query_as(SELECT_BODIES)
        .bind(wanted)
        .fetch_all(&database.pool)
        .sent(&database.metrics, Purpose::ReadBodies)
        .await?;
    Ok(found.into_iter().map(BodyRow::packed).collect())
}
