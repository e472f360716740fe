//! The loop: claims due sites, works on different ones in parallel, keeps their leases, follows
//! plugins, and ends cleanly.

use crate::reconcile;
use crate::settings::Settings;
use crate::sweep::Sweep;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tko_core::lease::{Lease, Leases};
use tko_core::registry::{PluginFeed, made_by};
use tko_core::work::backoff;
use tko_core::{
    Claim, ClaimRequest, Clock, DataApi, Error, Executor, Outcome, PluginType, Record, Registry,
    Result, Scheduler, Stage, WorkerApi,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Shortest lease: renewing more often than each third of it is no use to anybody.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// The controller that brings sites to what their deployments ask for. Any number of them, in one
/// process or many, share the work.
pub struct ScheduleController {
    context: Arc<Context>,
    executors: Vec<Arc<dyn Executor>>,
}

/// What every pass needs.
pub(crate) struct Context {
    pub(crate) data: Arc<dyn WorkerApi>,
    pub(crate) registry: Arc<Registry<dyn Scheduler>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
}

impl ScheduleController {
    /// A controller with these native schedulers, and with plugins that these executors run.
    pub fn new(
        data: Arc<dyn WorkerApi>,
        registry: Arc<Registry<dyn Scheduler>>,
        executors: Vec<Arc<dyn Executor>>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let settings = Settings {
            workers: settings.workers.max(1),
            lease: settings.lease.max(SHORTEST_LEASE),
            ..settings
        };
        Self {
            context: Arc::new(Context {
                data,
                registry,
                clock,
                settings,
            }),
            executors,
        }
    }

    /// Works until `shutdown`; then finishes what is in flight, and hands back what takes longer
    /// than the grace. Trouble with the store is logged and tried again, for ever.
    ///
    /// # Errors
    /// None so far.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let Self { context, executors } = self;
        let make = |plugin: &Record| {
            made_by(&executors, plugin, |executor, plugin| {
                executor.scheduler(plugin)
            })
        };
        let data: &dyn DataApi = &*context.data;
        let load = || PluginFeed::load(data, PluginType::Schedule, &*context.registry, &make);
        let mut failures = 0;
        let plugins = loop {
            let loaded = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                loaded = load() => loaded,
            };
            match loaded {
                Ok(plugins) => break plugins,
                Err(error) => {
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        now = context.trouble("read the plugins", &error, failures) => failures = now,
                    }
                }
            }
        };
        tracing::info!(worker = context.settings.name, "scheduling");
        let sweep = Sweep::new(&context);
        let settings = &context.settings;
        let leases = Leases::new(context.data.clone(), context.clock.clone(), settings.lease);
        let beside = async {
            tokio::join!(
                plugins.follow(&*context.clock, |triggers| sweep.triggered(triggers)),
                sweep.run(),
                leases.keep(),
            );
        };
        tokio::select! {
            () = beside => {}
            () = serve(&context, &leases, &shutdown) => {}
        }
        Ok(())
    }
}

impl Context {
    /// Says what went wrong and pauses. Answers with how many failures there are now.
    async fn trouble(&self, what: &str, error: &Error, failures: u32) -> u32 {
        tracing::warn!(attempt = failures + 1, error = %error.chain(), "cannot {what}; retrying");
        self.clock.sleep(backoff(failures + 1, chance())).await;
        failures + 1
    }
}

/// From 0 to 1. Jitter needs no better chance than this.
pub(crate) fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

async fn serve(context: &Arc<Context>, leases: &Arc<Leases>, shutdown: &CancellationToken) {
    let settings = &context.settings;
    let release = CancellationToken::new();
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut failures = 0;
    loop {
        while tasks.try_join_next().is_some() {}
        let free = settings.workers.saturating_sub(tasks.len());
        if free == 0 {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = tasks.join_next() => continue,
            }
        }
        let request = ClaimRequest {
            stage: Stage::Schedule,
            worker: settings.name.clone(),
            max: free,
            lease: settings.lease,
            // The lease counts from before this: a longer poll would use it up.
            wait: settings.lease / 3,
        };
        let asked = context.clock.now();
        let claims = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            claims = context.data.claim(&request) => claims,
        };
        match claims {
            Ok(claims) => {
                failures = 0;
                for claim in claims {
                    let lease = leases.hold(&claim.token, asked);
                    tasks.spawn(work(context.clone(), claim, lease, release.clone()));
                }
            }
            Err(error) => {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    now = context.trouble("claim sites", &error, failures) => failures = now,
                }
            }
        }
    }
    let finished = tokio::select! {
        () = join(&mut tasks) => true,
        () = context.clock.sleep(settings.grace) => false,
    };
    if !finished {
        tracing::info!(
            sites = tasks.len(),
            "handing back sites that are still worked on"
        );
        release.cancel();
        // What cannot even be handed back lapses by itself.
        tokio::select! {
            () = join(&mut tasks) => {}
            () = context.clock.sleep(settings.lease) => tasks.abort_all(),
        }
    }
}

async fn join(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// One claim, from start to end, whatever happens.
async fn work(context: Arc<Context>, claim: Claim, lease: Lease, release: CancellationToken) {
    let pass = AssertUnwindSafe(reconcile::run(&context, &claim)).catch_unwind();
    let outcome = tokio::select! {
        biased;
        () = lease.lost() => {
            tracing::warn!(site = claim.token.key.id(), "lost the claim of a site; someone else has it now");
            return;
        }
        () = release.cancelled() => Some(Outcome::Yield { after: Duration::ZERO }),
        done = pass => done.unwrap_or_else(|_| Some(Outcome::Retry {
            after: backoff(claim.work.attempts, chance()),
            reason: "the scheduling controller failed; its log says why".to_owned(),
        })),
    };
    let Some(outcome) = outcome else { return };
    let settled = context.data.settle(&[(claim.token.clone(), outcome)]).await;
    if let Err(error) = settled {
        tracing::warn!(
            site = claim.token.key.id(),
            error = %error.chain(),
            "cannot hand back a site; it is due again when its claim lapses"
        );
    }
}
