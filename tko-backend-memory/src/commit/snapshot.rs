//! The state under the lock, as the commit rules of `tko-core` read it.

use crate::index::Facet;
use crate::posting::Posting;
use crate::state::MemoryState;
use crate::table::MemoryRow;
use crate::work::is_lease;
use tko_core::commit::{Right, Snapshot, StoredRow, TokenState};
use tko_core::{DeploymentId, Entity, Key, Kind, Timestamp, Token};

/// The whole state, at a given time.
pub(super) struct StateSnapshot<'a> {
    pub(super) state: &'a MemoryState,
    pub(super) now: Timestamp,
}

impl StoredRow for MemoryRow {
    fn entity(&self) -> &Entity {
        &self.entity
    }
}

impl Snapshot for StateSnapshot<'_> {
    type Row = MemoryRow;

    fn row(&self, key: &Key) -> Option<MemoryRow> {
        self.state.row(key).cloned()
    }

    fn holder(&self, idempotency_key: &str) -> Option<DeploymentId> {
        self.state.holders.get(idempotency_key).cloned()
    }

    fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool {
        let facets: &[(Kind, Facet)] = match key {
            Key::Template(_) => &[
                (Kind::Site, Facet::Template),
                (Kind::Deployment, Facet::Template),
            ],
            Key::Site(_) => &[
                (Kind::Deployment, Facet::Site),
                (Kind::Deployment, Facet::Place),
            ],
            Key::Deployment(_) => &[(Kind::Deployment, Facet::Parent)],
            Key::Plugin(_) => &[],
        };
        facets
            .iter()
            .filter_map(|(kind, facet)| self.state.of(*kind).index.of(*facet).exactly(key.id()))
            .flat_map(Posting::keys)
            .any(|referrer| !changed(referrer))
    }

    fn token(&self, token: &Token) -> TokenState {
        if let Some(stage) = self.state.leased(token, self.now) {
            return TokenState::Live(Right::Lease(stage));
        }
        if is_lease(token) {
            return TokenState::Expired;
        }
        self.state.modifications.state(token, self.now).into()
    }

    fn is_modified(&self, key: &Key, own: Option<&Token>) -> bool {
        self.state.modifications.excludes(key, own, self.now)
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
