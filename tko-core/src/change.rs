//! Change sets, and the feed of what they changed.

use crate::entity::{Condition, Entity, Facts, Record};
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::revision::{Generation, Revision, Timestamp, Version};
use crate::work::{Enqueue, Outcome, Token};
use serde_json::Value;
use std::sync::Arc;

/// Most changes in one change set.
pub const MAX_CHANGES: usize = 1_000;

/// All or nothing: at most [`MAX_CHANGES`] changes, each key once.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// Checked in the same instant as the changes are made.
    pub require: Vec<Require>,
    /// In order.
    pub changes: Vec<Change>,
    /// Due no earlier than the changes can be read, and soon after.
    pub enqueue: Vec<Enqueue>,
    /// An edit's token lets its own key be written; a lease's token must be live.
    pub under: Option<Token>,
    /// In the same instant: what becomes of that lease. `None`: it stays; an edit always ends.
    pub settle: Option<Outcome>,
    /// In the same instant: replaces the leased work's progress; JSON null removes it.
    pub progress: Option<Value>,
    /// Who and why, for history and audit.
    pub cause: Option<Arc<str>>,
}

/// A precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// Not there, not even as being deleted.
    Absent(Key),
    /// There, and not being deleted.
    Exists(Key),
    /// As it was read, conditions included.
    At(Key, Version),
    /// Its package is as it was read, and it is not being deleted.
    Generation(Key, Generation),
    /// As it was read, conditions included, and not being deleted. For what is read and not
    /// changed, such as the template of something new: who changes it at the same moment is not
    /// held up, and may be taken for later.
    Current(Key, Version),
    /// After these changes nothing names it as template, site, parent or place.
    Unreferenced(Key),
}

impl Require {
    /// What it is about.
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

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Creates or replaces.
    Put(Put),
    /// Removes the row, its body and its work. No such entity: nothing.
    Delete(Key),
    /// Merges by kind. No such entity: nothing.
    Conditions(Key, Vec<Condition>),
}

impl Change {
    /// What it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(put) => &put.key,
            Self::Delete(key) | Self::Conditions(key, _) => key,
        }
    }
}

/// Creates or replaces one entity. What changes nothing is left out: no version, no revision, no
/// new `updated`. So is the creation of a deployment under a `once` key that is taken
/// ([`Committed::existing`]).
#[derive(Clone, Debug)]
pub struct Put {
    /// Kind and id.
    pub key: Key,
    /// See [`Entity::inherited`].
    pub inherited: Metadata,
    /// See [`Entity::given`].
    pub given: Metadata,
    /// See [`Entity::metadata`].
    pub metadata: Metadata,
    /// What only its kind has.
    pub facts: Facts,
    /// See [`Entity::deleting`].
    pub deleting: bool,
    /// Merged by kind into what is there.
    pub conditions: Vec<Condition>,
    /// `None` keeps what is there; for something new, an empty one.
    pub body: Option<Package>,
}

impl Put {
    /// Puts an entity as it is.
    pub fn of(entity: &Entity) -> Self {
        Self {
            key: entity.key.clone(),
            inherited: entity.inherited.clone(),
            given: entity.given.clone(),
            metadata: entity.metadata.clone(),
            facts: entity.facts.clone(),
            deleting: entity.deleting,
            conditions: Vec::new(),
            body: None,
        }
    }

    /// What this makes of the row; `None` if it changes nothing. The rule of every backend:
    /// `created` and the generation are kept or counted from `before`, conditions merged.
    ///
    /// `body` is the hash of the body after it; `version` and `now` are what the row gets if it
    /// changes.
    pub fn apply(
        self,
        before: Option<&Entity>,
        body: ContentHash,
        version: Version,
        now: Timestamp,
    ) -> Option<Entity> {
        let Some(old) = before else {
            let conditions = Condition::merge(&[], self.conditions, now).unwrap_or_default();
            return Some(Entity {
                key: self.key,
                version,
                generation: Generation(1),
                created: now,
                updated: now,
                deleting: self.deleting,
                inherited: self.inherited,
                given: self.given,
                metadata: self.metadata,
                conditions,
                facts: self.facts,
                body,
            });
        };
        let conditions = Condition::merge(&old.conditions, self.conditions, now);
        let same = conditions.is_none()
            && old.body == body
            && old.deleting == self.deleting
            && old.inherited == self.inherited
            && old.given == self.given
            && old.metadata == self.metadata
            && old.facts == self.facts;
        if same {
            return None;
        }
        let generation = if old.body == body && same_package(&old.facts, &self.facts) {
            old.generation
        } else {
            old.generation.next()
        };
        Some(Entity {
            key: self.key,
            version,
            generation,
            created: old.created,
            updated: now,
            deleting: self.deleting,
            inherited: self.inherited,
            given: self.given,
            metadata: self.metadata,
            conditions: conditions.unwrap_or_else(|| old.conditions.clone()),
            facts: self.facts,
            body,
        })
    }
}

/// Whether two facts stand for the same package, as far as it is not in the body.
pub(crate) fn same_package(one: &Facts, other: &Facts) -> bool {
    match (one, other) {
        (Facts::Deployment(one), Facts::Deployment(other)) => {
            one.resource == other.resource
                && one.prepared == other.prepared
                && one.approved == other.approved
        }
        (Facts::Plugin(one), Facts::Plugin(other)) => one == other,
        _ => true,
    }
}

/// What a commit did.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Of the last change; `None` if nothing changed, or if it was not waited for.
    pub revision: Option<Revision>,
    /// Of what changed and is still there.
    pub versions: Vec<(Key, Version)>,
    /// Creations that were left out, and who has their `once` key.
    pub existing: Vec<(Key, DeploymentId)>,
}

/// What a commit waits for. Workers go on when it is durable; people are told when it is numbered,
/// so that they find it in any watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It will not be lost.
    Durable,
    /// It also has its revisions.
    Numbered,
}

/// An item of the change feed: one change of one entity.
#[derive(Clone, Debug)]
pub struct ChangeRecord {
    /// Its own.
    pub revision: Revision,
    /// The last revision of its change set, which is contiguous.
    pub set: Revision,
    /// When it was committed.
    pub at: Timestamp,
    /// What changed.
    pub key: Key,
    /// `None`: it is new.
    pub before: Option<Record>,
    /// `None`: it is gone.
    pub after: Option<Record>,
    /// Who and why.
    pub cause: Option<Arc<str>>,
}

/// A person's exclusive right to one entity's package.
#[derive(Clone, Debug)]
pub struct Modification {
    /// Ends the edit.
    pub token: Token,
    /// It lapses then.
    pub until: Timestamp,
    /// As it is now.
    pub record: Record,
}

/// Where the feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedPosition {
    /// The last.
    pub revision: Revision,
    /// The feed can be read after this one, or any later.
    pub oldest: Revision,
    /// The store's time.
    pub now: Timestamp,
}
