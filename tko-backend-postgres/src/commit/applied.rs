//! Finding out whether a statement was applied although its reply was lost.

use super::snapshot::CommitSnapshot;
use crate::codes::{key_arrays, signed};
use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use crate::skeletons::Skeletons;
use tko_core::commit::Staged;
use tko_core::{Change, ChangeSet, Committed, Key, Result, Version};

/// The effect of a change set.
pub(super) struct AppliedSet {
    pub(super) committed: Committed,
    /// The id of the set and its last change, if a numbering pass has to process the set.
    pub(super) numbering: Option<(i64, Option<(Key, Version)>)>,
}

/// Returns the effect of an earlier attempt, if one was applied.
pub(super) async fn find_applied(
    database: &Database,
    skeletons: &Skeletons,
    set: &ChangeSet,
    versions: &[Version],
) -> Result<Option<AppliedSet>> {
    let reserved: Vec<i64> = versions.iter().map(|version| signed(version.0)).collect();
    let (kinds, ids) = key_arrays(set.changes.iter().map(Change::key));
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT p.version, p.change_set FROM pending p WHERE p.version = ANY($1) \
         UNION ALL \
         SELECT v.version, 0 FROM unnest($1::bigint[], $2::smallint[], $3::text[]) v(version, kind, id) \
         WHERE EXISTS (SELECT 1 FROM event e WHERE e.kind = v.kind AND e.id = v.id AND e.version = v.version)",
    )
    .bind(&reserved)
    .bind(kinds)
    .bind(ids)
    .fetch_all(&database.pool)
    .sent(&database.metrics, Purpose::FindLost)
    .await?;
    let Some((_, id)) = found.first() else {
        return Ok(None);
    };
    let was_written = |version: &Version| found.iter().any(|(v, _)| *v == signed(version.0));
    let snapshot = CommitSnapshot::read(database, skeletons, set).await?;
    // The deployment with this idempotency key had it before, or was created by this change set.
    let changes = set.changes.clone();
    let existing = Staged::new(&&snapshot, changes, |index| versions[index]).existing;
    let written: Vec<_> = set
        .changes
        .iter()
        .map(Change::key)
        .zip(versions)
        .filter(|(_, version)| was_written(version))
        .collect();
    let last = written
        .last()
        .map(|(key, version)| ((*key).clone(), **version));
    Ok(Some(AppliedSet {
        committed: Committed::new()
            .versions(
                written
                    .iter()
                    .filter(|(key, _)| snapshot.rows.contains_key(*key))
                    .map(|(key, version)| ((*key).clone(), **version))
                    .collect(),
            )
            .existing(existing),
        numbering: Some((*id, last)),
    }))
}
