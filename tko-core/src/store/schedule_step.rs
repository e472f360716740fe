//! A schedule step: the placements, and the conditions of the site and its deployments.
//!
//! The step is committed in atomic chunks under the claim, which the last chunk settles. A
//! deployment that is being deleted is removed when it is reported as removed from its site; so is
//! the site.
//!
//! The order of a step:
//!
//! 1. The reports are merged, one for each entity, and split into chunks in the order of the keys.
//! 2. Each chunk is committed. It also deletes the deployments that are being deleted and are now
//!    off the site, in the same set. If that is refused, for example because a deployment has
//!    children, the chunk only records the removal and enqueues the deletion of these deployments.
//! 3. If the site itself is being deleted and the scheduler is done with it, the site is removed.
//!
//! A step that fails midway keeps the chunks before. A report that is already recorded changes
//! nothing when it is repeated, except that it enqueues a deletion that was interrupted.
//!
//! A deployment is placed on one site at a time. A placement on a second site is refused until the
//! first site has reported the removal.
//!
//! The step also records [schedulers](crate::SiteScheduler) with the site, and forgets others. Like
//! conditions, this schedules no site.

use super::draft::ChangeDraft;
use super::{CHUNK, Store, TRIES};
use crate::api::ScheduleStep;
use crate::backend::Backend;
use crate::change::{Ack, Change, Put, Require};
use crate::entity::{Condition, Deployment, Entity, Facts, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{Key, SiteId};
use crate::limits;
use crate::metadata::Metadata;
use crate::revision::Generation;
use crate::site_scheduler::{self, SiteScheduler};
use crate::triggers;
use crate::work::{Enqueue, Outcome, Stage, Token};
use std::collections::BTreeMap;
use std::time::Duration;

/// The number of attempts to delete deployments together with the report of their removal.
const DELETE_TRIES: usize = 3;

/// The report of a step about one entity.
#[derive(Clone, Default)]
struct PlacementReport {
    /// The generation that is on the site, or is about to be; `None` if the step does not report
    /// it.
    placed: Option<Generation>,
    /// Whether the deployment is no longer on the site. Ignored if `placed` is set.
    removed: bool,
    /// The schedulers to record with the site and to forget; `None` for deployments, and if there
    /// are none.
    schedulers: Option<SchedulerReport>,
    /// The conditions to merge by kind.
    conditions: Vec<Condition>,
}

/// The report of a step about the schedulers of its site.
#[derive(Clone)]
struct SchedulerReport {
    called: Vec<SiteScheduler>,
    forgotten: Vec<SiteScheduler>,
    /// The generation that the site must have, unless no scheduler is recorded.
    expect: Option<Generation>,
}

impl PlacementReport {
    /// The new given metadata of a site, if its schedulers change.
    ///
    /// # Errors
    /// `Conflict`: schedulers are to be recorded, and the site has another generation than the step
    /// requires. Its package may lack a target, which the store would then not have kept.
    fn given(&self, site: &Entity) -> Result<Option<Metadata>> {
        let Some(schedulers) = &self.schedulers else {
            return Ok(None);
        };
        let SchedulerReport {
            called,
            forgotten,
            expect,
        } = schedulers;
        let has_moved = expect.is_some_and(|expect| expect != site.generation);
        if has_moved && !called.is_empty() {
            return Err(Error::Conflict(vec![site.key.clone()]));
        }
        Ok(site_scheduler::updated(site, called, forgotten))
    }
}

impl<B: Backend + ?Sized> Store<B> {
    /// Commits a step under the claim of its site.
    ///
    /// If the step says that the work is done and the site is being deleted, the site is removed
    /// instead of settling the claim. If it cannot be removed yet, the claim is released, and the
    /// work is due again after one second.
    ///
    /// # Errors
    /// - `BadArgument`: the claim is not that of a site.
    /// - `ClaimExpired`: the claim was lost.
    /// - `Conflict`: a deployment that the step reports as placed is still placed on another site;
    ///   the site has another generation than [`ScheduleStep::expect`]; or rows kept changing for
    ///   all attempts.
    /// - As `delete_entity`, if the site is being deleted.
    pub(super) async fn placed_step(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        let Key::Site(site) = &claim.key else {
            return Err(Error::bad(
                "claim",
                format!(
                    "{} is not a site; a schedule step needs the claim of one",
                    claim.key
                ),
            ));
        };
        let mut reports: BTreeMap<Key, PlacementReport> = BTreeMap::new();
        for (id, generation) in &step.placed {
            reports.entry(id.into()).or_default().placed = Some(*generation);
        }
        for id in &step.removed {
            reports.entry(id.into()).or_default().removed = true;
        }
        for (key, mut conditions) in step.conditions {
            limits::bounded(&mut conditions)?;
            reports
                .entry(key)
                .or_default()
                .conditions
                .extend(conditions);
        }
        if !(step.called.is_empty() && step.forgotten.is_empty()) {
            reports.entry(claim.key.clone()).or_default().schedulers = Some(SchedulerReport {
                called: step.called,
                forgotten: step.forgotten,
                expect: step.expect,
            });
        }
        let leaving = matches!(step.settle, Some(Outcome::Done))
            && self
                .find(&claim.key, Want::ROW)
                .await?
                .is_some_and(|record| record.entity.deleting);
        // Removing the site also removes its work, and with it the claim.
        let settle = step.settle.filter(|_| !leaving);
        let reports: Vec<(Key, PlacementReport)> = reports.into_iter().collect();
        let mut chunks = reports.chunks(CHUNK).peekable();
        if chunks.peek().is_none() && settle.is_some() {
            self.placed_chunk(claim, site, &[], settle.clone()).await?;
        }
        while let Some(chunk) = chunks.next() {
            let settle = settle.clone().filter(|_| chunks.peek().is_none());
            self.placed_chunk(claim, site, chunk, settle).await?;
        }
        if leaving && !self.delete_entity(&claim.key, true).await? {
            let again = Outcome::Yield {
                after: Duration::from_secs(1),
            };
            self.backend.settle(&[(claim.clone(), again)]).await?;
        }
        Ok(())
    }

    /// Commits one chunk. Deletes the deployments that are being deleted and are no longer placed,
    /// or enqueues their deletion.
    ///
    /// A deployment is put only if its placement changes, and the site only if its schedulers
    /// change; the row must then have the version that was read. Otherwise only conditions are
    /// merged, which needs no precondition. Entities that no longer exist are left out. `settle`
    /// ends the claim; `None` keeps it.
    ///
    /// A modification does not exclude a placement, which leaves the package alone. Otherwise one
    /// person could stop the scheduling of a whole site.
    ///
    /// # Errors
    /// - `Conflict`: a deployment is still placed on another site, the site has another generation
    ///   than expected, or rows kept changing for all attempts. In the last case, the error names
    ///   all keys of the chunk.
    /// - As [`Backend::commit`].
    async fn placed_chunk(
        &self,
        claim: &Token,
        site: &SiteId,
        chunk: &[(Key, PlacementReport)],
        settle: Option<Outcome>,
    ) -> Result<()> {
        let keys: Vec<Key> = chunk.iter().map(|(key, _)| key.clone()).collect();
        let mut deletes = true;
        for attempt in 0..TRIES {
            let mut draft = ChangeDraft::because("scheduled");
            let mut leaving = false;
            let rows = self.backend.get(&keys, Want::ROW).await?;
            for (row, (key, report)) in rows.into_iter().zip(chunk) {
                let Some(row) = row else { continue };
                let entity = &row.entity;
                if report.placed.is_some() && is_elsewhere(entity, site) {
                    return Err(Error::Conflict(vec![key.clone()]));
                }
                if let Some(given) = report.given(entity)? {
                    draft.require(Require::At(key.clone(), entity.version));
                    let put = Put {
                        given,
                        conditions: report.conditions.clone(),
                        beside_modification: true,
                        ..Put::of(entity)
                    };
                    draft.put(Some(entity), put);
                    continue;
                }
                let moved = entity
                    .deployment()
                    .and_then(|deployment| with_new_placement(deployment, site, report));
                if entity.deleting && report.removed && is_off(entity, moved.as_ref()) {
                    leaving = true;
                    if deletes {
                        draft.require(Require::At(key.clone(), entity.version));
                        draft.require(Require::Unreferenced(key.clone()));
                        draft.delete(entity);
                        continue;
                    }
                    let lane = triggers::lane(entity);
                    draft.mark(Enqueue::now(Stage::Delete, key.clone(), lane));
                }
                if let Some(deployment) = moved {
                    draft.require(Require::At(key.clone(), entity.version));
                    let put = Put {
                        facts: Facts::Deployment(Box::new(deployment)),
                        conditions: report.conditions.clone(),
                        beside_modification: true,
                        ..Put::of(entity)
                    };
                    draft.put(Some(entity), put);
                } else if !report.conditions.is_empty() {
                    let change = Change::Conditions(key.clone(), report.conditions.clone());
                    draft.set.changes.push(change);
                }
            }
            draft.set.under = Some(claim.clone());
            draft.set.settle.clone_from(&settle);
            // A removed row needs a revision: clients wait for it.
            let ack = if leaving && deletes {
                Ack::Numbered
            } else {
                Ack::Durable
            };
            match self.commit(draft, ack).await {
                Ok(_) => return Ok(()),
                Err(Error::Busy(_)) if leaving && deletes => deletes = false,
                Err(Error::Conflict(_) | Error::NotFound(Subject::Entity(_))) => {
                    deletes &= attempt + 1 < DELETE_TRIES;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict(keys))
    }
}

/// Whether a deployment is on no site, given its new placement if that changes.
fn is_off(entity: &Entity, moved: Option<&Deployment>) -> bool {
    let now = moved.or(entity.deployment());
    now.is_some_and(|deployment| deployment.placed.is_none())
}

/// Whether the deployment is still placed on another site, which must report its removal first.
fn is_elsewhere(entity: &Entity, site: &SiteId) -> bool {
    let placed = entity.deployment().and_then(|d| d.placed.as_ref());
    placed.is_some_and(|(at, _)| at != site)
}

/// The deployment with its new placement; `None` if the placement does not change.
///
/// A new generation on the same site is a change. A removal from a site where the deployment is not
/// placed is not a change, so a late report cannot undo a placement elsewhere.
fn with_new_placement(
    deployment: &Deployment,
    site: &SiteId,
    report: &PlacementReport,
) -> Option<Deployment> {
    let here = deployment.placed.as_ref().is_some_and(|(at, _)| at == site);
    let placed = match report.placed {
        Some(generation) => Some((site.clone(), generation)),
        None if report.removed && here => None,
        None => return None,
    };
    (placed != deployment.placed).then(|| Deployment {
        placed,
        ..deployment.clone()
    })
}
