//! The snapshot of a change set: everything that the rules of a commit depend on.

mod together;

use crate::codes::{DEPLOYMENT, key_arrays, key_of, kind_number, stage_of};
use crate::columns::RowColumns;
use crate::database::Database;
use crate::entity::entities;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose};
use crate::row::{COLUMNS, EntityRow, idempotency_hash};
use crate::skeletons::Skeletons;
use crate::token::TokenSecret;
use crate::work::ALL_STAGES;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, Row as _};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tko_core::commit::{Right, Snapshot, StoredRow, TokenState};
use tko_core::{
    Change, ChangeSet, DeploymentId, Entity, Facts, Key, Require, Result, Stage, Timestamp, Token,
};
use uuid::Uuid;

/// A row, and its columns that are not part of the entity.
#[derive(Clone, Debug)]
pub(super) struct StoredEntity {
    pub(super) entity: Arc<Entity>,
    pub(super) body_at: i64,
    /// The modification of this entity, and its end.
    modification: Option<(Uuid, Timestamp)>,
}

impl StoredRow for StoredEntity {
    fn entity(&self) -> &Entity {
        &self.entity
    }
}

/// A live claim under which a change set is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiveClaim {
    Modification(Uuid),
    Lease(Stage, Uuid),
}

/// The state that a change set depends on.
#[derive(Debug)]
pub(super) struct CommitSnapshot {
    pub(super) now: Timestamp,
    pub(super) rows: HashMap<Key, StoredEntity>,
    /// The holders of the idempotency keys of the change set.
    holders: HashMap<Arc<str>, DeploymentId>,
    /// Keys to which an entity refers that the change set does not change.
    referenced: HashSet<Key>,
    token: TokenState,
    pub(super) claim: Option<LiveClaim>,
}

impl<'a> Snapshot for &'a CommitSnapshot {
    type Row = &'a StoredEntity;

    fn row(&self, key: &Key) -> Option<Self::Row> {
        self.rows.get(key)
    }

    fn holder(&self, idempotency_key: &str) -> Option<DeploymentId> {
        self.holders.get(idempotency_key).cloned()
    }

    fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool {
        let mut rows = self.rows.values().map(|found| &found.entity);
        self.referenced.contains(key)
            || rows.any(|entity| entity.refers_to(key) && !changed(&entity.key))
    }

    fn token(&self, _: &Token) -> TokenState {
        self.token
    }

