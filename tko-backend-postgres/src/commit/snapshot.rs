//! What a change set is judged by, as it is now.

use crate::columns::Columns;
use crate::fault::fault;
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::record::entities;
use crate::row::{COLUMNS, Row, key, number, once_hash};
use crate::work::{Secret, secret, stage_of};
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tko_core::{
    Change, ChangeSet, DeploymentId, Entity, Facts, Key, Require, Result, Stage, Timestamp, Token,
};
use uuid::Uuid;

/// A row, and what is not part of the entity.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) entity: Arc<Entity>,
    pub(crate) body_at: i64,
    pub(crate) edit: Option<(Uuid, Timestamp)>,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// An open edit.
    Modification(Uuid),
    /// A live lease.
    Lease(Stage, Uuid),
    /// An edit that was not used in time, or a dead lease.
    Lapsed,
    /// An edit that was never made, used, or given up.
    Unknown,
}

/// All that is looked at.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) now: Timestamp,
    pub(crate) rows: HashMap<Key, Found>,
    /// Who has which `once` key, of those that are put.
    pub(crate) once: HashMap<Arc<str>, DeploymentId>,
    /// What is named by something that the set does not change.
    pub(crate) referenced: HashSet<Key>,
    pub(crate) right: Option<Right>,
}

/// Of `k`, whether something that is not among `$changed` names it as template, site, parent or
/// place.
pub(crate) fn is_referenced(kinds: &str, ids: &str) -> String {
    let unchanged = format!(
        "NOT EXISTS (SELECT 1 FROM unnest({kinds}::smallint[], {ids}::text[]) c(kind, id) WHERE c.kind = e.kind AND c.id = e.id)"
    );
    format!(
        "(k.kind = 0 AND EXISTS (SELECT 1 FROM entity e WHERE e.kind IN (1, 2) AND e.template = k.id AND {unchanged}) \
         OR k.kind = 1 AND EXISTS (SELECT 1 FROM entity e WHERE e.site = k.id AND {unchanged}) \
         OR k.kind = 1 AND EXISTS (SELECT 1 FROM entity e WHERE e.place = k.id AND (e.site IS NULL OR e.place <> e.site) AND {unchanged}) \
         OR k.kind = 2 AND EXISTS (SELECT 1 FROM entity e WHERE e.parent = k.id AND {unchanged}))"
    )
}

/// Kinds and ids, as arrays.
pub(crate) fn arrays<'a>(keys: impl IntoIterator<Item = &'a Key>) -> (Vec<i16>, Vec<String>) {
    keys.into_iter()
        .map(|key| (number(key.kind()), key.id().to_owned()))
        .unzip()
}

impl Snapshot {
    /// Reads all that the set changes, requires, or could run into.
    pub(crate) async fn read(shared: &Shared, set: &ChangeSet) -> Result<Self> {
        let keys: BTreeSet<&Key> = set
            .changes
            .iter()
            .map(Change::key)
            .chain(set.require.iter().map(Require::key))
            .chain(set.under.as_ref().map(|token| &token.key))
            .collect();
        let mut snapshot = rows(shared, &keys).await?;
        snapshot.once = holders(shared, set).await?;
        snapshot.referenced = referenced(shared, set).await?;
        if let Some(token) = &set.under {
            snapshot.right = Some(snapshot.right(shared, token).await?);
        }
        Ok(snapshot)
    }

    async fn right(&self, shared: &Shared, token: &Token) -> Result<Right> {
        match secret(token) {
            Secret::Unknown => Ok(Right::Unknown),
            Secret::Lease(lease) => {
                let stage: Option<i16> = sqlx::query_scalar(
                    "SELECT stage FROM work WHERE stage IN (0, 1, 2) AND kind = $1 AND id = $2 \
                     AND token = $3 AND until > now_us()",
                )
                .bind(number(token.key.kind()))
                .bind(token.key.id())
                .bind(lease)
                .fetch_optional(&shared.pool)
                .sent(&shared.measures, Purpose::FindLease)
                .await?;
                Ok(match stage {
                    Some(stage) => Right::Lease(stage_of(stage)?, lease),
                    None => Right::Lapsed,
                })
            }
            Secret::Modification(edit) => {
                let held = self.rows.get(&token.key).and_then(|found| found.edit);
                if let Some((holder, until)) = held
                    && holder == edit
                {
                    return Ok(if until > self.now {
                        Right::Modification(edit)
                    } else {
                        Right::Lapsed
                    });
                }
                let lapsed: bool = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM edit WHERE token = $1 AND until <= now_us())",
                )
                .bind(edit)
                .fetch_one(&shared.pool)
                .sent(&shared.measures, Purpose::FindEdit)
                .await?;
                Ok(if lapsed {
                    Right::Lapsed
                } else {
                    Right::Unknown
                })
            }
        }
    }
}

