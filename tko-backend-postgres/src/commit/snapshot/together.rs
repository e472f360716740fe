//! The snapshots of several change sets, read by the same statements.

use super::{CommitSnapshot, LiveClaim, StoredEntity};
use super::{holders, is_referenced, keys, lease_of, locked_rows, rows};
use crate::codes::{key_arrays, key_of, stage_of};
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use crate::skeletons::Skeletons;
use crate::work::ALL_STAGES;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tko_core::commit::{Right, TokenState};
use tko_core::{Change, ChangeSet, DeploymentId, Facts, Key, Require, Result, Stage, Timestamp};
use uuid::Uuid;

/// The state that was read for all of the sets.
struct ReadTogether {
    now: Timestamp,
    rows: HashMap<Key, StoredEntity>,
    holders: HashMap<Arc<str>, DeploymentId>,
    leases: HashMap<Uuid, Stage>,
}

impl CommitSnapshot {
    /// Reads a snapshot for each of several change sets. None of them may require
    /// [`Require::Unreferenced`] or be under a modification.
    pub(in crate::commit) async fn read_all(
        database: &Database,
        skeletons: &Skeletons,
        sets: &[&ChangeSet],
    ) -> Result<Vec<Self>> {
        let all: BTreeSet<&Key> = sets.iter().flat_map(|set| keys(set)).collect();
        let ((now, rows), leases) = tokio::try_join!(
            rows(database, skeletons, &all),
            leases(database, sets, &database.pool),
        )?;
        let changes = unheld(sets, &rows);
        let holders = holders(database, changes, &database.pool).await?;
        let read = ReadTogether {
            now,
            rows,
            holders,
            leases,
        };
        Ok(sets.iter().map(|set| read.of(set)).collect())
    }

    /// Reads the same in a transaction. Locks the rows that the sets change and the deployments to
    /// which nothing may refer, and then looks for references to these. No set may be under a
    /// modification.
    pub(in crate::commit) async fn lock_all(
        database: &Database,
        skeletons: &Skeletons,
        sets: &[&ChangeSet],
        transaction: &mut PgConnection,
    ) -> Result<Vec<Self>> {
        let (now, rows) = locked_rows(database, skeletons, sets, transaction).await?;
        let changes = unheld(sets, &rows);
        let holders = holders(database, changes, &mut *transaction).await?;
        let read = ReadTogether {
            now,
            rows,
            holders,
            leases: leases(database, sets, &mut *transaction).await?,
        };
        let mut referenced = referenced(database, sets, transaction).await?;
        let snapshots = sets.iter().zip(1_i64..).map(|(set, number)| Self {
            referenced: referenced.remove(&number).unwrap_or_default(),
            ..read.of(set)
        });
        Ok(snapshots.collect())
    }
}

impl ReadTogether {
    /// The snapshot of one of the sets, without references.
    fn of(&self, set: &ChangeSet) -> CommitSnapshot {
        let lease = set.under.as_ref().and_then(lease_of);
        let live = lease.and_then(|lease| Some((*self.leases.get(&lease)?, lease)));
        let (token, claim) = match live {
            Some((stage, lease)) => (
                TokenState::Live(Right::Lease(stage)),
                Some(LiveClaim::Lease(stage, lease)),
            ),
            None if set.under.is_some() => (TokenState::Expired, None),
            None => (TokenState::Unknown, None),
        };
        CommitSnapshot {
            now: self.now,
            rows: keys(set)
                .filter_map(|key| Some((key.clone(), self.rows.get(key)?.clone())))
                .collect(),
            holders: self.holders.clone(),
            referenced: HashSet::new(),
            token,
            claim,
        }
    }
}

