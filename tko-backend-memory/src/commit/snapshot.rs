//! The state under the lock, as the commit rules of `tko-core` read it.

use crate::index::{Facet, Posting};
use crate::modifications::ModificationState;
use crate::queue::is_lease;
use crate::state::State;
use crate::table::Row;
use tko_core::commit::{Right, Snapshot, StoredRow, TokenState};
use tko_core::{DeploymentId, Entity, Key, Kind, Timestamp, Token};

/// The whole state at one instant.
pub(super) struct StateSnapshot<'a> {
    pub(super) state: &'a State,
    pub(super) now: Timestamp,
}

impl StoredRow for Row {
    fn entity(&self) -> &Entity {
        &self.entity
    }
}

impl Snapshot for StateSnapshot<'_> {
    type Row = Row;

    fn row(&self, key: &Key) -> Option<Row> {
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
        match self.state.modifications.state(token, self.now) {
            ModificationState::Open => TokenState::Live(Right::Modification),
            ModificationState::Expired => TokenState::Expired,
            ModificationState::Unknown if is_lease(token) => TokenState::Expired,
            ModificationState::Unknown => TokenState::Unknown,
        }
    }

    fn is_modified(&self, key: &Key, own: Option<&Token>) -> bool {
        self.state.modifications.excludes(key, own, self.now)
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