    fn is_modified(&self, key: &Key, own: Option<&Token>) -> bool {
        let modification = self.rows.get(key).and_then(|found| found.modification);
        modification.is_some_and(|(uuid, until)| {
            let is_own = || own.map(TokenSecret::of) == Some(TokenSecret::Modification(uuid));
            until > self.now && !is_own()
        })
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

/// Returns a condition on `k`: whether an entity that is not among the changed keys refers to it.
/// `changed` is an item of `FROM` with the changed keys `c` and a condition on them.
pub(super) fn is_referenced(changed: &str) -> String {
    let unchanged =
        format!("NOT EXISTS (SELECT 1 FROM {changed} AND c.kind = e.kind AND c.id = e.id)");
    format!(
        "(k.kind = 0 AND EXISTS (SELECT 1 FROM entity e WHERE e.kind IN (1, 2) AND e.template = k.id AND {unchanged}) \
         OR k.kind = 1 AND EXISTS (SELECT 1 FROM entity e WHERE e.site = k.id AND {unchanged}) \
         OR k.kind = 1 AND EXISTS (SELECT 1 FROM entity e WHERE e.place = k.id AND (e.site IS NULL OR e.place <> e.site) AND {unchanged}) \
         OR k.kind = {DEPLOYMENT} AND EXISTS (SELECT 1 FROM entity e WHERE e.parent = k.id AND {unchanged}))"
    )
}

impl CommitSnapshot {
    /// Reads everything that the change set changes, requires, or may conflict with.
    pub(super) async fn read(
        database: &Database,
        skeletons: &Skeletons,
        set: &ChangeSet,
    ) -> Result<Self> {
        let keys: BTreeSet<&Key> = keys(set).collect();
        let (now, rows) = rows(database, skeletons, &keys).await?;
        let holders = holders(database, &set.changes, &database.pool).await?;
        let referenced = referenced(database, set, &database.pool).await?;
        let (token, claim) = match &set.under {
            Some(token) => {
                let row = rows.get(&token.key);
                token_state(database, token, now, row, &database.pool).await?
            }
            None => (TokenState::Unknown, None),
        };
        Ok(Self {
            now,
            rows,
            holders,
            referenced,
            token,
            claim,
        })
    }

    /// Reads the same in a transaction, except for the references, and locks the changed rows and
    /// the deployments to which nothing may refer.
    pub(super) async fn lock(
        database: &Database,
        skeletons: &Skeletons,
        set: &ChangeSet,
        transaction: &mut PgConnection,
    ) -> Result<Self> {
        let (now, rows) = locked_rows(database, skeletons, &[set], transaction).await?;
        let holders = holders(database, &set.changes, &mut *transaction).await?;
        let (token, claim) = match &set.under {
            Some(token) => {
                let row = rows.get(&token.key);
                token_state(database, token, now, row, transaction).await?
            }
            None => (TokenState::Unknown, None),
        };
        Ok(Self {
            now,
            rows,
            holders,
            referenced: HashSet::new(),
            token,
            claim,
        })
    }

    /// Reads the references that [`lock`](Self::lock) left out.
    pub(super) async fn read_references(
        &mut self,
        database: &Database,
        set: &ChangeSet,
        transaction: &mut PgConnection,
    ) -> Result<()> {
        self.referenced = referenced(database, set, transaction).await?;
        Ok(())
    }
}

/// The keys of the rows that a change set depends on.
pub(super) fn keys(set: &ChangeSet) -> impl Iterator<Item = &Key> {
    set.changes
        .iter()
        .map(Change::key)
        .chain(set.require.iter().map(Require::key))
        .chain(set.under.as_ref().map(|token| &token.key))
}

/// The secret of a token, if the token belongs to a lease.
pub(super) fn lease_of(token: &Token) -> Option<Uuid> {
    match TokenSecret::of(token) {
        TokenSecret::Lease(lease) => Some(lease),
        TokenSecret::Modification(_) | TokenSecret::Unknown => None,
    }
}

async fn token_state(
    database: &Database,
    token: &Token,
    now: Timestamp,
    row: Option<&StoredEntity>,
    executor: impl PgExecutor<'_>,
) -> Result<(TokenState, Option<LiveClaim>)> {
    let metrics = &database.metrics;
    match TokenSecret::of(token) {
        TokenSecret::Unknown => Ok((TokenState::Unknown, None)),
        TokenSecret::Lease(lease) => {
            let sql = format!(
                "SELECT w.stage FROM work w WHERE {ALL_STAGES} AND w.kind = $1 AND w.id = $2 \
                 AND w.token = $3 AND w.until > now_us()"
            );
            let stage: Option<i16> = sqlx::query_scalar(AssertSqlSafe(sql))
                .bind(kind_number(token.key.kind()))
                .bind(token.key.id())
                .bind(lease)
                .fetch_optional(executor)
                .sent(metrics, Purpose::FindLease)
                .await?;
            let Some(stage) = stage.map(stage_of).transpose()? else {
                return Ok((TokenState::Expired, None));
            };
            let state = TokenState::Live(Right::Lease(stage));
            Ok((state, Some(LiveClaim::Lease(stage, lease))))
        }
        TokenSecret::Modification(uuid) => {
            if let Some((holder, until)) = row.and_then(|row| row.modification)
                && holder == uuid
            {
                return Ok(if until > now {
                    let state = TokenState::Live(Right::Modification);
                    (state, Some(LiveClaim::Modification(uuid)))
                } else {
                    (TokenState::Expired, None)
                });
            }
            let has_expired: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM edit WHERE token = $1 AND until <= now_us())",
            )
            .bind(uuid)
            .fetch_one(executor)
            .sent(metrics, Purpose::FindModification)
            .await?;
            let state = if has_expired {
                TokenState::Expired
            } else {
                TokenState::Unknown
            };
            Ok((state, None))
        }
    }
}

