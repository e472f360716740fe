//! Change sets: read, worked out by the rules of `tko-core`, written by one statement.
//!
//! The statement holds for the rows that were read: it carries their versions, and writes nothing
//! if one has moved. Then everything is read and judged again. So nothing is locked while anything
//! is thought about, and what is judged here is judged by the same code as in every backend.
//!
//! Whether a statement was applied whose answer was lost is told by the versions, which are taken
//! once for a change set, whatever becomes of its attempts.

mod applied;
mod deletion_intent;
mod preconditions;
mod snapshot;
mod staged;
mod statement;
mod write;

use crate::body;
use crate::fault::{Fault, fault, was_not_applied};
use crate::feed;
use crate::metrics::Purpose;
use crate::postgres::Shared;
use crate::retry::again;
use deletion_intent::DeletionGuard;
use snapshot::Snapshot;
use staged::Staged;
use std::collections::HashSet;
use std::time::Duration;
use tko_core::work::MAX_PROGRESS;
use tko_core::{Ack, ChangeSet, Committed, Error, Key, MAX_CHANGES, Result, Version};
use write::Write;

/// After so many attempts others will keep being first.
const ATTEMPTS: u32 = 200;

/// Longest pause between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// How often a statement is tried again whose connection was lost.
const LOSSES: u32 = 5;

/// What needs no store to be judged.
fn check(set: &ChangeSet) -> Result<()> {
    if set.changes.len() > MAX_CHANGES {
        return Err(Error::bad(
            "change set",
            format!(
                "it has {} changes; at most {MAX_CHANGES} are allowed: commit it in parts",
                set.changes.len()
            ),
        ));
    }
    let mut keys = HashSet::new();
    for change in &set.changes {
        if !keys.insert(change.key()) {
            return Err(Error::bad(
                "change set",
                format!(
                    "it changes {} twice; put both changes into one",
                    change.key()
                ),
            ));
        }
    }
    if let Some(progress) = &set.progress {
        let size = progress.to_string().len();
        if size > MAX_PROGRESS {
            return Err(Error::bad(
                "progress",
                format!("it has {size} bytes as JSON; at most {MAX_PROGRESS} are kept"),
            ));
        }
    }
    Ok(())
}

/// Commits a change set.
pub(crate) async fn commit(shared: &Shared, set: ChangeSet, ack: Ack) -> Result<Committed> {
    check(&set)?;
    body::hash(&set).await?;
    let hold = DeletionGuard::of(shared, &set).await?;
    let done = apply(shared, &set, hold.as_ref()).await;
    if let Some(hold) = &hold
        && done.is_err()
    {
        hold.release(shared).await;
    }
    let Done {
        mut committed,
        numbering,
    } = done?;
    for change in &set.changes {
        if let Key::Template(id) = change.key() {
            shared.bodies.forget(id);
        }
    }
    if set.settle.is_some() || !set.enqueue.is_empty() {
        shared.waiting.wake();
    }
    if let Some((id, last)) = numbering {
        shared.feed.poke();
        if ack == Ack::Numbered {
            committed.revision = feed::numbered(shared, id, last).await?;
        }
    }
    Ok(committed)
}

/// What was written.
struct Done {
    committed: Committed,
    /// What is to be numbered: a set, and its last change.
    numbering: Option<(i64, Option<(Key, Version)>)>,
}

/// Reads, judges and writes, until nothing comes between.
async fn apply(shared: &Shared, set: &ChangeSet, hold: Option<&DeletionGuard>) -> Result<Done> {
    let versions = shared.versions.take(shared, set.changes.len()).await?;
    let mut losses = 0;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            let pause = Duration::from_micros(100) * 2_u32.pow(attempt.min(8));
            tokio::time::sleep(pause.min(PAUSE)).await;
        }
        if losses > 0
            && let Some(done) = applied::applied(shared, set, &versions).await?
        {
            return Ok(done);
        }
        let snapshot = match attempt {
            0 if Staged::needs_no_reading(set) => None,
            _ => Some(again(shared, || Snapshot::read(shared, set)).await?),
        };
        let staged = match &snapshot {
            None => Staged::creations(set, &versions),
            Some(snapshot) => Staged::new(snapshot, set, &versions),
        };
        if let Some(snapshot) = &snapshot
            && let Err(error) = preconditions::judge(snapshot, &staged, set)
        {
            // It may fail because of what was written by an attempt that was given up for lost.
            return match losses {
                0 => Err(error),
                _ => applied::applied(shared, set, &versions).await?.ok_or(error),
            };
        }
        let write = Write::new(shared, set, &staged, snapshot.as_ref(), hold).await?;
        match write.execute(shared).await {
            Ok(Some(id)) => {
                let last = staged.last();
                let numbers = last.is_some() || write.marks_others();
                return Ok(Done {
                    committed: staged.committed(),
                    numbering: numbers.then_some((id, last)),
                });
            }
            Ok(None) => {}
            Err(error) => match Fault::of(&error) {
                Fault::Retry | Fault::Taken => {}
                Fault::Unavailable if !was_not_applied(&error) && losses < LOSSES => {
                    tracing::warn!(%error, "the answer to a commit was lost; finding out");
                    losses += 1;
                }
                Fault::Unavailable | Fault::Broken => {
                    return Err(fault(Purpose::Commit.action())(error));
                }
            },
        }
    }
    Err(Error::unavailable(
        "commit the changes",
        "others kept changing the same entities; retry later",
    ))
}
