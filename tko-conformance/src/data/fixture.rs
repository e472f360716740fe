//! A fresh store, and shorthands for the calls that checks make.

use super::sample::{deployment_id, named, site_id, template_id};
use crate::admission::Strict;
use crate::harness::DataHarness;
use futures_util::StreamExt;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Claim, ClaimRequest, DeploymentId, Entity, Event, Key, List, NewDeployment, NewSite,
    NewTemplate, Outcome, Package, PrepareStep, Record, Revision, ScheduleStep, Select, Stage,
    Version, Want, Watch, WorkerApi,
};

/// Requests every part of an entity, also under deletion.
pub(crate) const ALL: Want = Want::ROW
    .with_package()
    .with_revision()
    .with_work()
    .with_deleting();

/// Requests what users see, with the package.
pub(crate) const PEOPLE: Want = Want::PACKAGE.with_revision().with_work();

/// The length of leases and modifications where it does not matter.
pub(crate) const TTL: Duration = Duration::from_mins(1);

/// A fresh store with the harness that made it: the argument of every check of suite 2.
pub struct DataFixture {
    harness: Arc<dyn DataHarness>,
    pub(crate) data: Arc<dyn WorkerApi>,
}

impl DataFixture {
    /// Makes a store that keeps its last `history` changes.
    pub async fn new(harness: Arc<dyn DataHarness>, history: usize) -> Self {
        let data = harness.fresh(Arc::new(Strict), history).await;
        Self { harness, data }
    }

    /// Returns the API under test.
    pub fn data(&self) -> &Arc<dyn WorkerApi> {
        &self.data
    }

    /// Makes another fresh store.
    pub(crate) async fn fresh(&self, history: usize) -> Self {
        Self::new(self.harness.clone(), history).await
    }

    /// Makes a fixture of the same store for another task.
    pub(crate) fn beside(&self) -> Self {
        Self {
            harness: self.harness.clone(),
            data: self.data.clone(),
        }
    }

    /// Whether causes name the caller given to the API.
    pub(crate) fn names_callers(&self) -> bool {
        self.harness.names_callers()
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.harness.advance(by).await;
    }

    /// Registers a template with these resources.
    pub(crate) async fn template(&self, id: &str, resources: impl Into<Vec<Value>>) -> Version {
        let new = NewTemplate::new(template_id(id), named(resources));
        let version = self.data.register_template(new).await;
        version.expect("the template is valid")
    }

    /// Registers a site with these resources, without a template.
    pub(crate) async fn site(&self, id: &str, resources: impl Into<Vec<Value>>) -> Version {
        let new = NewSite::new(site_id(id), named(resources));
        self.data
            .register_site(new)
            .await
            .expect("the site is valid")
    }

    /// Creates a deployment that must be accepted.
    pub(crate) async fn create(&self, new: NewDeployment) -> DeploymentId {
        let id = self.data.create_deployment(new).await;
        id.expect("the deployment is valid")
    }

    /// Reads an entity if it exists, also under deletion.
    pub(crate) async fn find(&self, key: impl Into<Key>) -> Option<Record> {
        let key = key.into();
        match self.data.get(&key, ALL).await {
            Ok(record) => Some(record),
            Err(tko_core::Error::NotFound(_)) => None,
            Err(other) => panic!("{key} is read: {other:?}"),
        }
    }

    /// Reads an entity that must exist.
    pub(crate) async fn read(&self, key: impl Into<Key>) -> Record {
        let key = key.into();
        let found = self.find(&key).await;
        found.unwrap_or_else(|| panic!("{key} is there"))
    }

    pub(crate) async fn row(&self, key: impl Into<Key>) -> Arc<Entity> {
        self.read(key).await.entity
    }

    /// Reads the whole package of an entity.
    pub(crate) async fn package(&self, key: impl Into<Key>) -> Package {
        let record = self.read(key).await;
        record.package.expect("it was requested")
    }

    /// Whether users see the entity.
    pub(crate) async fn is_seen(&self, key: impl Into<Key>) -> bool {
        self.data.get(&key.into(), PEOPLE).await.is_ok()
    }

    /// Lists the ids of a selection.
    pub(crate) async fn ids(&self, select: &Select) -> Vec<String> {
        let all = self.walk(select, 0).await;
        let id = |record: &Record| record.entity.key.id().to_owned();
        all.iter().map(id).collect()
    }

