//! Immediate retry: makes work due that waits for its next attempt.

use super::Store;
use crate::backend::Backend;
use crate::change::{Ack, ChangeSet};
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::id::Key;
use crate::revision::Timestamp;
use crate::work::Enqueue;

impl<B: Backend + ?Sized> Store<B> {
    /// Makes the waiting work of an entity due. For a deployment, also that of the sites on which
    /// it is placed or will be placed, because sites are scheduled, not deployments. Returns the
    /// number of pieces of work.
    pub(super) async fn retry_now(&self, key: &Key) -> Result<usize> {
        let want = Want::ROW.with_work();
        let record = self.find(key, want).await?;
        let record = record.ok_or_else(|| Error::not_found(key))?;
        let now = self.backend.feed_position().await?.now;
        let mut enqueue = waiting(&record, now);
        if let Some(deployment) = record.entity.deployment() {
            let placed = deployment.placed.as_ref().map(|(site, _)| site);
            let mut sites: Vec<Key> = deployment
                .site
                .iter()
                .chain(placed)
                .map(Key::from)
                .collect();
            sites.dedup();
            for site in self.backend.get(&sites, want).await?.iter().flatten() {
                enqueue.extend(waiting(site, now));
            }
        }
        let count = enqueue.len();
        if count > 0 && !self.is_dry {
            let set = ChangeSet::new().enqueued(enqueue);
            self.backend.commit(set, Ack::Durable).await?;
        }
        Ok(count)
    }
}

/// The work of an entity that no worker has and that is due later.
fn waiting(record: &Record, now: Timestamp) -> Vec<Enqueue> {
    let waits = record.work.iter().filter(|work| work.waits(now));
    waits
        .map(|work| Enqueue::now(work.stage, &work.key, work.lane))
        .collect()
}
