//! The state of the reference: rows, feed, work and modifications.

use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::{
    ChangeRecord, Entity, Key, Lane, Package, Record, Revision, Stage, Timestamp, Token, Want, Work,
};

/// Everything that there is.
pub(crate) struct ReferenceState {
    pub(super) rows: BTreeMap<Key, ReferenceRow>,
    /// The last `history` changes, oldest first.
    pub(super) feed: Vec<ChangeRecord>,
    /// How many changes were dropped from the feed: the revision of the last of them.
    pub(super) dropped: u64,
    pub(super) history: usize,
    pub(super) work: BTreeMap<(Stage, Key), ReferenceWork>,
    /// The last fence of each, for ever.
    pub(super) fences: BTreeMap<(Stage, Key), u64>,
    /// Every edit that was ever made, for ever: so each dead token is told what it died of.
    pub(super) edits: Vec<ReferenceModification>,
    /// The lane that was last served, of each stage.
    pub(super) turn: BTreeMap<Stage, u8>,
    /// Numbers that are given once.
    pub(super) given: u64,
}

/// One entity.
#[derive(Clone)]
pub(super) struct ReferenceRow {
    pub(super) entity: Arc<Entity>,
    pub(super) body: Package,
    pub(super) revision: Revision,
}

impl ReferenceRow {
    pub(super) fn record(&self, want: Want) -> Record {
        Record {
            entity: self.entity.clone(),
            package: want.package.then(|| self.body.clone()),
            revision: want.revision.then_some(self.revision),
            work: Vec::new(),
        }
    }
}

impl ReferenceState {
    pub(crate) fn new(history: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            feed: Vec::new(),
            dropped: 0,
            history,
            work: BTreeMap::new(),
            fences: BTreeMap::new(),
            edits: Vec::new(),
            turn: BTreeMap::new(),
            given: 0,
        }
    }

    /// A number that was never given before.
    pub(super) fn give(&mut self) -> u64 {
        self.given += 1;
        self.given
    }
}

/// An edit, live or not.
pub(crate) struct ReferenceModification {
    pub(super) token: Token,
    pub(super) until: Timestamp,
    /// Used or given up.
    pub(super) ended: bool,
}

/// Work, and what else a backend must know of it.
pub(crate) struct ReferenceWork {
    pub(crate) work: Work,
    /// Of its lease, lapsed or not.
    pub(super) token: Option<Token>,
    /// The lane of the last mark since it was claimed, if there was one.
    pub(super) marked: Option<Lane>,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenStanding {
    Live,
    /// An edit that has lapsed, or a lease that is not live any more.
    Late,
    /// An edit that was never made, was used, or given up.
    Unknown,
}
