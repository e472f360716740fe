//! A snapshot that was read beforehand.

use super::snapshot::{Snapshot, StoredRow, TokenState};
use crate::id::{DeploymentId, Key};
use crate::revision::Timestamp;
use crate::work::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that a change set depends on, read before its changes are staged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadSet<R> {
    /// The rows of all keys that the set changes or requires, and any others.
    pub rows: BTreeMap<Key, R>,
    /// The holders of the idempotency keys that the set puts.
    pub holders: BTreeMap<Arc<str>, DeploymentId>,
    /// Keys that a row outside `rows` refers to.
    pub referenced: BTreeSet<Key>,
    /// Keys under an open modification other than the one that permits the set.
    pub modified: BTreeSet<Key>,
    /// The state of the token that permits the set.
    pub token: TokenState,
    /// The store's time.
    pub now: Timestamp,
}

impl<R: StoredRow + Clone> ReadSet<R> {
    /// An empty read set at this time.
    pub fn at(now: Timestamp) -> Self {
        Self {
            rows: BTreeMap::new(),
            holders: BTreeMap::new(),
            referenced: BTreeSet::new(),
            modified: BTreeSet::new(),
            token: TokenState::Unknown,
            now,
        }
    }
}

impl<R: StoredRow + Clone> Snapshot for ReadSet<R> {
    type Row = R;

    fn row(&self, key: &Key) -> Option<R> {
        self.rows.get(key).cloned()
    }

    fn holder(&self, idempotency_key: &str) -> Option<DeploymentId> {
        self.holders.get(idempotency_key).cloned()
    }

    fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool {
        let refers = |row: &R| row.entity().refers_to(key) && !changed(&row.entity().key);
        self.referenced.contains(key) || self.rows.values().any(refers)
    }

    fn token(&self, _: &Token) -> TokenState {
        self.token
    }

    fn is_modified(&self, key: &Key, _: Option<&Token>) -> bool {
        self.modified.contains(key)
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