    /// Lists a selection page by page.
    pub(crate) async fn walk(&self, select: &Select, limit: usize) -> Vec<Record> {
        let mut list = List::new(select.clone()).limit(limit).want(ALL);
        let mut all = Vec::new();
        for _ in 0..10_000 {
            let page = self.data.list(&list).await.expect("the page is read");
            all.extend(page.items);
            list.after = page.next;
            if list.after.is_none() {
                return all;
            }
        }
        panic!("the listing does not end");
    }

    pub(crate) async fn revision(&self) -> u64 {
        let head = self.data.feed_position().await;
        head.expect("the feed position is read").revision.0
    }

    /// Watches after `after` until the entity `last` is put, and returns the events before that,
    /// with packages and without bookmarks.
    pub(crate) async fn told(&self, select: &Select, after: u64, last: &str) -> Vec<Event> {
        let watch = Watch::new(select.clone(), Revision(after)).package(true);
        self.told_by(watch, last).await
    }

    /// Watches until the entity `last` is put, and returns the events before that, without
    /// bookmarks.
    pub(crate) async fn told_by(&self, watch: Watch, last: &str) -> Vec<Event> {
        let mut at = watch.after.0;
        let mut events = self.data.watch(watch);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            let event = event.expect("the feed keeps these changes");
            assert!(event.revision().0 > at, "revisions rise strictly");
            at = event.revision().0;
            match &event {
                Event::Put { record, .. } if record.entity.key.id() == last => return told,
                Event::Put { .. } | Event::Gone { .. } => told.push(event),
                _ => {}
            }
        }
        panic!("the feed does not end");
    }

    /// Claims and completes everything that is due at this stage.
    pub(crate) async fn drain(&self, stage: Stage) -> Vec<String> {
        let mut keys = Vec::new();
        loop {
            let claims = self.claim(stage, 1_000).await;
            if claims.is_empty() {
                keys.sort();
                return keys;
            }
            for claim in claims {
                keys.push(claim.work.key.id().to_owned());
                let settled = self.data.settle(&[(claim.token, Outcome::Done)]).await;
                assert_eq!(settled.expect("the call succeeds"), [true]);
            }
        }
    }

    /// Claims work that is due now.
    pub(crate) async fn claim(&self, stage: Stage, max: usize) -> Vec<Claim> {
        let request = ClaimRequest::new(stage, "worker").max(max).lease(TTL);
        let claims = self.data.claim(&request).await;
        claims.expect("due work can be claimed")
    }

    /// Claims the work of this stage and key, which must be due.
    ///
    /// Tries again for a while: a claim may skip a row that a write of the store has locked.
    pub(crate) async fn claim_of(&self, stage: Stage, key: impl Into<Key>) -> Claim {
        const TRIES: u32 = 500;
        let key = key.into();
        for _ in 0..TRIES {
            let claims = self.claim(stage, 1_000).await;
            let mut wanted = None;
            for claim in claims {
                if claim.work.key == key {
                    wanted = Some(claim);
                } else {
                    let back = Outcome::Yield {
                        after: Duration::ZERO,
                    };
                    let settled = self.data.settle(&[(claim.token, back)]).await;
                    settled.expect("the work is yielded");
                }
            }
            if let Some(claim) = wanted {
                return claim;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{key} is due");
    }

    /// A prepare step that changes nothing yet.
    pub(crate) async fn step(&self, id: &str) -> PrepareStep {
        PrepareStep::new(
            deployment_id(id),
            self.row(deployment_id(id)).await.generation,
        )
    }

    /// Reports these deployments as placed on a site, under a claim that is then done.
    pub(crate) async fn place(&self, site: &str, there: &[&DeploymentId]) {
        self.data
            .enqueue(vec![super::sample::enqueue(Stage::Schedule, site_id(site))])
            .await
            .expect("the site is there");
        let claim = self.claim_of(Stage::Schedule, site_id(site)).await;
        let mut step = ScheduleStep::new().settle(Outcome::Done);
        for id in there {
            step.placed
                .push(((*id).clone(), self.row(*id).await.generation));
        }
        let placed = self.data.commit_placed(&claim.token, step).await;
        placed.expect("the step is valid");
    }

    /// Watches until an event matches. Time advances while no event comes, so that background work
    /// completes.
    pub(crate) async fn wait_until(
        &self,
        select: Select,
        after: u64,
        wanted: impl Fn(&Event) -> bool,
    ) {
        let mut events = self.data.watch(Watch::new(select, Revision(after)));
        loop {
            let next = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
            match next {
                Ok(Some(Ok(event))) if wanted(&event) => return,
                Ok(Some(Ok(_))) => {}
                Ok(other) => panic!("the feed goes on: {other:?}"),
                Err(_) => self.advance(Duration::from_secs(10)).await,
            }
        }
    }
}
