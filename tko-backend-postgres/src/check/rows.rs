//! Checks entities: their packages, their metadata, and their references.

use super::checker::{Checker, PAGE, decode};
use super::report::{CheckProblem, CheckReport};
use crate::body::{BodyRow, PackedBody, SELECT_BODIES};
use crate::codes::{key_arrays, key_of, kind_number, signed};
use crate::entity::entities;
use crate::facet::difference;
use crate::row::COLUMNS;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tko_core::{Ack, ChangeSet, Entity, Error, Facts, Key, Put, Require, Result};

/// Checks all entities.
pub(super) async fn check(checker: &Checker<'_>, report: &mut CheckReport) -> Result<()> {
    let mut after = (-1_i16, String::new());
    loop {
        let mut snapshot = checker.snapshot().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM entity e WHERE (e.kind, e.id) > ($1, $2) \
             ORDER BY e.kind, e.id LIMIT $3"
        );
        let statement = sqlx::query(AssertSqlSafe(sql))
            .bind(after.0)
            .bind(&after.1)
            .bind(PAGE)
            .fetch_all(&mut *snapshot);
        let found = checker.read("read rows", statement).await?;
        let rows = decode(&found)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = (last.kind, last.id.to_string());
        report.entities += rows.len() as u64;
        let body_keys: Vec<i64> = rows.iter().map(|row| row.body_at).collect();
        let entities = entities(&checker.content.skeletons, rows).await?;
        let bodies = bodies(checker, &mut snapshot, &body_keys).await?;
        let unindexed = unindexed(checker, &mut snapshot, &entities).await?;
        let existing = existing(checker, &mut snapshot, &entities).await?;
        checker.end(snapshot).await?;
        for (entity, at) in entities.iter().zip(body_keys) {
            if at != 0 {
                check_body(checker, report, entity, bodies.get(&at)).await?;
            }
        }
        for (entity, name, value) in unindexed {
            let repaired = checker.repair && index(checker, entity, &name, &value).await?;
            let example = format!("{} is not indexed by {name}={value}", entity.key);
            report.add(CheckProblem::Index, example, repaired);
        }
        for entity in &entities {
            for target in references(entity).filter(|key| !existing.contains(key)) {
                let repaired = checker.repair && clear(checker, entity, &target).await?;
                let example = format!("{} refers to {target}", entity.key);
                report.add(CheckProblem::Dangling, example, repaired);
            }
        }
    }
}

async fn check_body(
    checker: &Checker<'_>,
    report: &mut CheckReport,
    entity: &Entity,
    packed: Option<&PackedBody>,
) -> Result<()> {
    report.bodies += 1;
    let key = &entity.key;
    let example = match packed {
        None => format!("{key}: missing"),
        Some(packed) => match checker.content.bodies.decode(packed).await {
            Ok(package) if package.hash() == entity.body => return Ok(()),
            Ok(_) => format!("{key}: does not match its hash"),
            Err(error @ Error::Unavailable { .. }) => return Err(error),
            Err(error) => format!("{key}: {}", error.chain()),
        },
    };
    report.add(CheckProblem::Body, example, false);
    Ok(())
}

/// Adds a pair to the index, if the entity still has the version that was read.
async fn index(checker: &Checker<'_>, entity: &Entity, name: &str, value: &str) -> Result<bool> {
    let statement = sqlx::query(
        "WITH e AS (SELECT kind, id FROM entity WHERE kind = $1 AND id = $2 AND version = $3 FOR UPDATE) \
         INSERT INTO facet (kind, key, value, id) SELECT e.kind, $4, $5, e.id FROM e \
         ON CONFLICT DO NOTHING",
    )
    .bind(kind_number(entity.key.kind()))
    .bind(entity.key.id())
    .bind(signed(entity.version.0))
    .bind(name)
    .bind(value)
    .execute(&checker.database.pool);
    checker.fix("repair the index of metadata", statement).await
}

