//! Commit rules: the part of [`Backend::commit`](crate::Backend::commit) that every backend shares.
//!
//! A backend reads rows, and writes rows. Everything between the two is decided here, by pure
//! functions over a [`Snapshot`] of the rows that were read:
//!
//! 1. [`check`] refuses a malformed change set. It needs no state.
//! 2. [`Staged::new`] computes the steps to write: the new row of each key, merged conditions,
//!    generations, and the holder of each idempotency key. Changes without effect produce no step.
//! 3. [`judge`] checks the token, the preconditions, and modifications held by others. It decides
//!    which error wins when several apply.
//! 4. The backend writes [`Staged::steps`], and records [`Staged::holders`] if it keeps an index of
//!    idempotency keys. The token in [`ChangeSet::under`] ends as [`Right::outcome`] says.
//!
//! Steps 2 to 4 must see one consistent state. They run under a lock or in a serializable
//! transaction, or write only if the rows that were read still have their versions.
//!
//! [`WorkItem`] holds the rules of queued work: enqueueing, leases, attempts and outcomes.
//! [`Modifications`] holds those of exclusive rights, for backends that keep them in memory.
//!
//! Nothing here reads a clock, copies a package, or performs I/O. The reference backend of
//! `tko-conformance` implements the same contract independently, so a fault in these rules does not
//! go unnoticed.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use tko_core::commit::{Snapshot, Staged, TokenState, check, judge};
//! use tko_core::{
//!     ChangeSet, DeploymentId, Entity, Key, Kind, Put, Require, Timestamp, Token, Version,
//! };
//!
//! /// A backend's state: here only rows, without modifications and leases.
//! #[derive(Default)]
//! struct Rows(BTreeMap<Key, Arc<Entity>>);
//!
//! impl Snapshot for Rows {
//!     type Row = Arc<Entity>;
//!
//!     fn row(&self, key: &Key) -> Option<Self::Row> {
//!         self.0.get(key).cloned()
//!     }
//!     fn holder(&self, idempotency_key: &str) -> Option<DeploymentId> {
//!         self.0.values().find_map(|row| {
//!             let held = row.deployment()?.idempotency_key.as_deref() == Some(idempotency_key);
//!             row.key.deployment().filter(|_| held).cloned()
//!         })
//!     }
//!     fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool {
//!         self.0.values().any(|row| row.refers_to(key) && !changed(&row.key))
//!     }
//!     fn token(&self, _: &Token) -> TokenState {
//!         TokenState::Unknown
//!     }
//!     fn is_modified(&self, _: &Key, _: Option<&Token>) -> bool {
//!         false
//!     }
//!     fn now(&self) -> Timestamp {
//!         Timestamp(1)
//!     }
//! }
//!
//! let mut rows = Rows::default();
//! let key = Key::new(Kind::Template, "nf/upf:v1")?;
//! let mut set = ChangeSet::new()
//!     .require(Require::Absent(key.clone()))
//!     .put(Put::new(&key));
//!
//! check(&set)?;
//! let changes = std::mem::take(&mut set.changes);
//! let staged = Staged::new(&rows, changes, |index| Version(1 + index as u64));
//! judge(&rows, &staged, &set.require, set.under.as_ref())?;
//! let committed = staged.committed();
//! for step in staged.steps {
//!     match step.after {
//!         Some(entity) => drop(rows.0.insert(entity.key.clone(), Arc::new(entity))),
//!         None => drop(rows.0.remove(step.key())),
//!     }
//! }
//! assert_eq!(committed.versions, [(key.clone(), Version(1))]);
//! assert!(rows.0.contains_key(&key));
//! # Ok::<(), tko_core::Error>(())
//! ```

mod modifications;
mod preconditions;
mod read_set;
mod snapshot;
mod staged;
#[cfg(test)]
mod tests;
mod work_item;

pub use modifications::{ModificationState, Modifications};
pub use preconditions::judge;
pub use read_set::ReadSet;
pub use snapshot::{EmptySnapshot, Right, Snapshot, StoredRow, TokenState};
pub use staged::{Staged, Step};
pub use work_item::{WorkItem, WorkLease};

use crate::change::{ChangeSet, MAX_CHANGES};
use crate::error::{Error, Result};
use crate::work::MAX_PROGRESS;
use std::collections::HashSet;

/// Refuses a malformed change set, without reading any state.
///
/// # Errors
/// - `BadArgument`: more than [`MAX_CHANGES`] changes, two changes of one key, or progress of more
///   than [`MAX_PROGRESS`] bytes as JSON.
pub fn check(set: &ChangeSet) -> Result<()> {
    if set.changes.len() > MAX_CHANGES {
        return Err(Error::bad(
            "change set",
            format!(
                "it has {} changes; at most {MAX_CHANGES} are allowed: commit it in parts",
                set.changes.len()
            ),
        ));
    }
    let mut keys = HashSet::with_capacity(set.changes.len());
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
