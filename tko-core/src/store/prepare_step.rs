//! A prepare step: package, effects, progress, conditions and the end of the claim, in one set.
//!
//! The step is computed from one generation of the deployment, and is committed only while the
//! deployment still has that generation. Everything in it takes effect together: a reader never
//! sees the children of a step without its package, or the reverse.
//!
//! 1. The deployment is read, and its generation is compared with that of the step.
//! 2. Its put is drafted if the step has a new package or new subscriptions. Otherwise only its
//!    conditions are written.
//! 3. The effects are drafted, in order. Their references must exist before the step.
//! 4. The set is committed under the claim, which then ends as the step says.
//!
//! A step approves no deployment that a person has to approve, and no child: see `create`.
//!
//! Changes by others that leave the generation alone, such as new conditions, are not a conflict
//! for the worker: this store reads again and retries.

use super::create::Creator;
use super::draft::{ChangeDraft, observed_again};
use super::edit::policy;
use super::{Store, TRIES, unknown_reference};
use crate::annotation::Approve;
use crate::api::{Effect, MAX_EFFECTS, PrepareStep};
use crate::backend::Backend;
use crate::change::{Ack, Change, Put, Require};
use crate::entity::{APPROVED, Entity, Facts, Record, Want};
use crate::error::{Error, Result};
use crate::id::{DeploymentId, Key};
use crate::limits;
use crate::metadata::Metadata;
use crate::revision::Generation;
use crate::subscription::{self, Subscription};
use crate::triggers;
use crate::work::{Enqueue, Stage, Token};

impl<B: Backend + ?Sized> Store<B> {
    /// Commits a step under its claim. Returns the generation that the deployment has afterwards.
    ///
    /// # Errors
    /// - `BadArgument`: there are more than [`MAX_EFFECTS`] effects; the package or an effect is
    ///   refused; or a reference does not exist.
    /// - `NotFound`: the deployment does not exist or is being deleted; or an effect requires a
    ///   version of a site that does not exist.
    /// - `Conflict`: the deployment has another generation; a site of an effect has another
    ///   version; or rows kept changing for all attempts.
    /// - `AlreadyExists`: an effect creates an entity that exists.
    /// - `Busy`: an entity that the step writes is under a modification, or a site of an effect is
    ///   being deleted.
    /// - `ClaimExpired`: the claim was lost.
    pub(super) async fn prepared_step(
        &self,
        claim: &Token,
        mut step: PrepareStep,
    ) -> Result<Generation> {
        limits::bounded(&mut step.conditions)?;
        limits::check_progress(step.progress.as_ref())?;
        let own = Key::from(&step.deployment);
        if step.effects.len() > MAX_EFFECTS {
            return Err(Error::bad(
                "effects",
                format!(
                    "{} are too many for one step; at most {MAX_EFFECTS}",
                    step.effects.len()
                ),
            ));
        }
        for attempt in 0..TRIES {
            let before = self
                .find(&own, Want::PACKAGE)
                .await?
                .filter(|record| !record.entity.deleting)
                .ok_or_else(|| Error::not_found(&own))?;
            if before.entity.generation != step.expect {
                return Err(Error::Conflict(vec![own]));
            }
            let mut draft = ChangeDraft::because("prepared");
            draft.may_remember = attempt == 0;
            let generation = match self.draft_step(&mut draft, claim, &step, &before).await {
                Err(_) if draft.remembered => continue,
                drafted => drafted?,
            };
            match self.commit(draft, Ack::Durable).await {
                Ok(_) => return Ok(generation),
                // A template was registered again, or only conditions changed: the worker need not
                // know.
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(unknown_reference(error, &own)),
            }
        }
        Err(Error::Conflict(vec![own]))
    }

