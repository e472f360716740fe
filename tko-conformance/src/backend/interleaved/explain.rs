//! The rules that the log and the feed must satisfy together.

use super::actor::{Note, Notes};
use crate::backend::fixture::BackendFixture;
use crate::backend::sample::all;
use crate::explore::ensure;
use std::collections::{BTreeMap, BTreeSet};
use tko_core::{Change, ChangeRecord, ChangeSet, Committed, Entity, Key, Kind, Require, Revision};

/// An acknowledged set with its moments.
struct Acknowledged<'a> {
    asked: u64,
    told: u64,
    set: &'a ChangeSet,
    done: &'a Committed,
}

/// Whether the feed after `start`, where the backend was empty, explains all answers.
pub(super) async fn explain(
    fixture: &BackendFixture,
    start: Revision,
    notes: &Notes,
) -> Result<(), String> {
    let notes = notes.read();
    let mut acknowledged = BTreeMap::new();
    for note in &notes {
        if let Note::Commit {
            name,
            asked,
            told,
            set,
            done: Some(done),
        } = note
        {
            let (asked, told) = (*asked, *told);
            let one = Acknowledged {
                asked,
                told,
                set,
                done,
            };
            acknowledged.insert(name.as_str(), one);
        }
    }
    let feed = fixture.changes(start.0).await;
    let there = replay(start, &feed, &acknowledged)?;
    in_real_time(&acknowledged)?;
    let mut rows = BTreeMap::new();
    for kind in Kind::ALL {
        for record in fixture.walk(&all(kind), 0).await {
            rows.insert(record.entity.key.clone(), record.entity.version);
        }
    }
    let replayed: BTreeMap<_, _> = there.iter().map(|(k, e)| (k.clone(), e.version)).collect();
    ensure!(
        rows == replayed,
        "the rows are {rows:?}, but the feed gives {replayed:?}"
    );
    edits_exclude(&notes, &acknowledged)?;
    leases_exclude(&notes, &acknowledged)
}

/// Replays the feed set by set. Returns the final state.
fn replay(
    start: Revision,
    feed: &[ChangeRecord],
    acknowledged: &BTreeMap<&str, Acknowledged<'_>>,
) -> Result<BTreeMap<Key, Entity>, String> {
    let mut there: BTreeMap<Key, Entity> = BTreeMap::new();
    let mut told = BTreeSet::new();
    let mut next = start.0 + 1;
    for set in feed.chunk_by(|one, other| one.set == other.set) {
        let name = set[0].cause.as_deref().unwrap_or_default();
        let Some(known) = acknowledged.get(name) else {
            return Err(format!(
                "the set {name:?} is in the feed, but was not acknowledged: {set:?}"
            ));
        };
        ensure!(told.insert(name.to_owned()), "{name} is in the feed twice");
        ensure!(
            known.done.revision == Some(set[0].set),
            "{name} was acknowledged with {:?}, but is at {} in the feed",
            known.done.revision,
            set[0].set
        );
        holds(&there, &known.set.require, false).map_err(|r| format!("{name}: {r}"))?;
        let keys: Vec<&Key> = set.iter().map(|change| &change.key).collect();
        let asked: Vec<&Key> = known.set.changes.iter().map(Change::key).collect();
        ensure!(
            keys.iter().all(|key| asked.contains(key)),
            "{name} changed {keys:?}"
        );
        for change in set {
            ensure!(change.revision == Revision(next), "{next} is missing");
            next += 1;
            let before = change.before.as_ref().map(|r| r.entity.version);
            let known = there.get(&change.key).map(|entity| entity.version);
            ensure!(
                before == known,
                "{name}: {} was {known:?}, not {before:?}",
                change.key
            );
            match &change.after {
                Some(record) => there.insert(change.key.clone(), (*record.entity).clone()),
                None => there.remove(&change.key),
            };
        }
        holds(&there, &known.set.require, true).map_err(|r| format!("{name}: {r}"))?;
        once_each(&there)?;
    }
    for (name, known) in acknowledged {
        ensure!(
            told.contains(*name) || known.done.revision.is_none(),
            "{name} was acknowledged, but is not in the feed"
        );
    }
    Ok(there)
}

