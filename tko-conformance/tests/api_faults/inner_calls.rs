//! Calls of the sound API that several faults make.

use crate::broken::Broken;
use std::time::Duration;
use tko_core::{
    ClaimRequest, DeploymentId, Enqueue, Key, Kind, Lane, List, Outcome, Pattern, Result, Select,
    Stage,
};

/// The selection of this entity alone. Not for plugins, whose ids are matched by name.
pub(crate) fn only(key: &Key) -> Select {
    Select::all(key.kind()).id(Pattern::literal(key.id()))
}

/// The outcome of work that is left as it was.
pub(crate) const BACK: Outcome = Outcome::Yield {
    after: Duration::ZERO,
};

impl Broken {
    /// The deployments that name this entity as template, site or parent; at most a thousand.
    pub(crate) async fn referrers(&self, key: &Key) -> Result<Vec<DeploymentId>> {
        let all = Select::all(Kind::Deployment);
        let select = match key {
            Key::Template(id) => all.template_id(Pattern::literal(id.as_str())),
            Key::Site(id) => all.concerning(id.clone()),
            Key::Deployment(id) => all.parent(id.clone()),
            Key::Plugin(_) => return Ok(Vec::new()),
        };
        let page = self.inner.list(&List::new(select)).await?;
        let keys = page.items.iter().map(|record| &record.entity.key);
        Ok(keys.filter_map(Key::deployment).cloned().collect())
    }

    /// Makes work of this key due.
    pub(crate) async fn make_due(&self, stage: Stage, key: &Key) -> Result<()> {
        let work = Enqueue::now(stage, key, Lane::new(0));
        self.inner.enqueue(vec![work]).await
    }

    /// Removes the due work of this key.
    pub(crate) async fn lose_work(&self, stage: Stage, key: &Key) -> Result<()> {
        let request = ClaimRequest::new(stage, "thief").max(1_000);
        let mut outcomes = Vec::new();
        for claim in self.inner.claim(&request).await? {
            let is_lost = claim.work.key == *key;
            let outcome = if is_lost { Outcome::Done } else { BACK };
            outcomes.push((claim.token, outcome));
        }
        self.inner.settle(&outcomes).await.map(drop)
    }

    /// Refuses a deployment that is under a modification.
    pub(crate) async fn check_free(&self, id: &DeploymentId) -> Result<()> {
        let free = self.inner.start_modification(id, Duration::from_secs(1));
        self.inner.cancel_modification(&free.await?.token).await
    }
}
