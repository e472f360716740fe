//! The state that the rules need from a backend.

use crate::entity::{Entity, Record};
use crate::id::{DeploymentId, Key};
use crate::revision::Timestamp;
use crate::work::{Outcome, Stage, Token};
use std::marker::PhantomData;
use std::sync::Arc;

/// A row as a backend keeps it: the entity, and anything else that the backend stores with it.
pub trait StoredRow {
    /// The entity of this row.
    fn entity(&self) -> &Entity;
}

impl StoredRow for Entity {
    fn entity(&self) -> &Entity {
        self
    }
}

impl StoredRow for Record {
    fn entity(&self) -> &Entity {
        &self.entity
    }
}

impl<T: StoredRow> StoredRow for Arc<T> {
    fn entity(&self) -> &Entity {
        T::entity(self)
    }
}

impl<T: StoredRow> StoredRow for &T {
    fn entity(&self) -> &Entity {
        T::entity(self)
    }
}

/// One consistent state, as far as a change set depends on it.
///
/// A backend that reads everything beforehand reads the rows of all keys in [`ChangeSet::changes`],
/// [`ChangeSet::require`] and [`ChangeSet::under`]; the rules need nothing else. A backend with all
/// state at hand answers from it directly.
///
/// [`ChangeSet::changes`]: crate::ChangeSet::changes
/// [`ChangeSet::require`]: crate::ChangeSet::require
/// [`ChangeSet::under`]: crate::ChangeSet::under
pub trait Snapshot {
    /// A row, cheap to clone: for example an `Arc` or a reference.
    type Row: StoredRow + Clone;

    /// The row of this key, also if it is being deleted.
    fn row(&self, key: &Key) -> Option<Self::Row>;

    /// The deployment that has this idempotency key, also if it is being deleted.
    fn holder(&self, idempotency_key: &str) -> Option<DeploymentId>;

    /// Whether a row [refers to](Entity::refers_to) this key, not counting the rows for which
    /// `changed` is true. The caller knows their state after the change set.
    fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool;

    /// Whether this token is live.
    fn token(&self, token: &Token) -> TokenState;

    /// Whether this key is under an open modification whose token is not `own`.
    fn is_modified(&self, key: &Key, own: Option<&Token>) -> bool;

    /// The store's time: becomes `created`, `updated`, and the time of conditions.
    fn now(&self) -> Timestamp;
}

/// The right that a live token grants to its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// An exclusive right to change one package.
    Modification,
    /// A lease of one piece of work of this stage.
    Lease(Stage),
}

impl Right {
    /// How a commit under this right ends it. A modification always ends; a lease ends only if the
    /// change set settles it. `None`: the right stays.
    pub fn outcome(self, settle: Option<Outcome>) -> Option<Outcome> {
        match self {
            Self::Modification => Some(Outcome::Done),
            Self::Lease(_) => settle,
        }
    }
}

/// The state of a token in a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Its lease or modification is open.
    Live(Right),
    /// Its modification expired, or it belongs to a lease that is not live.
    ///
    /// A backend recognizes tokens of leases by their form, because it does not remember them.
    Expired,
    /// Its modification was never started, was used, or was cancelled.
    Unknown,
}

/// A snapshot of an empty store at a given time.
///
/// It is for a backend that writes new rows without reading first, and whose write itself checks
/// that they are absent.
#[derive(Debug)]
pub struct EmptySnapshot<R> {
    now: Timestamp,
    row: PhantomData<fn() -> R>,
}

impl<R> EmptySnapshot<R> {
    /// An empty store at this time.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            row: PhantomData,
        }
    }
}

impl<R: StoredRow + Clone> Snapshot for EmptySnapshot<R> {
    type Row = R;

    fn row(&self, _: &Key) -> Option<R> {
        None
    }

    fn holder(&self, _: &str) -> Option<DeploymentId> {
        None
    }

    fn is_referenced(&self, _: &Key, _: &dyn Fn(&Key) -> bool) -> bool {
        false
    }

    fn token(&self, _: &Token) -> TokenState {
        TokenState::Unknown
    }

    fn is_modified(&self, _: &Key, _: Option<&Token>) -> bool {
        false
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
