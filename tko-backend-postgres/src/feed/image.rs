//! Changes as they are told: with the state before and after.
//!
//! A change keeps only what its entity was before. What it became is what the next change of that
//! entity found, numbered or not; or, if there is none, the row as it is. All of it is read in one
//! snapshot.

use crate::body::Packed;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::record::entities;
use crate::row::{Row, key, number, signed};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tko_core::select::MAX_PAGE;
use tko_core::{
    ChangeRecord, ContentHash, Entity, Error, Key, Package, Record, Result, Revision, Timestamp,
};

/// How a change is read, of `v` in `event`, among those that `{which}` says.
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

/// One row of it.
#[derive(FromRow)]
struct Told {
    head: i64,
    oldest: i64,
    /// `None`: no change at all.
    revision: Option<i64>,
    set_revision: Option<i64>,
    at: Option<i64>,
    kind: Option<i16>,
    id: Option<String>,
    cause: Option<String>,
    before: Option<Json<Row<'static>>>,
    after: Option<Json<Row<'static>>>,
    revision_before: Option<i64>,
}

/// The next changes after this one, in order; none: it is the last.
///
/// # Errors
/// `Expired`: they are not kept any more, or this store never got so far.
pub(super) async fn after(
    shared: &Shared,
    after: Revision,
    package: bool,
) -> Result<Vec<ChangeRecord>> {
    let which = "v.revision > $1 ORDER BY v.revision LIMIT $2";
    let told: Vec<Told> = sqlx::query_as(AssertSqlSafe(CHANGES.replace("{which}", which)))
        .bind(signed(after.0))
        .bind(i64::try_from(MAX_PAGE).unwrap_or(i64::MAX))
        .fetch_all(&shared.pool)
        .sent(&shared.measures, Purpose::Tail)
        .await?;
    if let Some(first) = told.first()
        && (signed(after.0) < first.oldest || signed(after.0) > first.head)
    {
        return Err(Error::Expired {
            oldest: Revision(first.oldest.unsigned_abs()),
        });
    }
    records(shared, told, package).await
}

/// Changes of one entity before a revision, newest first, with bodies.
pub(super) async fn of_key(
    shared: &Shared,
    key: &Key,
    before: Option<Revision>,
    limit: usize,
) -> Result<Vec<ChangeRecord>> {
    let which = "v.kind = $1 AND v.id = $2 AND v.revision < $3 \
         AND v.revision > (SELECT o.oldest FROM head o) ORDER BY v.revision DESC LIMIT $4";
    let told: Vec<Told> = sqlx::query_as(AssertSqlSafe(CHANGES.replace("{which}", which)))
        .bind(number(key.kind()))
        .bind(key.id())
        .bind(before.map_or(i64::MAX, |before| signed(before.0)))
        .bind(i64::try_from(limit.min(MAX_PAGE)).unwrap_or(i64::MAX))
        .fetch_all(&shared.pool)
        .sent(&shared.measures, Purpose::History)
        .await?;
    let mut records = records(shared, told, true).await?;
    records.reverse();
    Ok(records)
}

async fn records(shared: &Shared, told: Vec<Told>, package: bool) -> Result<Vec<ChangeRecord>> {
    let oldest = told.first().map_or(0, |first| first.oldest);
    let mut rows = Vec::new();
    let mut changes = Vec::with_capacity(told.len());
    for told in told {
        let (Some(revision), Some(set), Some(at), Some(kind), Some(id)) = (
            told.revision,
            told.set_revision,
            told.at,
            told.kind,
            told.id,
        ) else {
            continue;
        };
        let mut keep = |row: Option<Json<Row<'static>>>, revision: Option<i64>| {
            row.map(|Json(row)| {
                let body_at = row.body_at;
                rows.push(row);
                (rows.len() - 1, body_at, revision)
            })
        };
        let before = keep(told.before, told.revision_before);
        let after = keep(told.after, Some(revision));
        changes.push((
            revision,
            set,
            at,
            key(kind, &id)?,
            before,
            after,
            told.cause,
        ));
    }
    let rows = entities(shared, rows).await?;
    let bodies = if package {
        let at = |place: &Option<(usize, i64, Option<i64>)>| place.map(|(_, at, _)| at);
        let wanted = changes
            .iter()
            .flat_map(|(.., before, after, _)| [at(before), at(after)])
            .flatten()
            .filter(|at| *at != 0)
            .collect();
        Some(stored(shared, wanted).await?)
    } else {
        None
    };
    let mut records = Vec::with_capacity(changes.len());
    for (revision, set, at, key, before, after, cause) in changes {
        let mut states = Vec::with_capacity(2);
        for place in [before, after] {
            let Some((at, body_at, revision)) = place else {
                states.push(None);
                continue;
            };
            let entity = &rows[at];
            let package = match &bodies {
                Some(bodies) => Some(body(shared, bodies, entity, body_at).await?.ok_or(
                    Error::Expired {
                        oldest: Revision(oldest.unsigned_abs()),
                    },
                )?),
                None => None,
            };
            states.push(Some(Record {
                entity: entity.clone(),
                package,
                revision: revision.map(|revision| Revision(revision.unsigned_abs())),
                work: Vec::new(),
            }));
        }
        let after = states.pop().flatten();
        records.push(ChangeRecord {
            revision: Revision(revision.unsigned_abs()),
            set: Revision(set.unsigned_abs()),
            at: Timestamp(at),
            key,
            before: states.pop().flatten(),
            after,
            cause: cause.map(Into::into),
        });
    }
    Ok(records)
}

/// A package; `None`: it went meanwhile, with the history that it was part of.
async fn body(
    shared: &Shared,
    bodies: &HashMap<i64, Packed>,
    entity: &Arc<Entity>,
    at: i64,
) -> Result<Option<Package>> {
    let hash: ContentHash = entity.body;
    match bodies.get(&at) {
        _ if at == 0 => Ok(Some(Package::default())),
        Some(packed) => shared.bodies.unpack(shared, hash, packed).await.map(Some),
        None => Ok(None),
    }
}

async fn stored(shared: &Shared, wanted: BTreeSet<i64>) -> Result<HashMap<i64, Packed>> {
    let wanted: Vec<i64> = wanted.into_iter().collect();
    let found: Vec<(i64, i16, Option<i32>, Vec<u8>)> =
        sqlx::query_as("SELECT at, codec, dictionary, data FROM body WHERE at = ANY($1)")
            .bind(wanted)
            .fetch_all(&shared.pool)
            .sent(&shared.measures, Purpose::ReadBodies)
            .await?;
    Ok(found
        .into_iter()
        .map(|(at, codec, dictionary, data)| {
            let packed = Packed {
                codec,
                dictionary,
                data,
            };
            (at, packed)
        })
        .collect())
}
