//! Rows, and what hangs on them: relations, metadata, bodies.

use super::{Check, PAGE, Problem, Report, SNAPSHOT};
use crate::body::Packed;
use crate::columns::Columns;
use crate::facet::difference;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::record::entities;
use crate::row::{COLUMNS, Row, key, number, signed};
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tko_core::{Ack, Change, ChangeSet, Entity, Error, Facts, Key, Put, Require, Result};

/// A body as it is stored: where, codec, dictionary, data.
type Stored = (i64, i16, Option<i32>, Vec<u8>);

impl Check<'_> {
    /// Walks all rows.
    pub(super) async fn rows(&self, report: &mut Report) -> Result<()> {
        let mut after = (-1_i16, String::new());
        loop {
            let mut snapshot = self
                .shared
                .pool
                .begin_with(SNAPSHOT)
                .sent(&self.shared.measures, Purpose::Begin)
                .await?;
            let sql = format!(
                "SELECT {COLUMNS} FROM entity e WHERE (e.kind, e.id) > ($1, $2) \
                 ORDER BY e.kind, e.id LIMIT $3"
            );
            let found = sqlx::query(AssertSqlSafe(sql))
                .bind(after.0)
                .bind(&after.1)
                .bind(PAGE)
                .fetch_all(&mut *snapshot)
                .measured(&self.shared.measures, Purpose::Check)
                .await
                .map_err(fault("read rows"))?;
            let rows = found
                .iter()
                .map(|row| Row::read(&mut Columns::of(row, 0)))
                .collect::<Result<Vec<_>, _>>();
            let rows = rows.map_err(fault("decode rows"))?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (last.kind, last.id.to_string());
            report.entities += rows.len() as u64;
            let bodies: Vec<i64> = rows.iter().map(|row| row.body_at).collect();
            let entities = entities(self.shared, rows).await?;
            let stored = stored(self.shared, &mut snapshot, &bodies).await?;
            let missing = unindexed(self.shared, &mut snapshot, &entities).await?;
            let there = there(self.shared, &mut snapshot, &entities).await?;
            let ended = snapshot.commit();
            ended.sent(&self.shared.measures, Purpose::End).await?;
            for (entity, at) in entities.iter().zip(bodies) {
                self.body(report, entity, stored.get(&at), at).await?;
            }
            for (entity, name, value) in missing {
                let repaired = self.repair && self.index(entity, &name, &value).await?;
                let example = format!("{} is not found by {name}={value}", entity.key);
                report.add(Problem::Index, example, repaired);
            }
            for entity in &entities {
                for named in named(entity).filter(|key| !there.contains(key)) {
                    let repaired = self.repair && self.clear(entity, &named).await?;
                    let example = format!("{} names {named}", entity.key);
                    report.add(Problem::Dangling, example, repaired);
                }
            }
        }
    }

    async fn body(
        &self,
        report: &mut Report,
        entity: &Entity,
        stored: Option<&Stored>,
        at: i64,
    ) -> Result<()> {
        if at == 0 {
            return Ok(());
        }
        report.bodies += 1;
        let Some((_, codec, dictionary, data)) = stored else {
            report.add(Problem::Body, format!("{} has none", entity.key), false);
            return Ok(());
        };
        let packed = Packed {
            codec: *codec,
            dictionary: *dictionary,
            data: data.clone(),
        };
        match self.shared.bodies.decode(self.shared, &packed).await {
            Ok(package) if package.hash() == entity.body => {}
            Ok(_) => {
                let example = format!("that of {} is not what its hash says", entity.key);
                report.add(Problem::Body, example, false);
            }
            Err(error @ Error::Unavailable { .. }) => return Err(error),
            Err(error) => {
                let example = format!("that of {}: {}", entity.key, error.chain());
                report.add(Problem::Body, example, false);
            }
        }
        Ok(())
    }

    /// Adds to the index what a row says, if it still says so.
    async fn index(&self, entity: &Entity, name: &str, value: &str) -> Result<bool> {
        let done = sqlx::query(
            "WITH e AS (SELECT kind, id FROM entity WHERE kind = $1 AND id = $2 AND version = $3 FOR UPDATE) \
             INSERT INTO facet (kind, key, value, id) SELECT e.kind, $4, $5, e.id FROM e \
             ON CONFLICT DO NOTHING",
        )
        .bind(number(entity.key.kind()))
        .bind(entity.key.id())
        .bind(signed(entity.version.0))
        .bind(name)
        .bind(value)
        .execute(&self.shared.pool)
        .measured(&self.shared.measures, Purpose::Repair)
        .await
        .map_err(fault("index metadata"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Clears a relation, as a change like any other. False: somebody came before.
    async fn clear(&self, entity: &Entity, named: &Key) -> Result<bool> {
        let mut put = Put::of(entity);
        match (&mut put.facts, named) {
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
        let set = ChangeSet {
            require: vec![Require::At(entity.key.clone(), entity.version)],
            changes: vec![Change::Put(put)],
            cause: Some("backend check".into()),
            ..ChangeSet::default()
        };
        match crate::commit::commit(self.shared, set, Ack::Durable).await {
            Ok(_) => Ok(true),
            Err(Error::Conflict(_) | Error::NotFound(_) | Error::Busy(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What an entity names.
fn named(entity: &Entity) -> impl Iterator<Item = Key> {
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

/// What of all that these name is there.
async fn there(
    shared: &Shared,
    snapshot: &mut PgConnection,
    entities: &[Arc<Entity>],
) -> Result<BTreeSet<Key>> {
    let keys: BTreeSet<Key> = entities.iter().flat_map(|entity| named(entity)).collect();
    let (kinds, ids): (Vec<i16>, Vec<String>) = keys
        .iter()
        .map(|key| (number(key.kind()), key.id().to_owned()))
        .unzip();
    let found: Vec<(i16, String)> = sqlx::query_as(
        "SELECT e.kind, e.id FROM unnest($1::smallint[], $2::text[]) k(kind, id) \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id",
    )
    .bind(kinds)
    .bind(ids)
    .fetch_all(snapshot)
    .measured(&shared.measures, Purpose::Check)
    .await
    .map_err(fault("look for what is named"))?;
    found.iter().map(|(kind, id)| key(*kind, id)).collect()
}

/// Metadata of these that the index has not.
async fn unindexed<'e>(
    shared: &Shared,
    snapshot: &mut PgConnection,
    entities: &'e [Arc<Entity>],
) -> Result<Vec<(&'e Entity, String, String)>> {
    let (mut of, mut kinds, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for entity in entities {
        for (name, value) in difference(None, Some(&entity.metadata)).0 {
            of.push(&**entity);
            kinds.push(number(entity.key.kind()));
            ids.push(entity.key.id().to_owned());
            names.push(name);
            values.push(value);
        }
    }
    let missing: Vec<i64> = sqlx::query_scalar(
        "SELECT w.at FROM unnest($1::smallint[], $2::text[], $3::text[], $4::text[]) \
         WITH ORDINALITY w(kind, id, key, value, at) \
         WHERE NOT EXISTS (SELECT 1 FROM facet f WHERE f.kind = w.kind AND f.key = w.key \
         AND f.value = w.value AND f.id = w.id)",
    )
    .bind(kinds)
    .bind(ids)
    .bind(&names)
    .bind(&values)
    .fetch_all(snapshot)
    .measured(&shared.measures, Purpose::Check)
    .await
    .map_err(fault("look metadata up"))?;
    Ok(missing
        .into_iter()
        .filter_map(|at| usize::try_from(at - 1).ok())
        .map(|at| (of[at], names[at].clone(), values[at].clone()))
        .collect())
}

async fn stored(
    shared: &Shared,
    snapshot: &mut PgConnection,
    at: &[i64],
) -> Result<HashMap<i64, Stored>> {
    let found: Vec<Stored> =
        sqlx::query_as("SELECT at, codec, dictionary, data FROM body WHERE at = ANY($1)")
            .bind(at)
            .fetch_all(snapshot)
            .measured(&shared.measures, Purpose::Check)
            .await
            .map_err(fault("read bodies"))?;
    Ok(found.into_iter().map(|body| (body.0, body)).collect())
}