async fn rows(shared: &Shared, keys: &BTreeSet<&Key>) -> Result<Snapshot> {
    let (kinds, ids) = arrays(keys.iter().copied());
    let sql = format!(
        "SELECT now_us() AS now, {COLUMNS}, e.edit, e.edit_until \
         FROM (SELECT 1) one LEFT JOIN (unnest($1::smallint[], $2::text[]) k(kind, id) \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id) ON true"
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .fetch_all(&shared.pool)
        .sent(&shared.measures, Purpose::ReadChanged)
        .await?;
    let broken = fault("decode what is to be changed");
    let mut now = Timestamp::default();
    let (mut read, mut beside) = (Vec::new(), Vec::new());
    for row in &found {
        now = Timestamp(row.try_get(0).map_err(&broken)?);
        let kind: Option<i16> = row.try_get("kind").map_err(&broken)?;
        if kind.is_none() {
            continue;
        }
        let edit: Option<Uuid> = row.try_get("edit").map_err(&broken)?;
        let until: Option<i64> = row.try_get("edit_until").map_err(&broken)?;
        let columns = Row::read(&mut Columns::of(row, 1)).map_err(&broken)?;
        beside.push((columns.body_at, edit.zip(until.map(Timestamp))));
        read.push(columns);
    }
    let entities = entities(shared, read).await?;
    let rows = entities
        .into_iter()
        .zip(beside)
        .map(|(entity, (body_at, edit))| {
            let found = Found {
                entity,
                body_at,
                edit,
            };
            (found.entity.key.clone(), found)
        })
        .collect();
    Ok(Snapshot {
        now,
        rows,
        once: HashMap::new(),
        referenced: HashSet::new(),
        right: None,
    })
}

async fn holders(shared: &Shared, set: &ChangeSet) -> Result<HashMap<Arc<str>, DeploymentId>> {
    let wanted: HashMap<Vec<u8>, Arc<str>> = set
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Put(put) => match &put.facts {
                Facts::Deployment(deployment) => deployment.idempotency_key.clone(),
                _ => None,
            },
            _ => None,
        })
        .map(|once| (once_hash(&once), once))
        .collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes: Vec<&Vec<u8>> = wanted.keys().collect();
    let found: Vec<(Vec<u8>, String)> =
        sqlx::query_as("SELECT once, id FROM entity WHERE once = ANY($1)")
            .bind(&hashes)
            .fetch_all(&shared.pool)
            .sent(&shared.measures, Purpose::FindOnce)
            .await?;
    found
        .into_iter()
        .filter_map(|(hash, id)| wanted.get(&hash).map(|once| (once.clone(), id)))
        .map(|(once, id)| Ok((once, DeploymentId::new(&id)?)))
        .collect()
}

async fn referenced(shared: &Shared, set: &ChangeSet) -> Result<HashSet<Key>> {
    let asked: Vec<&Key> = set
        .require
        .iter()
        .filter_map(|require| match require {
            Require::Unreferenced(key) => Some(key),
            _ => None,
        })
        .collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let (kinds, ids) = arrays(asked);
    let (changed_kinds, changed_ids) = arrays(set.changes.iter().map(Change::key));
    let sql = format!(
        "SELECT k.kind, k.id FROM unnest($1::smallint[], $2::text[]) k(kind, id) WHERE {}",
        is_referenced("$3", "$4")
    );
    let found: Vec<(i16, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .bind(changed_kinds)
        .bind(changed_ids)
        .fetch_all(&shared.pool)
        .sent(&shared.measures, Purpose::FindReferrers)
        .await?;
    found.iter().map(|(kind, id)| key(*kind, id)).collect()
}
