//! Preconditions: whether a staged change set may be written, and which error wins if not.
//!
//! Preconditions are about the state before the change set. Only `Require::Unreferenced` is about
//! the state after it, so that one set can clear the last references and delete their target.
//!
//! The order of the checks is part of the contract: every backend gives the same error for the same
//! set. All preconditions are checked before one error is chosen, so a `Conflict` names every key.
//! `judge` reads and decides only; it ends no token and writes no row.

use super::snapshot::{Right, Snapshot, StoredRow, TokenState};
use super::staged::Staged;
use crate::change::Require;
use crate::error::{Error, Result, Subject};
use crate::id::Key;
use crate::work::Token;

/// Decides whether a staged change set may be written. Returns the right that `under` proves.
/// `Ok(None)` means that the set has no token and may be written without one.
///
/// The first error of this list wins:
///
/// 1. The token in `under` is not live.
/// 2. A precondition failed, or an existing row would take an idempotency key of another.
/// 3. A put or delete, even without effect, is excluded by a modification of someone else. Puts
///    that are [allowed beside it](crate::Put::beside_modification) are not.
///
/// # Errors
/// - `ClaimExpired`: `under` expired, or is a lease that is not live.
/// - `NotFound` (of the claim): `under` was never issued, was used, or was cancelled.
/// - `NotFound`: only preconditions failed that require an entity to exist; names the first key.
/// - `AlreadyExists`: only preconditions failed that require an entity to be absent; names the
///   first key.
/// - `Conflict`: any other failure; names every key with a failed precondition.
/// - `Busy`: someone else has an open modification; names the first key in the order of changes.
pub fn judge<S: Snapshot>(
    snapshot: &S,
    staged: &Staged<S::Row>,
    require: &[Require],
    under: Option<&Token>,
) -> Result<Option<Right>> {
    let right = under
        .map(|token| match snapshot.token(token) {
            TokenState::Live(right) => Ok(right),
            TokenState::Expired => Err(Error::ClaimExpired(token.key.clone())),
            TokenState::Unknown => Err(Error::NotFound(Subject::Claim(token.key.clone()))),
        })
        .transpose()?;
    let mut failed = FailedPreconditions {
        moved: staged.taken.clone(),
        ..FailedPreconditions::default()
    };
    for require in require {
        failed.judge(snapshot, staged, require);
    }
    failed.result()?;
    match modified_by_other(snapshot, staged, under) {
        Some(key) => Err(Error::Busy(key.clone())),
        None => Ok(right),
    }
}

/// The first key in the order of changes that a modification of someone else excludes.
///
/// Conditions do not count, nor do puts that are allowed beside a modification. So workers can
/// report conditions and placements while a person modifies a package. The modification that
/// `own` proves excludes nothing.
fn modified_by_other<'a, S: Snapshot>(
    snapshot: &S,
    staged: &'a Staged<S::Row>,
    own: Option<&Token>,
) -> Option<&'a Key> {
    let is_modified = |key: &Key| snapshot.is_modified(key, own);
    let written = staged
        .steps
        .iter()
        .filter(|step| step.is_exclusive)
        .map(|step| (step.index, step.key()))
        .find(|(_, key)| is_modified(key));
    let unchanged = staged
        .unchanged
        .iter()
        .map(|(index, key)| (*index, key))
        .find(|(_, key)| is_modified(key));
    let first = [written, unchanged].into_iter().flatten();
    first.min_by_key(|(index, _)| *index).map(|(_, key)| key)
}

/// Keys whose preconditions failed, by kind of failure.
///
/// The kind decides the error; see `result`.
#[derive(Default)]
struct FailedPreconditions {
    /// Keys in another state than required: another version or generation, still referenced, or
    /// with an idempotency key of another deployment.
    moved: Vec<Key>,
    /// Keys that should exist but do not, or that are being deleted although the precondition
    /// excludes that.
    missing: Vec<Key>,
    /// Keys that should be absent but exist.
    present: Vec<Key>,
}

impl FailedPreconditions {
    /// Checks one precondition, and records its key if it failed.
    ///
    /// A row that is being deleted satisfies `Require::At` and violates `Require::Absent`. For all
    /// others that read a row, it counts as missing. `Require::Unreferenced` reads no row of its
    /// key.
    fn judge<S: Snapshot>(&mut self, snapshot: &S, staged: &Staged<S::Row>, require: &Require) {
        let key = require.key();
        let row = match require {
            Require::Unreferenced(_) => None,
            _ => snapshot.row(key),
        };
        let entity = row.as_ref().map(StoredRow::entity);
        let usable = entity.filter(|entity| !entity.deleting);
        let failed = match (require, entity, usable) {
            (Require::Absent(_), Some(_), _) => &mut self.present,
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

    /// The error for all failures together, or `Ok` if there are none.
    ///
    /// If every failure is of one kind, missing or present, the error names the first key only. Any
    /// other combination is a `Conflict` of all keys, each once: moved, then missing, then present.
    fn result(self) -> Result<()> {
        match (&self.moved[..], &self.missing[..], &self.present[..]) {
            ([], [], []) => Ok(()),
            ([], [missing, ..], []) => Err(Error::not_found(missing)),
            ([], [], [present, ..]) => Err(Error::AlreadyExists(present.clone())),
            _ => {
                let mut all = Vec::new();
                for key in [self.moved, self.missing, self.present]
                    .into_iter()
                    .flatten()
                {
                    if !all.contains(&key) {
                        all.push(key);
                    }
                }
                Err(Error::Conflict(all))
            }
        }
    }
}

/// Whether any row refers to this key once all steps are written.
///
/// Rows that a step writes are examined in their new state; for all others, the snapshot decides.
fn is_referenced<S: Snapshot>(snapshot: &S, staged: &Staged<S::Row>, key: &Key) -> bool {
    staged.after().any(|entity| entity.refers_to(key))
        || snapshot.is_referenced(key, &|other| staged.changes(other))
}
