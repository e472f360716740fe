//! Makes sites due, page by page in the background: for a plugin that came, went or changed, and
//! after a start.
//!
//! There is no index of the resources in sites' packages, so a change of a plugin reads all sites
//! once, a page at a time with a pause after each; changes that come meanwhile share the next
//! reading. After a start, sites that nothing is due for, now or later, are spread over one interval
//! of resyncing: they were done while resyncing was off, or lost their turn to a crash.

use crate::controller::{Context, chance};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tko_core::work::backoff;
use tko_core::{Enqueue, Gvk, Key, Kind, Lane, List, Record, Result, Select, Stage, Want};
use tokio::sync::Notify;

/// Sites on one page: with their packages, so few.
const PAGE: usize = 100;

/// Between two pages.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Sweep {
    context: Arc<Context>,
    triggers: Mutex<BTreeSet<Gvk>>,
    changed: Notify,
}

/// Which sites, and when.
enum Which {
    /// Those with nothing to do, spread over this time.
    Idle(Duration),
    /// At once: those with a resource that is one of these.
    With(BTreeSet<Gvk>),
}

impl Sweep {
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self {
            context: context.clone(),
            triggers: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// A scheduler for these came, went or changed.
    pub(crate) fn triggered(&self, triggers: &[Gvk]) {
        let mut all = self.triggers.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(triggers.iter().cloned());
        self.changed.notify_one();
    }

    /// Goes on for ever: drop it to end it.
    pub(crate) async fn run(&self) {
        let resync = self.context.settings.resync;
        let start = async {
            if !resync.is_zero() {
                self.wake(&Which::Idle(resync)).await;
            }
        };
        let plugins = async {
            loop {
                self.changed.notified().await;
                let triggers = {
                    let mut all = self.triggers.lock().unwrap_or_else(PoisonError::into_inner);
                    std::mem::take(&mut *all)
                };
                self.wake(&Which::With(triggers)).await;
            }
        };
        tokio::join!(start, plugins);
    }

    async fn wake(&self, which: &Which) {
        let mut list = List {
            select: Select {
                deleting: true,
                ..Select::all(Kind::Site)
            },
            after: None,
            limit: PAGE,
            want: Want {
                package: matches!(which, Which::With(_)),
                work: matches!(which, Which::Idle(_)),
                ..Want::ROW
            },
        };
        let mut failures = 0;
        loop {
            match self.page(&list, which).await {
                Ok(None) => return,
                Ok(next) => {
                    failures = 0;
                    list.after = next;
                    self.context.clock.sleep(PAUSE).await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = %error.chain(), "cannot make sites due; trying again");
                    let pause = backoff(failures, chance());
                    self.context.clock.sleep(pause).await;
                }
            }
        }
    }

    /// One page. Answers with where to go on.
    async fn page(&self, list: &List, which: &Which) -> Result<Option<tko_core::Cursor>> {
        let page = self.context.data.list(list).await?;
        let marks: Vec<Enqueue> = page
            .items
            .iter()
            .filter_map(|site| which.mark(site))
            .collect();
        if !marks.is_empty() {
            self.context.data.enqueue(marks).await?;
        }
        Ok(page.next)
    }
}

impl Which {
    fn mark(&self, site: &Record) -> Option<Enqueue> {
        let Key::Site(id) = &site.entity.key else {
            return None;
        };
        let after = match self {
            Self::Idle(within) => {
                let has_work = site.work.iter().any(|work| work.stage == Stage::Schedule);
                (!has_work).then(|| within.mul_f64(chance()))?
            }
            Self::With(triggers) => {
                let package = site.package.as_ref()?;
                let mut resources = package.iter();
                resources.find(|resource| triggers.contains(resource.gvk()))?;
                Duration::ZERO
            }
        };
        Some(Enqueue {
            after,
            ..Enqueue::now(Stage::Schedule, id, Lane::of(id.as_str()))
        })
    }
}