/// Whether preconditions hold in this state, before or after their set.
fn holds(there: &BTreeMap<Key, Entity>, require: &[Require], after: bool) -> Result<(), String> {
    for require in require {
        let row = there.get(require.key());
        let true_here = match require {
            Require::Unreferenced(key) => {
                !after || !there.values().any(|entity| entity.refers_to(key))
            }
            _ if after => true,
            Require::Absent(_) => row.is_none(),
            Require::Exists(_) => row.is_some_and(|e| !e.deleting),
            Require::At(_, version) => row.is_some_and(|e| e.version == *version),
            Require::Current(_, version) => {
                row.is_some_and(|e| !e.deleting && e.version == *version)
            }
            Require::Generation(_, generation) => {
                row.is_some_and(|e| !e.deleting && e.generation == *generation)
            }
        };
        ensure!(
            true_here,
            "{require:?} does not hold at its place in the feed, but was accepted"
        );
    }
    Ok(())
}

fn once_each(there: &BTreeMap<Key, Entity>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let once = there
        .values()
        .filter_map(|e| e.deployment()?.idempotency_key.as_deref());
    for once in once {
        ensure!(seen.insert(once), "two deployments have the key {once:?}");
    }
    Ok(())
}

/// A set acknowledged before another was sent comes before it.
fn in_real_time(acknowledged: &BTreeMap<&str, Acknowledged<'_>>) -> Result<(), String> {
    for (name, first) in acknowledged {
        for (other, second) in acknowledged {
            let (Some(at), Some(then)) = (first.done.revision, second.done.revision) else {
                continue;
            };
            ensure!(
                first.told > second.asked || at < then,
                "{name} was acknowledged before {other} was sent, but comes after it"
            );
        }
    }
    Ok(())
}

/// While a task holds a modification, no other task holds it or writes the key.
fn edits_exclude(
    notes: &[Note],
    acknowledged: &BTreeMap<&str, Acknowledged<'_>>,
) -> Result<(), String> {
    let mut edits = Vec::new();
    for note in notes {
        if let Note::Modification { token, from, to } = note {
            edits.push((token, *from, *to));
        }
    }
    for (at, (token, from, to)) in edits.iter().enumerate() {
        for (other, since, until) in &edits[at + 1..] {
            ensure!(
                other.key != token.key || to < since || until < from,
                "two tasks held the modification of {} at once",
                token.key
            );
        }
        for (name, known) in acknowledged {
            let writes = known.set.changes.iter().any(|change| match change {
                Change::Put(put) => put.key == token.key,
                Change::Delete(key) => *key == token.key,
                Change::Conditions(..) => false,
            });
            let others = known.set.under.as_ref() != Some(*token);
            ensure!(
                !(writes && others && *from < known.asked && known.told < *to),
                "{name} wrote {} while another task held its modification",
                token.key
            );
        }
    }
    Ok(())
}

/// While a task holds a lease, no other task does. It ends early only with its entity, and fences
/// rise.
fn leases_exclude(
    notes: &[Note],
    acknowledged: &BTreeMap<&str, Acknowledged<'_>>,
) -> Result<(), String> {
    let mut leases = Vec::new();
    for note in notes {
        let Note::Lease {
            key,
            fence,
            asked,
            from,
            to,
            live,
        } = note
        else {
            continue;
        };
        let deleted = acknowledged.values().any(|known| {
            let mut changes = known.set.changes.iter();
            known.told > *asked && changes.any(|c| matches!(c, Change::Delete(of) if of == key))
        });
        ensure!(*live || deleted, "the lease of {key} ended early");
        leases.push((key, *fence, *asked, *from, if *live { *to } else { *from }));
    }
    for (at, (key, fence, asked, from, to)) in leases.iter().enumerate() {
        for (other, rival, later, since, until) in &leases[at + 1..] {
            if key != other {
                continue;
            }
            ensure!(
                fence != rival,
                "{key} was claimed twice with the fence {fence}"
            );
            ensure!(
                to < since || until < from,
                "two tasks held the lease of {key} at once"
            );
            let in_order = (from > later || fence < rival) && (since > asked || rival < fence);
            ensure!(
                in_order,
                "the fences of {key} do not rise: {fence}, {rival}"
            );
        }
    }
    Ok(())
}