    /// Adds everything in the step to the draft. Returns the generation that the deployment then has.
    ///
    /// - With a new package or new subscriptions the whole row is put, so the row must have the
    ///   version that was read. The conditions of the step replace those that a new package alone
    ///   would write.
    /// - Otherwise the generation must be the expected one, and only conditions are merged. Then
    ///   changes of the rest of the row do not matter.
    ///
    /// The work that a new package would enqueue for the deployment itself is removed, because the
    /// worker itself continues with it. The outcome of the step says when the work is due again.
    ///
    /// # Errors
    /// As the drafts of the package and of the effects.
    async fn draft_step(
        &self,
        draft: &mut ChangeDraft,
        claim: &Token,
        step: &PrepareStep,
        before: &Record,
    ) -> Result<Generation> {
        let own = &before.entity.key;
        let mut generation = step.expect;
        let put = match (&step.package, &step.subscriptions) {
            (Some(package), _) => Some(self.draft_package(draft, before, package).await?),
            (None, Some(_)) => Some(Put::of(&before.entity)),
            (None, None) => None,
        };
        if let Some(mut put) = put {
            // A put replaces the whole row, so the row must not have changed since it was read.
            draft.require(Require::At(own.clone(), before.entity.version));
            let is_dropped = drop_approval(&before.entity, &mut put.facts);
            if let Some(interests) = &step.subscriptions {
                put.metadata = with_subscriptions(&put.metadata, interests);
            }
            put.conditions = observed_again(&before.entity, &put)
                .into_iter()
                .filter(|old| step.conditions.iter().all(|new| new.kind != old.kind))
                .chain(step.conditions.iter().cloned())
                .filter(|new| !is_dropped || new.kind != APPROVED || new.status != Some(true))
                .collect();
            limits::check(&put)?;
            generation = draft.put(Some(&before.entity), put).unwrap_or(generation);
        } else {
            draft.require(Require::Generation(own.clone(), step.expect));
            if !step.conditions.is_empty() {
                let change = Change::Conditions(own.clone(), step.conditions.clone());
                draft.set.changes.push(change);
            }
        }
        for effect in &step.effects {
            match effect {
                Effect::Deployment(new) => {
                    self.draft_deployment(draft, new, Creator::Preparer).await?;
                }
                Effect::Site(new) => {
                    self.draft_site(draft, new).await?;
                }
                Effect::Delete(id) => self.draft_removal(draft, id).await?,
            }
        }
        // The worker itself continues with it, and the claim's end is set below.
        draft
            .set
            .enqueue
            .retain(|mark| mark.stage != Stage::Prepare || mark.key != *own);
        draft.set.under = Some(claim.clone());
        draft.set.settle.clone_from(&step.settle);
        draft.set.progress.clone_from(&step.progress);
        Ok(generation)
    }

    /// Marks a deployment as being deleted. The deletion worker, or the scheduler that has placed
    /// it, removes it.
    ///
    /// Relations of other entities to it are cleared by the worker, not in this set, because there
    /// may be many. Does nothing if the deployment does not exist or is already being deleted, so a
    /// step can be repeated.
    ///
    /// # Errors
    /// Any error of reading the deployment.
    async fn draft_removal(&self, draft: &mut ChangeDraft, id: &DeploymentId) -> Result<()> {
        let key = Key::from(id);
        let Some(record) = self.find(&key, Want::ROW).await? else {
            return Ok(());
        };
        let entity = &record.entity;
        if entity.deleting {
            return Ok(());
        }
        draft.require(Require::At(key.clone(), entity.version));
        draft.mark_deleting(entity);
        draft.mark(Enqueue::now(Stage::Delete, key, triggers::lane(entity)));
        Ok(())
    }
}

/// Drops an approval that the step adds, if a person has to approve the old or the new package.
/// Returns whether there was one.
fn drop_approval(before: &Entity, facts: &mut Facts) -> bool {
    let (Some(old), Facts::Deployment(new)) = (before.deployment(), facts) else {
        return false;
    };
    let needs_person = [policy(old), policy(new)].contains(&Approve::Manual);
    let is_dropped = needs_person && !old.approved && new.approved;
    new.approved &= !is_dropped;
    is_dropped
}

/// The metadata with exactly these subscriptions.
///
/// Removes all others, also persistent ones: a step names all subscriptions of its deployment.
fn with_subscriptions(metadata: &Metadata, interests: &[Subscription]) -> Metadata {
    let mut metadata = metadata.clone();
    metadata.retain(|key, _| !subscription::is_subscription(key));
    metadata.overlaid(&subscription::metadata(interests))
}
