//! A step of scheduling: what is where now, and conditions of the site and its deployments.
//!
//! Chunks, each atomic under the claim; the claim is settled with the last. A deployment that is
//! being deleted goes when it is reported off; so does the site.

use super::draft::Draft;
use super::{CHUNK, Store, TRIES};
use crate::api::ScheduleStep;
use crate::backend::Backend;
use crate::change::{Ack, Change, Put, Require};
use crate::entity::{Condition, Deployment, Entity, Facts, Want};
use crate::error::{Error, Result, Subject};
use crate::id::{Key, SiteId};
use crate::revision::Generation;
use crate::work::{Outcome, Token};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a step says of one entity.
#[derive(Clone, Default)]
struct Said {
    there: Option<Generation>,
    gone: bool,
    conditions: Vec<Condition>,
}

impl<B: Backend + ?Sized> Store<B> {
    pub(super) async fn placed_step(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        let Key::Site(site) = &claim.key else {
            return Err(Error::bad("claim", format!("{} is no site", claim.key)));
        };
        let mut said: BTreeMap<Key, Said> = BTreeMap::new();
        for (id, generation) in &step.placed {
            said.entry(id.into()).or_default().there = Some(*generation);
        }
        for id in &step.removed {
            said.entry(id.into()).or_default().gone = true;
        }
        for (key, conditions) in step.conditions {
            said.entry(key).or_default().conditions.extend(conditions);
        }
        let leaving = matches!(step.settle, Some(Outcome::Done))
            && self
                .find(&claim.key, Want::ROW)
                .await?
                .is_some_and(|record| record.entity.deleting);
        // A site that goes takes its work, and so the claim, along.
        let settle = step.settle.filter(|_| !leaving);
        let said: Vec<(Key, Said)> = said.into_iter().collect();
        let mut chunks = said.chunks(CHUNK).peekable();
        if chunks.peek().is_none() && settle.is_some() {
            self.placed_chunk(claim, site, &[], settle.clone()).await?;
        }
        while let Some(chunk) = chunks.next() {
            let settle = settle.clone().filter(|_| chunks.peek().is_none());
            let off = self.placed_chunk(claim, site, chunk, settle).await?;
            for key in off {
                self.take_off(&key, true).await?;
            }
        }
        if leaving && !self.take_off(&claim.key, true).await? {
            let again = Outcome::Yield {
                after: Duration::from_secs(1),
            };
            self.backend.settle(&[(claim.clone(), again)]).await?;
        }
        Ok(())
    }

    /// Answers with the deployments that are being deleted and are off their last site now.
    async fn placed_chunk(
        &self,
        claim: &Token,
        site: &SiteId,
        chunk: &[(Key, Said)],
        settle: Option<Outcome>,
    ) -> Result<Vec<Key>> {
        let keys: Vec<Key> = chunk.iter().map(|(key, _)| key.clone()).collect();
        for _ in 0..TRIES {
            let mut draft = Draft::because("scheduled");
            let mut off = Vec::new();
            let rows = self.backend.get(&keys, Want::ROW).await?;
            for (row, (key, said)) in rows.into_iter().zip(chunk) {
                let Some(row) = row else { continue };
                let entity = &row.entity;
                if said.there.is_some() && is_elsewhere(entity, site) {
                    return Err(Error::Conflict(vec![key.clone()]));
                }
                let moved = entity
                    .deployment()
                    .and_then(|deployment| placed_otherwise(deployment, site, said));
                if let Some(deployment) = moved {
                    if deployment.placed.is_none() && entity.deleting {
                        off.push(key.clone());
                    }
                    draft.require(Require::At(key.clone(), entity.version));
                    let put = Put {
                        facts: Facts::Deployment(Box::new(deployment)),
                        conditions: said.conditions.clone(),
                        ..Put::of(entity)
                    };
                    draft.put(Some(entity), put);
                } else if !said.conditions.is_empty() {
                    let change = Change::Conditions(key.clone(), said.conditions.clone());
                    draft.set.changes.push(change);
                }
            }
            draft.set.under = Some(claim.clone());
            draft.set.settle.clone_from(&settle);
            match self.commit(draft, Ack::Durable).await {
                Ok(_) => return Ok(off),
                Err(Error::Conflict(_) | Error::NotFound(Subject::Entity(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict(keys))
    }
}

/// Whether another site has it, and so has to report it off first: else nobody would.
fn is_elsewhere(entity: &Entity, site: &SiteId) -> bool {
    let placed = entity.deployment().and_then(|d| d.placed.as_ref());
    placed.is_some_and(|(at, _)| at != site)
}

/// The deployment with its new place; `None`: its place is as it was.
fn placed_otherwise(deployment: &Deployment, site: &SiteId, said: &Said) -> Option<Deployment> {
    let here = deployment.placed.as_ref().is_some_and(|(at, _)| at == site);
    let placed = match said.there {
        Some(generation) => Some((site.clone(), generation)),
        None if said.gone && here => None,
        None => return None,
    };
    (placed != deployment.placed).then(|| Deployment {
        placed,
        ..deployment.clone()
    })
}
