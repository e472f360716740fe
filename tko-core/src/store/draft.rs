//! A change set in preparation: changes, their preconditions, and the work to enqueue.
//!
//! Operations add puts and deletions through [`ChangeDraft`], which derives the work to enqueue
//! from each by [`triggers`]. So a change and the work that it triggers are committed together.
//!
//! The module also has the rules for metadata and for the conditions `Approved` and `Prepared` that
//! several operations share.

use crate::change::{Change, ChangeSet, Put, Require, same_package};
use crate::entity::{APPROVED, Condition, DELETING, Entity, Facts, PREPARED, Record};
use crate::error::Result;
use crate::hash::ContentHash;
use crate::id::Key;
use crate::metadata::{Metadata, PRIVATE, PROVENANCE, RESERVED};
use crate::package::Package;
use crate::revision::{Generation, Timestamp, Version};
use crate::triggers;
use crate::work::{Enqueue, Stage};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// A change set in preparation, with everything read and required for it so far.
#[derive(Default)]
pub(super) struct ChangeDraft {
    /// The set so far.
    pub(super) set: ChangeSet,
    /// Templates that were read for this set: a thousand creations read theirs once.
    pub(super) templates: HashMap<Key, Option<Record>>,
    /// Whether cached templates may be used. False unless an operation permits it.
    pub(super) may_remember: bool,
    /// Whether a cached template was used: a refusal may then be based on an outdated template.
    pub(super) remembered: bool,
    /// Templates that must not have changed since they were read.
    pinned: HashSet<Key>,
    /// Relations that are already required: each is required once, even if many changes name it.
    required: HashSet<Key>,
}

impl ChangeDraft {
    /// An empty draft. `cause` is one word for history and audit, such as `created`.
    pub(super) fn because(cause: &str) -> Self {
        Self {
            set: ChangeSet {
                cause: Some(cause.into()),
                ..ChangeSet::default()
            },
            ..Self::default()
        }
    }

    /// Adds a precondition.
    pub(super) fn require(&mut self, require: Require) {
        self.set.require.push(require);
    }

    /// Requires that a template has not changed since it was read, and is not being deleted. Later
    /// calls for the same template do nothing.
    pub(super) fn pin(&mut self, template: Key, version: Version) {
        if self.pinned.insert(template.clone()) {
            self.require(Require::Current(template, version));
        }
    }

    /// Requires that a referenced entity exists and is not being deleted.
    pub(super) fn refer(&mut self, key: Key) {
        if self.required.insert(key.clone()) {
            self.set.require.push(Require::Exists(key));
        }
    }

    /// Adds a put, and the work that it triggers. `before` is the row as it was read; `None`
    /// creates the entity.
    ///
    /// The resulting row is computed by the same rule as in the backend. A put that changes nothing
    /// triggers no work. Returns the generation of the resulting row; `None` if nothing changes.
    pub(super) fn put(&mut self, before: Option<&Entity>, put: Put) -> Option<Generation> {
        let body = match (&put.body, before) {
            (Some(body), _) => body.hash(),
            (None, Some(entity)) => entity.body,
            (None, None) => empty_body(),
        };
        // Only the resulting facts matter here; the backend sets time and version.
        let preview = put
            .clone()
            .apply(before, body, Version::default(), Timestamp::default());
        if let Some(after) = &preview {
            self.set
                .enqueue
                .extend(triggers::triggered(before, Some(after)));
        }
        self.set.changes.push(Change::Put(put));
        preview.map(|after| after.generation)
    }

    /// Adds a deletion, and the work that it triggers. `before` is the row as it was read.
    pub(super) fn delete(&mut self, before: &Entity) {
        self.set
            .enqueue
            .extend(triggers::triggered(Some(before), None));
        self.set.changes.push(Change::Delete(before.key.clone()));
    }

    /// Marks an entity as `deleting`, and adds the work that this triggers. The condition keeps the
    /// time of the request, because later changes of the row set `updated`.
    pub(super) fn mark_deleting(&mut self, entity: &Entity) {
        let (reason, message) = ("Requested", "its deletion was requested");
        let condition = Condition::new(DELETING, true, reason, message, entity.generation);
        let put = Put::of(entity).deleting(true).conditions(vec![condition]);
        self.put(Some(entity), put);
    }

    /// Adds work that no change triggers by itself, such as finishing a deletion.
    pub(super) fn mark(&mut self, mark: Enqueue) {
        self.set.enqueue.push(mark);
    }

