//! Enqueues sites page by page in the background: when the plugins of a trigger change, and once
//! after a start.
//!
//! The resources of sites are not indexed. So a change of plugins reads all sites once, a page at a
//! time with a pause after each. Changes that arrive meanwhile share the next sweep.
//!
//! The sweep after a start enqueues at once what another configuration may have changed: sites that
//! no scheduler served, or that a scheduler [has lost](tko_core::Scheduler::lost_sites). It also
//! enqueues sites without due work, spread over one resync interval. They were scheduled while
//! resyncing was off, or missed their turn because of a crash.

use crate::conditions::is_unserved;
use crate::context::ScheduleContext;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::entity::SCHEDULED;
use tko_core::{
    Cursor, Enqueue, Gvk, Key, Kind, Lane, List, Package, Record, Result, Select, SiteId,
    SiteScheduler, Stage, Want,
};
use tko_worker::{Retry, guarded, jitter};
use tokio::sync::Notify;

/// Number of sites in one page. They are read with their packages, so pages are small.
const PAGE: usize = 100;

/// Pause between two pages.
const PAUSE: Duration = Duration::from_millis(20);

/// Enqueues sites in the background.
pub(crate) struct SiteSweep {
    context: Arc<ScheduleContext>,
    /// Triggers whose plugins changed since the last sweep.
    triggers: Mutex<BTreeSet<Gvk>>,
    changed: Notify,
}

/// The sites that one sweep enqueues.
enum SweepScope {
    /// After a start: unserved and lost sites at once, and sites without due work spread over this
    /// time. If it is zero, sites without due work stay so.
    Start(Duration),
    /// Sites with a resource of one of these kinds, at once; also those that had one for which a
    /// scheduler still has to remove its deployments.
    WithTriggers(BTreeSet<Gvk>),
}

impl SiteSweep {
    pub(crate) fn new(context: Arc<ScheduleContext>) -> Self {
        Self {
            context,
            triggers: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Requests a sweep of the sites that have one of these triggers.
    pub(crate) fn plugins_changed(&self, triggers: &[Gvk]) {
        self.lock().extend(triggers.iter().cloned());
        self.changed.notify_one();
    }

    /// Runs until it is dropped.
    ///
    /// # Errors
    ///
    /// A [permanent](tko_worker::is_permanent) error.
    pub(crate) async fn run(&self) -> Result<Infallible> {
        let start = SweepScope::Start(self.context.settings.resync);
        tokio::try_join!(self.sweep(&start), self.sweep_changes()).map(|((), never)| never)
    }

    async fn sweep_changes(&self) -> Result<Infallible> {
        loop {
            self.changed.notified().await;
            let triggers = std::mem::take(&mut *self.lock());
            self.sweep(&SweepScope::WithTriggers(triggers)).await?;
        }
    }

    async fn sweep(&self, scope: &SweepScope) -> Result<()> {
        let mut want = Want::ROW;
        want.package = matches!(scope, SweepScope::WithTriggers(_));
        want.work = matches!(scope, SweepScope::Start(_));
        let mut list = List::new(Select::all(Kind::Site).deleting(true))
            .limit(PAGE)
            .want(want);
        let mut retry = Retry::new(self.context.clock.clone());
        loop {
            match self.enqueue_page(&list, scope).await {
                Ok(None) => return Ok(()),
                Ok(next) => {
                    retry.reset();
                    list.after = next;
                    self.context.clock.sleep(PAUSE).await;
                }
                Err(error) => retry.pause("enqueue sites", error).await?,
            }
        }
    }

    /// Enqueues the sites of one page. Returns the start of the next page.
    async fn enqueue_page(&self, list: &List, scope: &SweepScope) -> Result<Option<Cursor>> {
        let page = self.context.data.list(list).await?;
        let lost = match scope {
            SweepScope::Start(_) => self.lost_sites(&page.items).await,
            SweepScope::WithTriggers(_) => BTreeSet::new(),
        };
        let sites = page.items.iter();
        let work: Vec<Enqueue> = sites.filter_map(|site| scope.work(site, &lost)).collect();
        if !work.is_empty() {
            self.context.data.enqueue(work).await?;
        }
        Ok(page.next)
    }

    /// The scheduled sites of a page that one of the schedulers of every site has lost.
    async fn lost_sites(&self, page: &[Record]) -> BTreeSet<SiteId> {
        let scheduled: Vec<SiteId> = page.iter().filter_map(scheduled_site).collect();
        let mut lost = BTreeSet::new();
        if scheduled.is_empty() {
            return lost;
        }
        let (clock, limit) = (&*self.context.clock, self.context.settings.timeout);
        let table = self.context.registry.table();
        for scheduler in table.everywhere() {
            let Ok(handler) = &scheduler.handler else {
                continue;
            };
            match guarded(clock, limit, handler.lost_sites(&scheduled)).await {
                Ok(sites) => lost.extend(sites),
                Err(failure) => {
                    let name = &*scheduler.name;
                    tracing::warn!(scheduler = name, error = %failure, "failed to find lost sites; the resync repairs them");
                }
            }
        }
        lost
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Gvk>> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SweepScope {
    fn work(&self, site: &Record, lost: &BTreeSet<SiteId>) -> Option<Enqueue> {
        let Key::Site(id) = &site.entity.key else {
            return None;
        };
        let after = match self {
            Self::Start(_) if is_unserved(&site.entity) || lost.contains(id) => Duration::ZERO,
            Self::Start(within) => {
                let has_work = site.work.iter().any(|work| work.stage == Stage::Schedule);
                let is_idle = !has_work && !within.is_zero();
                is_idle.then(|| within.mul_f64(jitter()))?
            }
            Self::WithTriggers(triggers) => {
                let mut resources = site.package.iter().flat_map(Package::iter);
                let has_one = resources.any(|resource| triggers.contains(resource.gvk()));
                let had_one = || {
                    let recorded = SiteScheduler::all_of(&site.entity);
                    let mut targets = recorded.iter().filter_map(|one| one.target.as_ref());
                    targets.any(|target| triggers.contains(&target.gvk))
                };
                (has_one || had_one()).then_some(Duration::ZERO)?
            }
        };
        Some(Enqueue::now(Stage::Schedule, id, Lane::of(id.as_str())).after(after))
    }
}

/// The id of a site whose last scheduling succeeded, and which is not being deleted.
fn scheduled_site(record: &Record) -> Option<SiteId> {
    let Key::Site(id) = &record.entity.key else {
        return None;
    };
    let condition = record.entity.condition(SCHEDULED)?;
    let is_scheduled = condition.status == Some(true) && !record.entity.deleting;
    is_scheduled.then(|| id.clone())
}
