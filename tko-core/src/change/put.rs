//! The put of one entity, and the rule that turns it into a row.

use crate::builder::chainable;
use crate::entity::{Condition, Entity, Facts};
use crate::hash::ContentHash;
use crate::id::Key;
use crate::metadata::Metadata;
use crate::package::Package;
use crate::revision::{Generation, Timestamp, Version};

/// Creates or replaces one entity.
///
/// A put that changes nothing is dropped: no version, no revision, no new `updated`. A put that
/// creates a deployment with an idempotency key that is in use is dropped as well, and reported in
/// [`Committed::existing`](super::Committed::existing).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Put {
    /// The kind and id of the entity.
    pub key: Key,
    /// See [`Entity::inherited`].
    pub inherited: Metadata,
    /// See [`Entity::given`].
    pub given: Metadata,
    /// See [`Entity::metadata`].
    pub metadata: Metadata,
    /// The facts that only entities of this kind have.
    pub facts: Facts,
    /// See [`Entity::deleting`].
    pub deleting: bool,
    /// Whether the put is allowed while someone else modifies the entity.
    ///
    /// For changes that leave the package alone, such as a new placement: a modification is the
    /// exclusive right to the package. The put must require the version that was read, because it
    /// replaces the whole row.
    pub beside_modification: bool,
    /// Conditions to merge by kind into the current ones.
    pub conditions: Vec<Condition>,
    /// The new body; `None` keeps the current one, and gives a new entity an empty one.
    pub body: Option<Package>,
}

impl Put {
    /// An entity with the [empty facts](Facts::empty) of its kind, without metadata, and without a
    /// new body.
    pub fn new(key: impl Into<Key>) -> Self {
        let key = key.into();
        let facts = Facts::empty(key.kind());
        Self {
            key,
            inherited: Metadata::default(),
            given: Metadata::default(),
            metadata: Metadata::default(),
            facts,
            deleting: false,
            beside_modification: false,
            conditions: Vec::new(),
            body: None,
        }
    }

    /// An existing entity, unchanged: a starting point for changing some of its fields.
    pub fn of(entity: &Entity) -> Self {
        Self {
            key: entity.key.clone(),
            inherited: entity.inherited.clone(),
            given: entity.given.clone(),
            metadata: entity.metadata.clone(),
            facts: entity.facts.clone(),
            deleting: entity.deleting,
            beside_modification: false,
            conditions: Vec::new(),
            body: None,
        }
    }

    chainable! {
        /// Sets the inherited metadata.
        inherited: into Metadata;
        /// Sets the metadata given out of band.
        given: into Metadata;
        /// Sets the metadata that selections see.
        metadata: into Metadata;
        /// Sets the facts.
        facts: into Facts;
        /// Sets whether the entity is being deleted.
        deleting: bool;
        /// Sets whether the put is allowed while someone else modifies the entity.
        beside_modification: bool;
        /// Sets the conditions to merge.
        conditions: Vec<Condition>;
        /// Sets the new body.
        body: into Option<Package>;
    }

    /// Computes the row after this put, or `None` if it changes nothing.
    ///
    /// Every backend applies puts by this rule. `created` is kept, conditions are merged by kind,
    /// and the generation rises if the package changes.
    ///
    /// `body` is the hash of the body after the put. `version` and `now` are stored in the row if
    /// it changes.
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

/// Whether two facts describe the same package, apart from the body.
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
