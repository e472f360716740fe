//! Enqueues sites page by page in the background: when the plugins of a trigger change, and once
//! after a start.
//!
//! The resources of sites are not indexed. So a change of plugins reads all sites once, a page at a
//! time with a pause after each; changes that arrive meanwhile share the next sweep. The sweep
//! after a start enqueues sites without due work, spread over one resync interval: they were
//! scheduled while resyncing was off, or missed their turn because of a crash.

use crate::context::ScheduleContext;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::{Cursor, Enqueue, Gvk, Key, Kind, Lane, List, Record, Result, Select, Stage, Want};
use tko_worker::{Retry, jitter};
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
    /// Sites without due work, spread over this time.
    Idle(Duration),
    /// Sites with a resource of one of these kinds, at once.
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
        tokio::try_join!(self.sweep_idle(), self.sweep_changes()).map(|((), never)| never)
    }

    async fn sweep_idle(&self) -> Result<()> {
        match self.context.settings.resync {
            Duration::ZERO => Ok(()),
            resync => self.sweep(&SweepScope::Idle(resync)).await,
        }
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
        want.work = matches!(scope, SweepScope::Idle(_));
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
        let sites = page.items.iter();
        let work: Vec<Enqueue> = sites.filter_map(|site| scope.work(site)).collect();
        if !work.is_empty() {
            self.context.data.enqueue(work).await?;
        }
        Ok(page.next)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Gvk>> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SweepScope {
    fn work(&self, site: &Record) -> Option<Enqueue> {
        let Key::Site(id) = &site.entity.key else {
            return None;
        };
        let after = match self {
            Self::Idle(within) => {
                let has_work = site.work.iter().any(|work| work.stage == Stage::Schedule);
                (!has_work).then(|| within.mul_f64(jitter()))?
            }
            Self::WithTriggers(triggers) => {
                let mut resources = site.package.as_ref()?.iter();
                resources.find(|resource| triggers.contains(resource.gvk()))?;
                Duration::ZERO
            }
        };
        Some(Enqueue::now(Stage::Schedule, id, Lane::of(id.as_str())).after(after))
    }
}
