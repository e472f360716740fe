//! Change sets, and the records of the change feed.

mod put;

pub use put::Put;
pub(crate) use put::same_package;

use crate::builder::chainable;
use crate::caller::Cause;
use crate::entity::{Condition, Record};
use crate::id::{DeploymentId, Key};
use crate::revision::{Generation, Revision, Timestamp, Version};
use crate::work::{Enqueue, Outcome, Token};
use serde_json::Value;

/// Maximum number of changes in one change set.
pub const MAX_CHANGES: usize = 1_000;

/// A set of changes that is applied completely or not at all.
///
/// It has at most [`MAX_CHANGES`] changes, and at most one for each key.
///
/// ```
/// use tko_core::{ChangeSet, Enqueue, Lane, Put, Require, SiteId, Stage};
///
/// let site = SiteId::new("india/south-100")?;
/// let set = ChangeSet::new()
///     .require(Require::Absent((&site).into()))
///     .put(Put::new(&site))
///     .enqueue(Enqueue::now(Stage::Schedule, &site, Lane::of(site.as_str())))
///     .cause("registered");
/// assert_eq!(set.changes.len(), 1);
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ChangeSet {
    /// Preconditions, checked in the same transaction.
    pub require: Vec<Require>,
    /// The changes, in the order in which the feed shows them.
    pub changes: Vec<Change>,
    /// Work to enqueue. It becomes claimable as soon as the changes can be read, and not before.
    pub enqueue: Vec<Enqueue>,
    /// The modification or lease that permits the set. A modification permits writing its own
    /// key; a lease must be live.
    pub under: Option<Token>,
    /// How the lease in `under` ends; `None` keeps it. A modification always ends with the commit.
    pub settle: Option<Outcome>,
    /// The new progress of the leased work; JSON null removes it.
    pub progress: Option<Value>,
    /// The reason for the changes, for history and audit.
    pub cause: Option<Cause>,
}

impl ChangeSet {
    /// A set that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a precondition.
    #[must_use]
    pub fn require(mut self, require: Require) -> Self {
        self.require.push(require);
        self
    }

    /// Adds preconditions.
    #[must_use]
    pub fn requirements(mut self, require: impl IntoIterator<Item = Require>) -> Self {
        self.require.extend(require);
        self
    }

    /// Adds a change after those that the set has; the returned versions are in this order.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds the creation or replacement of an entity.
    #[must_use]
    pub fn put(self, put: Put) -> Self {
        self.change(Change::Put(put))
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(self, key: impl Into<Key>) -> Self {
        self.change(Change::Delete(key.into()))
    }

    /// Adds conditions, merged by kind.
    #[must_use]
    pub fn conditions(self, key: impl Into<Key>, conditions: Vec<Condition>) -> Self {
        self.change(Change::Conditions(key.into(), conditions))
    }

    /// Adds pieces of work to enqueue.
    #[must_use]
    pub fn enqueued(mut self, work: impl IntoIterator<Item = Enqueue>) -> Self {
        self.enqueue.extend(work);
        self
    }

    /// Adds work to enqueue.
    #[must_use]
    pub fn enqueue(mut self, work: Enqueue) -> Self {
        self.enqueue.push(work);
        self
    }

    chainable! {
        /// Sets all changes.
        changes: Vec<Change>;
        /// Sets the modification or lease that permits the set.
        under: into Option<Token>;
        /// Sets how the lease ends.
        settle: into Option<Outcome>;
        /// Sets the new progress of the leased work.
        progress: into Option<Value>;
    }

    /// Sets the reason for the changes.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

/// A precondition of a change set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// The entity does not exist, not even as one that is being deleted.
    Absent(Key),
    /// The entity exists and is not being deleted.
    Exists(Key),
    /// The entity has this version: nothing changed since it was read, conditions included.
    At(Key, Version),
    /// The entity has this generation and is not being deleted: its package did not change.
    Generation(Key, Generation),
    /// The entity has this version and is not being deleted.
    ///
    /// This is for entities that are read but not written, such as the template of a new
    /// deployment. A concurrent write of the entity need not wait, and may be ordered after this
    /// set.
    Current(Key, Version),
    /// After the changes of this set no entity names this one as template, site, parent or
    /// placement.
    Unreferenced(Key),
}

impl Require {
    /// The key of the entity that the precondition is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key)
            | Self::Exists(key)
            | Self::At(key, _)
            | Self::Generation(key, _)
            | Self::Current(key, _)
            | Self::Unreferenced(key) => key,
        }
    }
}