/// Reads the rows of keys, and the store's time.
async fn rows(
    database: &Database,
    skeletons: &Skeletons,
    keys: &BTreeSet<&Key>,
) -> Result<(Timestamp, HashMap<Key, StoredEntity>)> {
    let (kinds, ids) = key_arrays(keys.iter().copied());
    let sql = format!(
        "SELECT now_us() AS now, {COLUMNS}, e.edit, e.edit_until \
         FROM (SELECT 1) one LEFT JOIN (unnest($1::smallint[], $2::text[]) k(kind, id) \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id) ON true"
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .fetch_all(&database.pool)
        .sent(&database.metrics, Purpose::ReadChanged)
        .await?;
    decoded(skeletons, &found).await
}

/// Reads the rows on which change sets depend. Locks the changed ones and the deployments to which
/// nothing may refer, in the order of keys.
async fn locked_rows(
    database: &Database,
    skeletons: &Skeletons,
    sets: &[&ChangeSet],
    transaction: &mut PgConnection,
) -> Result<(Timestamp, HashMap<Key, StoredEntity>)> {
    let mut found: BTreeMap<&Key, bool> = BTreeMap::new();
    for set in sets {
        for require in &set.require {
            let locks = matches!(require, Require::Unreferenced(Key::Deployment(_)));
            *found.entry(require.key()).or_default() |= locks;
        }
        if let Some(token) = &set.under {
            found.entry(&token.key).or_default();
        }
        found.extend(set.changes.iter().map(|change| (change.key(), true)));
    }
    let (locks, keys): (Vec<bool>, Vec<&Key>) =
        found.into_iter().map(|(key, locks)| (locks, key)).unzip();
    let (kinds, ids) = key_arrays(keys);
    let sql = format!(
        "WITH k AS MATERIALIZED ( \
         SELECT * FROM unnest($1::smallint[], $2::text[], $3::boolean[]) k(kind, id, locks)), \
         locked AS MATERIALIZED ( \
         SELECT e.* FROM k JOIN entity e ON e.kind = k.kind AND e.id = k.id WHERE k.locks \
         ORDER BY e.kind, e.id FOR UPDATE OF e), \
         found AS ( \
         SELECT * FROM locked UNION ALL SELECT e.* FROM k \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id WHERE NOT k.locks) \
         SELECT now_us() AS now, {COLUMNS}, e.edit, e.edit_until \
         FROM (SELECT 1) one LEFT JOIN found e ON true"
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .bind(locks)
        .fetch_all(transaction)
        .sent(&database.metrics, Purpose::ReadChanged)
        .await?;
    decoded(skeletons, &found).await
}

/// Decodes rows, each after the store's time and before its modification; or only the time.
async fn decoded(
    skeletons: &Skeletons,
    found: &[PgRow],
) -> Result<(Timestamp, HashMap<Key, StoredEntity>)> {
    let broken = fault("decode the entities of a change set");
    let mut now = Timestamp::default();
    let (mut read, mut beside) = (Vec::new(), Vec::new());
    for row in found {
        now = Timestamp(row.try_get(0).map_err(&broken)?);
        let kind: Option<i16> = row.try_get("kind").map_err(&broken)?;
        if kind.is_none() {
            continue;
        }
        let uuid: Option<Uuid> = row.try_get("edit").map_err(&broken)?;
        let until: Option<i64> = row.try_get("edit_until").map_err(&broken)?;
        let columns = EntityRow::read(&mut RowColumns::of(row, 1)).map_err(&broken)?;
        beside.push((columns.body_at, uuid.zip(until.map(Timestamp))));
        read.push(columns);
    }
    let entities = entities(skeletons, read).await?;
    let rows = entities
        .into_iter()
        .zip(beside)
        .map(|(entity, (body_at, modification))| {
            let found = StoredEntity {
                entity,
                body_at,
                modification,
            };
            (found.entity.key.clone(), found)
        })
        .collect();
    Ok((now, rows))
}

/// Reads the holders of the idempotency keys that the change set puts.
async fn holders(
    database: &Database,
    changes: impl IntoIterator<Item = &Change>,
    executor: impl PgExecutor<'_>,
) -> Result<HashMap<Arc<str>, DeploymentId>> {
    let wanted: HashMap<Vec<u8>, Arc<str>> = changes
        .into_iter()
        .filter_map(|change| match change {
            Change::Put(put) => match &put.facts {
                Facts::Deployment(deployment) => deployment.idempotency_key.clone(),
                _ => None,
            },
            _ => None,
        })
        .map(|key| (idempotency_hash(&key), key))
        .collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes: Vec<&Vec<u8>> = wanted.keys().collect();
    let found: Vec<(Vec<u8>, String)> =
        sqlx::query_as("SELECT once, id FROM entity WHERE once = ANY($1)")
            .bind(&hashes)
            .fetch_all(executor)
            .sent(&database.metrics, Purpose::FindHolders)
            .await?;
    found
        .into_iter()
        .filter_map(|(hash, id)| wanted.get(&hash).map(|key| (key.clone(), id)))
        .map(|(key, id)| Ok((key, DeploymentId::new(&id)?)))
        .collect()
}

/// Reads which keys of [`Require::Unreferenced`] an unchanged entity refers to.
async fn referenced(
    database: &Database,
    set: &ChangeSet,
    executor: impl PgExecutor<'_>,
) -> Result<HashSet<Key>> {
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
    let (kinds, ids) = key_arrays(asked);
    let (changed_kinds, changed_ids) = key_arrays(set.changes.iter().map(Change::key));
    let sql = format!(
        "SELECT k.kind, k.id FROM unnest($1::smallint[], $2::text[]) k(kind, id) WHERE {}",
        is_referenced("unnest($3::smallint[], $4::text[]) c(kind, id) WHERE true")
    );
    let found: Vec<(i16, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .bind(changed_kinds)
        .bind(changed_ids)
        .fetch_all(executor)
        .sent(&database.metrics, Purpose::FindReferrers)
        .await?;
    found.iter().map(|(kind, id)| key_of(*kind, id)).collect()
}
