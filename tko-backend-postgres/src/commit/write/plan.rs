//! The plan of a write: everything that the statement contains, except its text.

use crate::body::PackedBody;
use crate::codes::{micros, signed};
use crate::commit::deletion_intent::DeletionGuard;
use crate::commit::snapshot::{CommitSnapshot, LiveClaim, StoredEntity};
use crate::content::Content;
use crate::row::EntityRow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tko_core::commit::{Staged, Step};
use tko_core::{ChangeSet, Enqueue, Key, Package, Resource, Result, Stage, TemplateId};
use uuid::Uuid;

/// A change set that is staged over rows of the database.
pub(in crate::commit) type StagedSet<'a> = Staged<&'a StoredEntity>;

/// Everything that one statement writes.
pub(in crate::commit) struct WritePlan<'a> {
    pub(super) set: &'a ChangeSet,
    pub(super) staged: &'a StagedSet<'a>,
    pub(super) guard: Option<&'a DeletionGuard>,
    pub(super) claim: Option<LiveClaim>,
    /// The time of the snapshot. Without a snapshot, the statement sets the times.
    pub(super) now: Option<i64>,
    /// For each step, the row to write; `None` removes it.
    pub(super) rows: Vec<Option<EntityRow<'a>>>,
    /// New bodies, with their keys.
    pub(super) bodies: Vec<(i64, PackedBody)>,
    /// Work to enqueue for entities that this set changes.
    pub(super) own: Vec<OwnWork<'a>>,
    /// Work to enqueue for other entities.
    pub(super) others: Vec<&'a Enqueue>,
    /// Assigns revisions in the same transaction, unless a change set with this id or a later one
    /// has none yet.
    pub(super) numbers_from: Option<i64>,
}

/// Work of one stage to enqueue for an entity that the set changes. Merges several requests.
pub(super) struct OwnWork<'a> {
    pub(super) stage: Stage,
    pub(super) key: &'a Key,
    /// The lane of new work.
    pub(super) lane: i16,
    /// The lane of work that is leased now, once it is due again.
    pub(super) again: i16,
    /// The shortest delay in microseconds.
    pub(super) after: i64,
}

impl<'a> WritePlan<'a> {
    /// Plans a write: packs the new bodies, and stores new skeletons.
    pub(in crate::commit) async fn new(
        content: &Content,
        set: &'a ChangeSet,
        staged: &'a StagedSet<'a>,
        snapshot: Option<&CommitSnapshot>,
        guard: Option<&'a DeletionGuard>,
    ) -> Result<Self> {
        let claim = snapshot.and_then(|snapshot| snapshot.claim);
        let leased = leased(claim, set);
        let (own, others) = enqueued(set, staged, leased);
        let mut plan = Self {
            set,
            staged,
            guard,
            claim,
            now: snapshot.map(|snapshot| snapshot.now.0),
            rows: Vec::with_capacity(staged.steps.len()),
            bodies: Vec::new(),
            own,
            others,
            numbers_from: None,
        };
        plan.add_rows(content).await?;
        Ok(plan)
    }

    pub(super) async fn add_rows(&mut self, content: &Content) -> Result<()> {
        let staged = self.staged;
        let resources: Vec<&Arc<Resource>> = staged
            .after()
            .filter_map(|entity| Some(&entity.deployment()?.resource.skeleton))
            .collect();
        let mut skeletons = content.skeletons.numbers(&resources).await?.into_iter();
        let bodies: Vec<(&Package, Option<&TemplateId>)> = staged
            .steps
            .iter()
            .filter_map(|step| {
                let deployment = step.after.as_ref()?.deployment();
                let template = deployment.and_then(|d| d.template.as_ref());
                Some((new_body(step)?, template))
            })
            .collect();
        let mut packed = content.bodies.pack(&bodies).await?.into_iter();
        for step in &staged.steps {
            let Some(entity) = &step.after else {
                self.rows.push(None);
                continue;
            };
            let version = signed(step.version.0);
            let body_at = match (&step.body, step.before) {
                (Some(_), _) => match new_body(step).and_then(|_| packed.next()) {
                    Some(packed) => {
                        self.bodies.push((version, packed));
                        version
                    }
                    None => 0,
                },
                (None, Some(before)) => before.body_at,
                (None, None) => 0,
            };
            let skeleton = entity.deployment().and_then(|_| skeletons.next());
            self.rows
                .push(Some(EntityRow::of(entity, body_at, skeleton)));
        }
        Ok(())
    }

    /// Lets the statement itself give revisions, unless another transaction is numbering, or a
    /// change set from id `low` on waits for a numbering pass (`changes`).
    pub(in crate::commit) fn number_from(&mut self, low: i64) {
        self.numbers_from = Some(low).filter(|_| !self.staged.steps.is_empty());
    }

    /// Whether work of other entities is enqueued, which a numbering pass does.
    pub(in crate::commit) fn enqueues_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// The modification under which the set is committed.
    pub(super) fn modification(&self) -> Option<Uuid> {
        match self.claim {
            Some(LiveClaim::Modification(token)) => Some(token),
            _ => None,
        }
    }

    /// The work whose lease the set is committed under.
    pub(super) fn leased(&self) -> Option<(Stage, &Key)> {
        leased(self.claim, self.set)
    }
}

/// The work that `claim` is a lease of.
pub(super) fn leased(claim: Option<LiveClaim>, set: &ChangeSet) -> Option<(Stage, &Key)> {
    match (claim, &set.under) {
        (Some(LiveClaim::Lease(stage, _)), Some(token)) => Some((stage, &token.key)),
        _ => None,
    }
}

/// Returns the body to store. Empty packages are not stored.
fn new_body<'a>(step: &'a Step<&StoredEntity>) -> Option<&'a Package> {
    step.body.as_ref().filter(|body| !body.is_empty())
}

/// Returns the work to enqueue: for entities that the set writes or the leased work, and for others.
///
/// The work of others is enqueued after the commit, but leased work before its lease is settled.
pub(super) fn enqueued<'a>(
    set: &'a ChangeSet,
    staged: &StagedSet<'_>,
    leased: Option<(Stage, &Key)>,
) -> (Vec<OwnWork<'a>>, Vec<&'a Enqueue>) {
    let written: BTreeSet<&Key> = staged.after().map(|entity| &entity.key).collect();
    let mut own: BTreeMap<(Stage, &Key), OwnWork<'a>> = BTreeMap::new();
    let mut others = Vec::new();
    for enqueue in &set.enqueue {
        let changed = staged.changes(&enqueue.key);
        let is_leased = !changed && leased == Some((enqueue.stage, &enqueue.key));
        if !written.contains(&enqueue.key) && !is_leased {
            if !changed {
                others.push(enqueue);
            }
            continue;
        }
        let after = micros(enqueue.after);
        let lane = i16::from(enqueue.lane.number());
        own.entry((enqueue.stage, &enqueue.key))
            .and_modify(|known| {
                known.after = known.after.min(after);
                known.again = lane;
            })
            .or_insert(OwnWork {
                stage: enqueue.stage,
                key: &enqueue.key,
                lane,
                again: lane,
                after,
            });
    }
    (own.into_values().collect(), others)
}