/// Clears a reference by an ordinary change. Returns false if the entity changed meanwhile.
async fn clear(checker: &Checker<'_>, entity: &Entity, target: &Key) -> Result<bool> {
    let mut put = Put::of(entity);
    match (&mut put.facts, target) {
        (Facts::Site { template, .. }, Key::Template(_)) => *template = None,
        (Facts::Deployment(d), Key::Template(_)) => d.template = None,
        (Facts::Deployment(d), Key::Deployment(_)) => d.parent = None,
        (Facts::Deployment(d), Key::Site(id)) => {
            if d.site.as_ref() == Some(id) {
                d.site = None;
            }
            if d.placed.as_ref().is_some_and(|(at, _)| at == id) {
                d.placed = None;
            }
        }
        _ => return Ok(false),
    }
    let set = ChangeSet::new()
        .require(Require::At(entity.key.clone(), entity.version))
        .put(put)
        .cause("backend check");
    match checker.committer.commit(set, Ack::Durable).await {
        Ok(_) => Ok(true),
        Err(Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The keys to which an entity refers.
fn references(entity: &Entity) -> impl Iterator<Item = Key> {
    let deployment = entity.deployment();
    let site = deployment.and_then(|d| d.site.as_ref()).map(Key::from);
    let place = deployment
        .and_then(|d| d.placed.as_ref())
        .map(|(at, _)| Key::from(at))
        .filter(|place| Some(place) != site.as_ref());
    let parent = deployment.and_then(|d| d.parent.as_ref()).map(Key::from);
    let template = entity.template().map(Key::from);
    [template, site, parent, place].into_iter().flatten()
}

/// Returns the keys to which these entities refer, and that exist.
async fn existing(
    checker: &Checker<'_>,
    snapshot: &mut PgConnection,
    entities: &[Arc<Entity>],
) -> Result<BTreeSet<Key>> {
    let keys: BTreeSet<Key> = entities.iter().flat_map(|e| references(e)).collect();
    let (kinds, ids) = key_arrays(&keys);
    let statement = sqlx::query_as(
        "SELECT e.kind, e.id FROM unnest($1::smallint[], $2::text[]) k(kind, id) \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id",
    )
    .bind(kinds)
    .bind(ids)
    .fetch_all(snapshot);
    let found: Vec<(i16, String)> = checker.read("look up references", statement).await?;
    found.iter().map(|(kind, id)| key_of(*kind, id)).collect()
}

/// Returns the pairs of metadata that are missing from the index.
async fn unindexed<'e>(
    checker: &Checker<'_>,
    snapshot: &mut PgConnection,
    entities: &'e [Arc<Entity>],
) -> Result<Vec<(&'e Entity, String, String)>> {
    let (mut of, mut kinds, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for entity in entities {
        for (name, value) in difference(None, Some(&entity.metadata)).0 {
            of.push(&**entity);
            kinds.push(kind_number(entity.key.kind()));
            ids.push(entity.key.id().to_owned());
            names.push(name);
            values.push(value);
        }
    }
    let statement = sqlx::query_scalar(
        "SELECT w.at FROM unnest($1::smallint[], $2::text[], $3::text[], $4::text[]) \
         WITH ORDINALITY w(kind, id, key, value, at) \
         WHERE NOT EXISTS (SELECT 1 FROM facet f WHERE f.kind = w.kind AND f.key = w.key \
         AND f.value = w.value AND f.id = w.id)",
    )
    .bind(kinds)
    .bind(ids)
    .bind(&names)
    .bind(&values)
    .fetch_all(snapshot);
    let missing: Vec<i64> = checker.read("look up metadata", statement).await?;
    Ok(missing
        .into_iter()
        .filter_map(|at| usize::try_from(at - 1).ok())
        .map(|at| (of[at], names[at].clone(), values[at].clone()))
        .collect())
}

async fn bodies(
    checker: &Checker<'_>,
    snapshot: &mut PgConnection,
    keys: &[i64],
) -> Result<HashMap<i64, PackedBody>> {
    let statement = sqlx::query_as(SELECT_BODIES).bind(keys).fetch_all(snapshot);
    let found: Vec<BodyRow> = checker.read("read packages", statement).await?;
    Ok(found.into_iter().map(BodyRow::packed).collect())
}