    /// The finished set. Work that several changes enqueue is in it once, at its earliest time.
    pub(super) fn into_set(self) -> ChangeSet {
        let mut set = self.set;
        let mut known: HashMap<(Stage, Key), usize> = HashMap::new();
        let mut enqueue: Vec<Enqueue> = Vec::with_capacity(set.enqueue.len());
        for mark in set.enqueue {
            match known.entry((mark.stage, mark.key.clone())) {
                Entry::Occupied(at) => {
                    let first = &mut enqueue[*at.get()];
                    first.after = first.after.min(mark.after);
                }
                Entry::Vacant(place) => {
                    place.insert(enqueue.len());
                    enqueue.push(mark);
                }
            }
        }
        set.enqueue = enqueue;
        set
    }
}

/// The hash of the body that a backend stores for a new entity without a body.
fn empty_body() -> ContentHash {
    Package::default().hash()
}

/// The metadata that selections see: the template's, overlaid with the package's, overlaid with the
/// given, apart from [private](PRIVATE) keys.
///
/// # Errors
/// As [`Metadata::gather`].
pub(super) fn metadata(
    inherited: &Metadata,
    package: &Package,
    given: &Metadata,
) -> Result<Metadata> {
    let metadata = inherited.overlaid(&Metadata::gather(package)?);
    if given.keys().any(|key| key.starts_with(PRIVATE)) {
        let mut public = given.clone();
        public.retain(|key, _| !key.starts_with(PRIVATE));
        return Ok(metadata.overlaid(&public));
    }
    Ok(metadata.overlaid(given))
}

/// The given metadata of a registration. [Private](PRIVATE) keys survive the registration by an
/// interface that does not know them.
pub(super) fn keep_private(before: Option<&Record>, given: &Metadata) -> Metadata {
    let is_private = |key: &str| key.starts_with(PRIVATE);
    let Some(before) = before.filter(|_| !given.keys().any(is_private)) else {
        return given.clone();
    };
    let mut kept = before.entity.given.clone();
    kept.retain(|key, _| is_private(key));
    given.overlaid(&kept)
}

/// The new `Approved` condition, if the entity has one that contradicts the approval: the writer of
/// the condition is not notified of approvals.
///
/// Returns at most one condition. It describes the next generation, because a changed approval
/// changes the package.
pub(super) fn approval_condition(entity: &Entity, approved: bool) -> Vec<Condition> {
    let outdated = entity
        .condition(APPROVED)
        .is_some_and(|condition| condition.status != Some(approved));
    if !outdated {
        return Vec::new();
    }
    let (reason, message) = if approved {
        ("Approved", "approved")
    } else {
        (
            "NotApproved",
            "no longer approved: the approval was withdrawn, or the deployment must be prepared again",
        )
    };
    let generation = entity.generation.next();
    vec![Condition::new(
        APPROVED, approved, reason, message, generation,
    )]
}

/// The new `Prepared` condition of a deployment that its new package marks as prepared, if it has one
/// that contradicts the mark. No preparer is called for such a package.
///
/// It describes the next generation, because a changed mark changes the package.
pub(super) fn prepared_condition(entity: &Entity, prepared: bool) -> Option<Condition> {
    let is_marked = prepared && !entity.deployment()?.prepared;
    if !is_marked || entity.condition(PREPARED)?.status == Some(true) {
        return None;
    }
    let message = "marked as prepared by an edit of the package";
    let generation = entity.generation.next();
    Some(Condition::new(
        PREPARED, true, "Marked", message, generation,
    ))
}

/// The conditions that stay true under a new package of a prepared deployment, updated to the next
/// generation.
///
/// Such a package is not prepared again, so without this, tools would wait for ever for conditions
/// of its generation. Empty if the package does not change, or is to be prepared.
pub(super) fn observed_again(entity: &Entity, put: &Put) -> Vec<Condition> {
    let Facts::Deployment(new) = &put.facts else {
        return Vec::new();
    };
    let body = put.body.as_ref().map_or(entity.body, Package::hash);
    if !new.prepared || (body == entity.body && same_package(&entity.facts, &put.facts)) {
        return Vec::new();
    }
    let holds = |condition: &&Condition| match condition.kind.as_str() {
        PREPARED => condition.status == Some(true),
        APPROVED => condition.status == Some(true) && new.approved,
        _ => false,
    };
    let observed = entity.generation.next();
    let all = entity.conditions.iter().filter(holds);
    all.map(|condition| Condition {
        observed,
        ..condition.clone()
    })
    .collect()
}

/// A template's metadata without the reserved keys, and those of its provenance: what sites and
/// deployments inherit from it.
pub(super) fn inheritable(template: &Entity) -> Metadata {
    let mut metadata = template.metadata.clone();
    metadata.retain(|key, _| {
        !key.starts_with(RESERVED) && !PROVENANCE.iter().any(|prefix| key.starts_with(prefix))
    });
    metadata
}