/// One change of a change set.
#[derive(Clone, Debug)]
pub enum Change {
    /// Creates or replaces an entity.
    Put(Put),
    /// Deletes an entity with its body and its work; does nothing if it does not exist.
    Delete(Key),
    /// Merges conditions by kind; does nothing if the entity does not exist.
    Conditions(Key, Vec<Condition>),
}

impl Change {
    /// The key of the entity to change.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(put) => &put.key,
            Self::Delete(key) | Self::Conditions(key, _) => key,
        }
    }
}

/// The result of a commit.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Committed {
    /// The revision of the last change; `None` if nothing changed, or if the commit did not wait
    /// for revisions ([`Ack::Durable`]).
    pub revision: Option<Revision>,
    /// The new version of each entity that changed and still exists.
    pub versions: Vec<(Key, Version)>,
    /// The creations that were dropped because their idempotency key is in use, each with the
    /// deployment that has it.
    pub existing: Vec<(Key, DeploymentId)>,
}

impl Committed {
    /// The result of a commit that changed nothing.
    pub fn new() -> Self {
        Self::default()
    }

    chainable! {
        /// Sets the revision of the last change.
        revision: into Option<Revision>;
        /// Sets the new versions.
        versions: Vec<(Key, Version)>;
        /// Sets the dropped creations.
        existing: Vec<(Key, DeploymentId)>;
    }
}

/// When a commit returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The changes survive a crash. Suitable for workers, which need no revision.
    Durable,
    /// The changes also have revisions, so that the caller finds them in every later listing and
    /// watch. Suitable for people and programs.
    Numbered,
}

/// One record of the change feed: one change of one entity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChangeRecord {
    /// The position of this change in the feed.
    pub revision: Revision,
    /// The last revision of the change set; the revisions of a set are contiguous.
    pub set: Revision,
    /// The time of the commit.
    pub at: Timestamp,
    /// The key of the entity that changed.
    pub key: Key,
    /// The entity before the change; `None` if it was created.
    pub before: Option<Record>,
    /// The entity after the change; `None` if it was deleted.
    pub after: Option<Record>,
    /// The reason for the change.
    pub cause: Option<Cause>,
}

impl ChangeRecord {
    /// A change without states and cause.
    pub fn new(revision: Revision, set: Revision, at: Timestamp, key: Key) -> Self {
        Self {
            revision,
            set,
            at,
            key,
            before: None,
            after: None,
            cause: None,
        }
    }

    chainable! {
        /// Sets the entity before the change.
        before: into Option<Record>;
        /// Sets the entity after the change.
        after: into Option<Record>;
        /// Sets the reason for the change.
        cause: into Option<Cause>;
    }
}

/// A person's exclusive right to change one entity's package, for a limited time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Modification {
    /// The proof of the right; committing or cancelling under it ends the modification.
    pub token: Token,
    /// The time at which the modification expires, by the store's clock.
    pub until: Timestamp,
    /// The entity at the start of the modification.
    pub record: Record,
}

impl Modification {
    /// A modification of this record, until this time.
    pub fn new(token: Token, until: Timestamp, record: Record) -> Self {
        Self {
            token,
            until,
            record,
        }
    }
}

/// The extent of the change feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedPosition {
    /// The revision of the newest change; 0 if there is none.
    pub revision: Revision,
    /// The oldest revision after which the feed can be read.
    pub oldest: Revision,
    /// The store's time.
    pub now: Timestamp,
}

impl FeedPosition {
    /// A feed from `oldest` to `revision`.
    pub fn new(revision: Revision, oldest: Revision, now: Timestamp) -> Self {
        Self {
            revision,
            oldest,
            now,
        }
    }
}
