//! Preconditions of a change set, judged by what was read.

use super::snapshot::{Right, Snapshot};
use super::staged::Staged;
use crate::work::{Secret, secret};
use tko_core::{Change, ChangeSet, Error, Key, Put, Require, Result, Subject};

/// Judges the token, all requirements, that no change takes what another has, and that no edit
/// excludes one.
///
/// # Errors
/// As `Backend::commit` says them.
pub(crate) fn judge(snapshot: &Snapshot, staged: &Staged<'_>, set: &ChangeSet) -> Result<()> {
    if let (Some(token), Some(right)) = (&set.under, snapshot.right) {
        match right {
            Right::Modification(_) | Right::Lease(..) => {}
            Right::Lapsed => return Err(Error::ClaimExpired(token.key.clone())),
            Right::Unknown => {
                return Err(Error::NotFound(Subject::Claim(token.key.clone())));
            }
        }
    }
    let mut failed = Failed {
        moved: staged.taken.clone(),
        ..Failed::default()
    };
    for require in &set.require {
        failed.judge(snapshot, staged, require);
    }
    failed.result()?;
    match busy(snapshot, set) {
        Some(key) => Err(Error::Busy(key.clone())),
        None => Ok(()),
    }
}

/// What is put or deleted, and under another's edit.
fn busy<'a>(snapshot: &Snapshot, set: &'a ChangeSet) -> Option<&'a Key> {
    let own = set.under.as_ref().map(secret);
    set.changes.iter().find_map(|change| match change {
        Change::Put(Put { key, .. }) | Change::Delete(key) => {
            let (holder, until) = snapshot.rows.get(key)?.edit?;
            (until > snapshot.now && own != Some(Secret::Modification(holder))).then_some(key)
        }
        Change::Conditions(..) => None,
    })
}

/// The keys of requirements that failed, by how.
#[derive(Default)]
struct Failed {
    moved: Vec<Key>,
    missing: Vec<Key>,
    there: Vec<Key>,
}

impl Failed {
    fn judge(&mut self, snapshot: &Snapshot, staged: &Staged<'_>, require: &Require) {
        let key = require.key();
        let entity = snapshot.rows.get(key).map(|found| &*found.entity);
        let usable = entity.filter(|entity| !entity.deleting);
        let failed = match (require, entity, usable) {
            (Require::Absent(_), Some(_), _) => &mut self.there,
            (Require::Exists(_) | Require::Generation(..) | Require::Current(..), _, None)
            | (Require::At(..), None, _) => &mut self.missing,
            (Require::At(_, version) | Require::Current(_, version), Some(entity), _)
                if entity.version != *version =>
            {
                &mut self.moved
            }
            (Require::Generation(_, generation), _, Some(entity))
                if entity.generation != *generation =>
            {
                &mut self.moved
            }
            (Require::Unreferenced(key), ..) if is_referenced(snapshot, staged, key) => {
                &mut self.moved
            }
            _ => return,
        };
        failed.push(key.clone());
    }

    fn result(self) -> Result<()> {
        match (&self.moved[..], &self.missing[..], &self.there[..]) {
            ([], [], []) => Ok(()),
            ([], [missing, ..], []) => Err(Error::not_found(missing)),
            ([], [], [there, ..]) => Err(Error::AlreadyExists(there.clone())),
            _ => {
                let mut all = Vec::new();
                for key in [self.moved, self.missing, self.there].into_iter().flatten() {
                    if !all.contains(&key) {
                        all.push(key);
                    }
                }
                Err(Error::Conflict(all))
            }
        }
    }
}

/// Whether anything names `key` when all changes are written.
fn is_referenced(snapshot: &Snapshot, staged: &Staged<'_>, key: &Key) -> bool {
    let left_alone = |referrer: &Key| !staged.changes(referrer);
    snapshot.referenced.contains(key)
        || staged.after().any(|entity| entity.refers_to(key))
        || snapshot
            .rows
            .values()
            .any(|found| found.entity.refers_to(key) && left_alone(&found.entity.key))
}
