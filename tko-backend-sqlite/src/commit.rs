//! Commits change sets for the writer: reads what the rules need, checks, and only then writes.
//!
//! The rules are those of `tko_core::commit`. A refused change set leaves no trace, so several sets
//! can share a transaction. Sets that do not depend on each other are read together and written
//! together, so that many small ones cost little more than one.
//!
//! A few changes need no transaction around the read and the write. The write is one statement,
//! which SQLite refuses if another process has written since the read. That saves the statements
//! that begin and end the transaction. It also saves SQLite from copying each changed page.

mod group;
mod snapshot;
mod stage;
#[cfg(test)]
mod tests;
mod write;

use crate::connect::SqliteParts;
use crate::dictionary::ChosenDictionaries;
use snapshot::GroupSnapshot;
use sqlx::{Executor, SqliteConnection};
use stage::stage_all;
use tko_core::{Change, Error, ErrorKind, Result, Timestamp};
use write::GuardedWrite;

pub(crate) use group::GroupedSet;
pub(crate) use stage::SetAnswer;
pub(crate) use write::{add_triggers, put_work};

/// The parts of the transaction that are sent with the first read and with the last write. Each
/// saves a round trip to the thread of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransactionEnds {
    /// Whether to begin it before the first read.
    pub(crate) begin: bool,
    /// Whether to commit it after the last write, if there is one.
    pub(crate) commit: bool,
}

/// Commits change sets in order. Returns their answers, and whether the transaction is committed.
///
/// If the database refuses a statement, this and all later sets fail, and the transaction must be
/// undone.
pub(crate) async fn commit(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    dictionaries: &mut ChosenDictionaries,
    mut sets: &mut [GroupedSet],
    mut ends: TransactionEnds,
    now: Timestamp,
) -> (Vec<SetAnswer>, bool) {
    if ends.begin
        && ends.commit
        && group::are_one_write(sets)
        && let Some(written) = commit_at_once(connection, shared, dictionaries, sets, now).await
    {
        return match written {
            Ok(answers) => (answers, true),
            Err(error) => (failed_group(error, sets.len()).collect(), false),
        };
    }
    let mut answers = Vec::with_capacity(sets.len());
    let mut is_committed = false;
    // The number of sets that are still to be read one by one, because one of them found damage.
    // Only that one gets this error; the others get an error that asks for a retry.
    let mut alone = 0_usize;
    while !sets.is_empty() {
        let count = if alone > 0 {
            1
        } else {
            group::independent(sets)
        };
        let snapshot = snapshot::read(connection, shared, &sets[..count], ends.begin).await;
        let is_damaged = |error: &Error| error.kind() == ErrorKind::Internal;
        if count > 1 && snapshot.as_ref().is_err_and(is_damaged) {
            if ends.begin {
                // If the transaction did not begin, the rollback fails, which does no harm.
                let _ = connection.execute("ROLLBACK").await;
            }
            alone = count;
            continue;
        }
        ends.begin = false;
        alone = alone.saturating_sub(1);
        let (group, rest) = sets.split_at_mut(count);
        let commit = ends.commit && rest.is_empty();
        let written = match snapshot {
            Ok(snapshot) => {
                write(
                    connection,
                    shared,
                    dictionaries,
                    group,
                    &snapshot,
                    now,
                    commit,
                )
                .await
            }
            Err(error) => Err(error),
        };
        match written {
            Ok((group, committed)) => {
                answers.extend(group);
                is_committed = committed;
            }
            Err(error) => {
                answers.extend(failed_group(error, count));
                answers.extend(rest.iter().map(|_| Err(another())));
                return (answers, false);
            }
        }
        sets = rest;
    }
    (answers, is_committed)
}

/// The answers to sets that failed together.
fn failed_group(error: Error, count: usize) -> impl Iterator<Item = SetAnswer> {
    let others: Vec<_> = (1..count).map(|_| copy(&error)).collect();
    others.into_iter().chain([error]).map(Err)
}

/// The error of writes that share a transaction with one that failed.
pub(crate) fn another() -> Error {
    Error::unavailable(
        "write",
        "another write in the same transaction failed; retry",
    )
}

/// Copies the error of a whole transaction for another of its jobs.
pub(crate) fn copy(error: &Error) -> Error {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let source = source.unwrap_or_else(|| error.to_string());
    match error {
        Error::Internal { action, .. } => Error::internal(action.clone(), source),
        Error::Unavailable { action, .. } => Error::unavailable(action.clone(), source),
        _ => Error::unavailable("write", source),
    }
}

/// Commits sets that do not depend on each other without a transaction around the read and the
/// write. `None`: another process wrote in between, or more has to be read; nothing is written.
async fn commit_at_once(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    dictionaries: &mut ChosenDictionaries,
    group: &[GroupedSet],
    now: Timestamp,
) -> Option<Result<Vec<SetAnswer>>> {
    // If the read fails, the caller reads again in a transaction, and finds the set with the damaged
    // row.
    let snapshot = snapshot::read(connection, shared, group, false)
        .await
        .ok()?;
    // Without a version, the write would not be refused.
    snapshot.position.version?;
    let changes = group.iter().map(|grouped| grouped.changes.clone());
    let (write, position, answers) = stage_all(&snapshot, group, changes, now);
    if !write.is_needed() {
        return Some(Ok(answers));
    }
    dictionaries.retain(snapshot.lowest_dictionary);
    let known = dictionaries.known(&write.templates(), &snapshot.rows)?;
    match write
        .execute(connection, shared, &known, position, false)
        .await
    {
        Ok(GuardedWrite::Done) => Some(Ok(answers)),
        Ok(GuardedWrite::OthersWroteFirst) => None,
        Err(error) => Some(Err(error)),
    }
}

/// Checks sets that do not depend on each other, and writes those that are not refused, within the
/// transaction. Returns also whether that is committed.
async fn write(
    connection: &mut SqliteConnection,
    shared: &SqliteParts,
    dictionaries: &mut ChosenDictionaries,
    group: &mut [GroupedSet],
    snapshot: &GroupSnapshot,
    now: Timestamp,
    commit: bool,
) -> Result<(Vec<SetAnswer>, bool)> {
    let changes = group
        .iter_mut()
        .map(|grouped| std::mem::take(&mut grouped.changes));
    let changes: Vec<Vec<Change>> = changes.collect();
    let (write, position, answers) = stage_all(snapshot, group, changes, now);
    if !write.is_needed() {
        return Ok((answers, false));
    }
    dictionaries.retain(snapshot.lowest_dictionary);
    let chosen = dictionaries
        .choose(connection, shared, write.templates(), &snapshot.rows)
        .await?;
    match write
        .execute(connection, shared, &chosen, position, commit)
        .await?
    {
        GuardedWrite::Done => Ok((answers, commit)),
        GuardedWrite::OthersWroteFirst => Err(another()),
    }
}
