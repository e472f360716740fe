//! The subscriptions of a deployment: the entities that it waits for, and those that it follows.

use super::pending::is_here;
use super::session::{PrepareSession, StepResult, package_of, refusal};
use crate::blocker::Blocker;
use std::collections::HashSet;
use tko_core::registry::Handler;
use tko_core::{
    Key, Metadata, Package, Preparer, Record, Resource, Result, Subscription, subscription,
};

impl PrepareSession<'_> {
    /// The persistent subscriptions of the resources of this package.
    pub(super) fn tracks(&self, package: &Package) -> Vec<Subscription> {
        let here = package.iter().filter(|resource| is_here(resource));
        let all = here.flat_map(|resource| self.tracks_of(package, resource));
        distinct(all.flat_map(|(_, subscriptions)| subscriptions))
    }

    /// The preparers that follow something for this resource, with their subscriptions.
    pub(super) fn tracks_of(
        &self,
        package: &Package,
        resource: &Resource,
    ) -> Vec<(Handler<dyn Preparer>, Vec<Subscription>)> {
        let entries = self.table.of(resource.gvk()).iter();
        entries
            .filter_map(|entry| {
                let subscriptions = entry.handler.as_ref().ok()?.tracks(package, resource);
                (!subscriptions.is_empty()).then(|| (entry.clone(), subscriptions))
            })
            .collect()
    }

    /// All subscriptions that the deployment needs while these blockers exist. Its own changes
    /// always make it due, so they need no subscription.
    pub(super) fn subscriptions(&self, record: &Record, open: &[Blocker]) -> Vec<Subscription> {
        let own = Subscription::Entity(Key::from(&self.id));
        let waits = open.iter().flat_map(|blocker| blocker.waits_for.clone());
        let tracks = self.tracks(&package_of(record));
        tracks
            .into_iter()
            .chain(distinct(waits.filter(|subscription| *subscription != own)))
            .collect()
    }

    /// Registers the subscriptions of the package before anything is looked up, so that no change
    /// in between is missed. Returns whether any were registered.
    ///
    /// If they are refused, so is the end of the preparation, which reports the reason.
    pub(super) async fn track(&mut self, record: &Record) -> Result<bool> {
        let tracks = self.tracks(&package_of(record));
        if Self::is_tracked(record, &tracks) {
            return Ok(false);
        }
        let refused = self.subscribe(record, tracks).await?;
        Ok(refused.is_none())
    }

    /// Whether these subscriptions are registered.
    pub(super) fn is_tracked(record: &Record, tracks: &[Subscription]) -> bool {
        let metadata = &record.entity.metadata;
        subscription::metadata(tracks)
            .iter()
            .all(|(key, value)| metadata.get(key) == Some(value))
    }

    /// Subscribes to everything that these blockers wait for. Returns whether any subscription was
    /// registered.
    pub(super) async fn register(&mut self, record: &Record, open: &[Blocker]) -> Result<bool> {
        let Some(new) = changed(record, self.subscriptions(record, open)) else {
            return Ok(false);
        };
        let refused = self.subscribe(record, new).await?;
        Ok(refused.is_none())
    }

    /// Commits new subscriptions, unless the deployment changed concurrently. Returns a blocker if
    /// they are refused because they exceed a limit.
    pub(super) async fn subscribe(
        &mut self,
        record: &Record,
        subscriptions: Vec<Subscription>,
    ) -> Result<Option<Blocker>> {
        let mut step = self.step(record.entity.generation);
        step.subscriptions = Some(subscriptions);
        Ok(match self.commit(step).await? {
            StepResult::Committed | StepResult::Moved => None,
            StepResult::Refused(error) => Some(Blocker::unsubscribed(&refusal(&error))),
        })
    }
}

/// These subscriptions, unless the deployment has exactly these already.
pub(super) fn changed(record: &Record, new: Vec<Subscription>) -> Option<Vec<Subscription>> {
    let mut kept: Metadata = record.entity.metadata.clone();
    kept.retain(|key, _| subscription::is_subscription(key));
    (subscription::metadata(&new) != kept).then_some(new)
}

fn distinct(subscriptions: impl Iterator<Item = Subscription>) -> Vec<Subscription> {
    let mut known = HashSet::new();
    subscriptions
        .filter(|subscription| known.insert(subscription.clone()))
        .collect()
}