/// The changes whose idempotency keys may have other holders: a row that has its key already is the
/// only holder.
fn unheld<'a>(
    sets: &'a [&ChangeSet],
    rows: &'a HashMap<Key, StoredEntity>,
) -> impl Iterator<Item = &'a Change> {
    let changes = sets.iter().flat_map(|set| &set.changes);
    changes.filter(|change| {
        let Change::Put(put) = change else {
            return false;
        };
        let Facts::Deployment(new) = &put.facts else {
            return false;
        };
        let row = rows.get(&put.key).and_then(|row| row.entity.deployment());
        row.is_none_or(|old| old.idempotency_key != new.idempotency_key)
    })
}

/// Reads the stages of the live leases of these change sets.
async fn leases(
    database: &Database,
    sets: &[&ChangeSet],
    executor: impl PgExecutor<'_>,
) -> Result<HashMap<Uuid, Stage>> {
    let tokens = sets.iter().filter_map(|set| {
        let token = set.under.as_ref()?;
        Some((&token.key, lease_of(token)?))
    });
    let (keys, leases): (Vec<&Key>, Vec<Uuid>) = tokens.unzip();
    if leases.is_empty() {
        return Ok(HashMap::new());
    }
    let (kinds, ids) = key_arrays(keys);
    // A subquery that is not merged: the few keys lead, and each follows the primary key.
    let sql = format!(
        "SELECT k.token, x.stage FROM unnest($1::smallint[], $2::text[], $3::uuid[]) \
         k(kind, id, token) CROSS JOIN LATERAL (SELECT w.stage FROM work w WHERE {ALL_STAGES} \
         AND w.kind = k.kind AND w.id = k.id AND w.token = k.token AND w.until > now_us() \
         OFFSET 0) x"
    );
    let found: Vec<(Uuid, i16)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(kinds)
        .bind(ids)
        .bind(leases)
        .fetch_all(executor)
        .sent(&database.metrics, Purpose::FindLease)
        .await?;
    let found = found.into_iter();
    found
        .map(|(token, stage)| Ok((token, stage_of(stage)?)))
        .collect()
}

/// Reads which keys of [`Require::Unreferenced`] an entity refers to that the same set does not
/// change, by the number of the set from 1.
async fn referenced(
    database: &Database,
    sets: &[&ChangeSet],
    transaction: &mut PgConnection,
) -> Result<HashMap<i64, HashSet<Key>>> {
    let (mut of_asked, mut asked) = (Vec::new(), Vec::new());
    let (mut of_changed, mut changed) = (Vec::new(), Vec::new());
    for (number, set) in (1_i64..).zip(sets) {
        let before = asked.len();
        asked.extend(set.require.iter().filter_map(|require| match require {
            Require::Unreferenced(key) => Some(key),
            _ => None,
        }));
        if asked.len() > before {
            changed.extend(set.changes.iter().map(Change::key));
        }
        of_asked.resize(asked.len(), number);
        of_changed.resize(changed.len(), number);
    }
    let mut referenced: HashMap<i64, HashSet<Key>> = HashMap::new();
    if asked.is_empty() {
        return Ok(referenced);
    }
    let (kinds, ids) = key_arrays(asked);
    let (changed_kinds, changed_ids) = key_arrays(changed);
    let changed = "unnest($4::bigint[], $5::smallint[], $6::text[]) c(n, kind, id) WHERE c.n = k.n";
    let sql = format!(
        "SELECT k.n, k.kind, k.id \
         FROM unnest($1::bigint[], $2::smallint[], $3::text[]) k(n, kind, id) WHERE {}",
        is_referenced(changed)
    );
    let found: Vec<(i64, i16, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(of_asked)
        .bind(kinds)
        .bind(ids)
        .bind(of_changed)
        .bind(changed_kinds)
        .bind(changed_ids)
        .fetch_all(transaction)
        .sent(&database.metrics, Purpose::FindReferrers)
        .await?;
    for (number, kind, id) in found {
        let key = key_of(kind, &id)?;
        referenced.entry(number).or_default().insert(key);
    }
    Ok(referenced)
}
