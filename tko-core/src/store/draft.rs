//! A change set in the making: changes, what they need, and what they make due.

use crate::change::{Change, ChangeSet, Put, Require};
use crate::entity::{Condition, Entity, Record};
use crate::hash::ContentHash;
use crate::id::Key;
use crate::metadata::{Metadata, RESERVED};
use crate::package::Package;
use crate::revision::{Timestamp, Version};
use crate::triggers;
use crate::work::Enqueue;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Draft {
    pub(super) set: ChangeSet,
    /// Templates read for this set, if they are there: a thousand creations read theirs once.
    pub(super) templates: HashMap<Key, Option<Record>>,
    /// Whether templates may be as they are remembered, and whether one of them is.
    pub(super) may_remember: bool,
    pub(super) remembered: bool,
    /// Templates that must stay as they were read.
    pinned: HashSet<Key>,
    /// Relations that are required once, however many changes name them.
    required: HashSet<Key>,
}

impl Draft {
    pub(super) fn because(cause: &str) -> Self {
        Self {
            set: ChangeSet {
                cause: Some(Arc::from(cause)),
                ..ChangeSet::default()
            },
            ..Self::default()
        }
    }

    pub(super) fn require(&mut self, require: Require) {
        self.set.require.push(require);
    }

    /// Requires that a template stays as it was read.
    pub(super) fn pin(&mut self, template: Key, version: Version) {
        if self.pinned.insert(template.clone()) {
            self.require(Require::Current(template, version));
        }
    }

    /// Requires that something that is referred to is there.
    pub(super) fn refer(&mut self, key: Key) {
        if self.required.insert(key.clone()) {
            self.set.require.push(Require::Exists(key));
        }
    }

    /// Adds a put and what it makes due.
    pub(super) fn put(&mut self, before: Option<&Entity>, put: Put) {
        let body = match (&put.body, before) {
            (Some(body), _) => body.hash(),
            (None, Some(entity)) => entity.body,
            (None, None) => empty_body(),
        };
        // Only what comes out counts here; the backend says when, and which version.
        let preview = put
            .clone()
            .apply(before, body, Version::default(), Timestamp::default());
        if let Some(after) = preview {
            self.set
                .enqueue
                .extend(triggers::triggered(before, Some(&after)));
        }
        self.set.changes.push(Change::Put(put));
    }

    /// Adds a deletion and what it makes due.
    pub(super) fn delete(&mut self, before: &Entity) {
        self.set
            .enqueue
            .extend(triggers::triggered(Some(before), None));
        self.set.changes.push(Change::Delete(before.key.clone()));
    }

    pub(super) fn mark(&mut self, mark: Enqueue) {
        self.set.enqueue.push(mark);
    }

    pub(super) fn into_set(self) -> ChangeSet {
        self.set
    }
}

fn empty_body() -> ContentHash {
    Package::default().hash()
}

/// What selections see: the template's metadata, overlaid with what the package gives, overlaid
/// with what was given.
pub(super) fn metadata(inherited: &Metadata, package: &Package, given: &Metadata) -> Metadata {
    inherited
        .overlaid(&Metadata::gather(package))
        .overlaid(given)
}

/// What the condition `Approved` says after this change, if there is one that says otherwise:
/// whoever wrote it does not hear of approvals.
pub(super) fn told(entity: &Entity, approved: bool) -> Vec<Condition> {
    let outdated = entity
        .condition("Approved")
        .is_some_and(|condition| condition.status != Some(approved));
    if !outdated {
        return Vec::new();
    }
    let (reason, message) = if approved {
        ("Approved", "approved")
    } else {
        (
            "NotApproved",
            "not approved any more: the approval was taken away, or it is prepared again first",
        )
    };
    let generation = entity.generation.next();
    vec![Condition::new(
        "Approved", approved, reason, message, generation,
    )]
}

/// A template's metadata without TKO's own.
pub(super) fn inheritable(template: &Entity) -> Metadata {
    let mut metadata = template.metadata.clone();
    metadata.retain(|key, _| !key.starts_with(RESERVED));
    metadata
}
