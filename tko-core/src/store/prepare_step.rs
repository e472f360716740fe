//! A prepare step: package, effects, progress, conditions and the end of the claim, in one set.

use super::draft::ChangeDraft;
use super::{Store, TRIES, unknown_reference};
use crate::api::{Effect, MAX_EFFECTS, PrepareStep};
use crate::backend::Backend;
use crate::change::{Ack, Change, Put, Require};
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::{DeploymentId, Key};
use crate::metadata::Metadata;
use crate::revision::Generation;
use crate::subscription::{self, Subscription};
use crate::triggers;
use crate::work::{Enqueue, Stage, Token};

impl<B: Backend + ?Sized> Store<B> {
    pub(super) async fn prepared_step(
        &self,
        claim: &Token,
        step: PrepareStep,
    ) -> Result<Generation> {
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
            match self.draft_step(&mut draft, claim, &step, &before).await {
                Err(_) if draft.remembered => continue,
                drafted => drafted?,
            }
            match self.commit(draft, Ack::Durable).await {
                Ok(_) => {
                    let after = self.find(&own, Want::ROW).await?;
                    return Ok(after.map_or(step.expect, |record| record.entity.generation));
                }
                // A template was registered again, or only conditions changed: the worker need not
                // know.
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(unknown_reference(error, &own)),
            }
        }
        Err(Error::Conflict(vec![own]))
    }

    async fn draft_step(
        &self,
        draft: &mut ChangeDraft,
        claim: &Token,
        step: &PrepareStep,
        before: &Record,
    ) -> Result<()> {
        let own = &before.entity.key;
        let put = match (&step.package, &step.subscriptions) {
            (Some(package), _) => Some(self.draft_package(draft, before, package).await?),
            (None, Some(_)) => Some(Put::of(&before.entity)),
            (None, None) => None,
        };
        if let Some(mut put) = put {
            // A put replaces the whole row, so the row must not have changed since it was read.
            draft.require(Require::At(own.clone(), before.entity.version));
            if let Some(interests) = &step.subscriptions {
                put.metadata = with_subscriptions(&put.metadata, interests);
            }
            put.conditions.clone_from(&step.conditions);
            draft.put(Some(&before.entity), put);
        } else {
            draft.require(Require::Generation(own.clone(), step.expect));
            if !step.conditions.is_empty() {
                let change = Change::Conditions(own.clone(), step.conditions.clone());
                draft.set.changes.push(change);
            }
        }
        // The worker itself continues with it, and the claim's end is set below.
        draft
            .set
            .enqueue
            .retain(|mark| mark.stage != Stage::Prepare || mark.key != *own);
        for effect in &step.effects {
            match effect {
                Effect::Deployment(new) => {
                    self.draft_deployment(draft, new).await?;
                }
                Effect::Site(new) => {
                    self.draft_site(draft, new).await?;
                }
                Effect::Delete(id) => self.draft_removal(draft, id).await?,
            }
        }
        draft.set.under = Some(claim.clone());
        draft.set.settle.clone_from(&step.settle);
        draft.set.progress.clone_from(&step.progress);
        Ok(())
    }

    /// Marks a deployment as being deleted. The deletion worker, or the scheduler that has placed
    /// it, removes it.
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
        let put = Put {
            deleting: true,
            ..Put::of(entity)
        };
        draft.put(Some(entity), put);
        draft.mark(Enqueue::now(Stage::Delete, key, triggers::lane(entity)));
        Ok(())
    }
}

/// The metadata with exactly these subscriptions.
fn with_subscriptions(metadata: &Metadata, interests: &[Subscription]) -> Metadata {
    let mut metadata = metadata.clone();
    metadata.retain(|key, _| !subscription::is_subscription(key));
    metadata.overlaid(&subscription::metadata(interests))
}
