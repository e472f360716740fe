//! The state of the reference: rows, feed, work and modifications.

use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::{
    ChangeRecord, Entity, Key, Lane, Package, Record, Revision, Stage, Timestamp, Token, Want, Work,
};

/// The complete state of the reference.
pub(crate) struct ReferenceState {
    pub(super) rows: BTreeMap<Key, ReferenceRow>,
    /// The last `history` changes, oldest first.
    pub(super) feed: Vec<ChangeRecord>,
    /// The revision after which the feed starts: that of the last change that was dropped, if any.
    pub(super) dropped: u64,
    pub(super) history: usize,
    pub(super) work: BTreeMap<(Stage, Key), ReferenceWork>,
    /// The last fence of each stage and key; never removed.
    pub(super) fences: BTreeMap<(Stage, Key), u64>,
    /// Every modification ever started, so that each ended token gets the right error.
    pub(super) edits: Vec<ReferenceModification>,
    /// The lane last served, of each stage.
    pub(super) turn: BTreeMap<Stage, u8>,
    /// The last unique number.
    pub(super) given: u64,
}

/// One entity with its body.
#[derive(Clone)]
pub(super) struct ReferenceRow {
    pub(super) entity: Arc<Entity>,
    pub(super) body: Package,
    pub(super) revision: Revision,
}

impl ReferenceRow {
    pub(super) fn record(&self, want: Want) -> Record {
        Record::new(self.entity.clone())
            .package(want.package.then(|| self.body.clone()))
            .revision(want.revision.then_some(self.revision))
    }
}

impl ReferenceState {
    /// An empty store, whose next change has the revision after this one.
    pub(crate) fn starting_after(revision: Revision, history: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            feed: Vec::new(),
            dropped: revision.0,
            history,
            work: BTreeMap::new(),
            fences: BTreeMap::new(),
            edits: Vec::new(),
            turn: BTreeMap::new(),
            given: 0,
        }
    }

    /// Returns a number that was never returned before.
    pub(super) fn give(&mut self) -> u64 {
        self.given += 1;
        self.given
    }
}

/// A modification, live or ended.
pub(crate) struct ReferenceModification {
    pub(super) token: Token,
    pub(super) until: Timestamp,
    /// Used or cancelled.
    pub(super) ended: bool,
}

/// A piece of work with its bookkeeping.
pub(crate) struct ReferenceWork {
    pub(crate) work: Work,
    /// The token of its lease, live or expired.
    pub(super) token: Option<Token>,
    /// The lane of the last enqueue since the claim, if there was one.
    pub(super) marked: Option<Lane>,
}

/// The validity of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenStanding {
    Live,
    /// An expired modification, or a lease that has ended.
    Late,
    /// An unknown token, or a modification that was used or cancelled.
    Unknown,
}
