//! Finding out whether a statement was applied whose answer was lost.

use super::snapshot::Snapshot;
use super::{Done, Staged};
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::row::signed;
use tko_core::{ChangeSet, Committed, Result, Version};

/// What became of the set, if an earlier attempt was applied.
pub(super) async fn applied(
    shared: &Shared,
    set: &ChangeSet,
    versions: &[Version],
) -> Result<Option<Done>> {
    let wanted: Vec<i64> = versions.iter().map(|version| signed(version.0)).collect();
    let (kinds, ids) = super::snapshot::arrays(set.changes.iter().map(tko_core::Change::key));
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT p.version, p.change_set FROM pending p WHERE p.version = ANY($1) \
         UNION ALL \
         SELECT v.version, 0 FROM unnest($1::bigint[], $2::smallint[], $3::text[]) v(version, kind, id) \
         WHERE EXISTS (SELECT 1 FROM event e WHERE e.kind = v.kind AND e.id = v.id AND e.version = v.version)",
    )
    .bind(&wanted)
    .bind(kinds)
    .bind(ids)
    .fetch_all(&shared.pool)
    .sent(&shared.measures, Purpose::FindLost)
    .await?;
    let Some((_, id)) = found.first() else {
        return Ok(None);
    };
    let was_written = |version: &Version| found.iter().any(|(v, _)| *v == signed(version.0));
    let snapshot = Snapshot::read(shared, set).await?;
    // Whatever has its `once` key by now had it then, or came with this set.
    let existing = Staged::new(&snapshot, set, versions).existing;
    let written: Vec<_> = set
        .changes
        .iter()
        .map(tko_core::Change::key)
        .zip(versions)
        .filter(|(_, version)| was_written(version))
        .collect();
    let last = written
        .last()
        .map(|(key, version)| ((*key).clone(), **version));
    Ok(Some(Done {
        committed: Committed {
            revision: None,
            versions: written
                .iter()
                .filter(|(key, _)| snapshot.rows.contains_key(*key))
                .map(|(key, version)| ((*key).clone(), **version))
                .collect(),
            existing,
        },
        numbering: Some((*id, last)),
    }))
}
