//! The preparer as a program: claims work, keeps its claims, hears of what others wait for.

use crate::reconcile::Pass;
use crate::settings::Settings;
use crate::wake::Waker;
use futures_util::future::BoxFuture;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tko_core::lease::Leases;
use tko_core::registry::{PluginFeed, made_by};
use tko_core::work::backoff;
use tko_core::{
    Claim, ClaimRequest, Clock, Error, ErrorKind, Executor, Gvk, Ids, Outcome, PluginType,
    Preparer, Record, Registry, Result, Stage, Timestamp, WorkerApi,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Longest wait of one request for work: what becomes due meanwhile ends it.
const LONG_POLL: Duration = Duration::from_secs(10);

/// A preparer: turns deployments into finished packages until it is told to stop. Any number of
/// them, in one process or many, share the work.
pub struct PrepareController {
    shared: Arc<Shared>,
    executors: Vec<Arc<dyn Executor>>,
}

pub(crate) struct Shared {
    pub(crate) data: Arc<dyn WorkerApi>,
    pub(crate) registry: Arc<Registry<dyn Preparer>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) settings: Settings,
}

type Asked = Result<(Vec<Claim>, Timestamp)>;

impl PrepareController {
    /// Of what is prepared (`data`), by whom (`registry` has the native preparers, see
    /// [`native`](crate::native); `executors` make more of registered plugins).
    pub fn new(
        data: Arc<dyn WorkerApi>,
        registry: Arc<Registry<dyn Preparer>>,
        executors: Vec<Arc<dyn Executor>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        settings: Settings,
    ) -> Self {
        let shared = Arc::new(Shared {
            data,
            registry,
            clock,
            ids,
            settings,
        });
        Self { shared, executors }
    }

    /// Works until `shutdown`; then claims nothing more, lets work in flight go on for
    /// [`Settings::grace`], and gives back what is left. Dropped instead, it stops where it is, and
    /// its claims lapse. Needs a tokio runtime.
    ///
    /// # Errors
    /// What does not pass by itself: not allowed, not authenticated, not implemented. A store that
    /// cannot be reached is waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let leases = Leases::new(
            self.shared.data.clone(),
            self.shared.clock.clone(),
            self.shared.settings.lease,
        );
        let mut beside = JoinSet::new();
        let (changed, triggers) = mpsc::unbounded_channel();
        let (loaded, is_loaded) = oneshot::channel();
        let (heard, is_heard) = oneshot::channel();
        beside.spawn(plugins(
            self.shared.clone(),
            self.executors,
            loaded,
            changed,
        ));
        beside.spawn(Waker::new(self.shared.clone()).run(heard, triggers));
        beside.spawn(renew(leases.clone()));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(ended) = beside.join_next() => return Err(stopped(ended)),
            // No work before its plugins are known, and before changes are heard of.
            (Ok(()), Ok(())) = async { (is_loaded.await, is_heard.await) } => {}
        }
        tracing::info!(worker = self.shared.settings.name, "preparing");
        let mut work = JoinSet::new();
        let ended = claim(&self.shared, &leases, &shutdown, &mut beside, &mut work).await;
        finish(&self.shared, &leases, work).await;
        ended
    }
}

/// Claims as much as there is room for, again and again.
async fn claim(
    shared: &Arc<Shared>,
    leases: &Arc<Leases>,
    shutdown: &CancellationToken,
    beside: &mut JoinSet<Result<Infallible>>,
    work: &mut JoinSet<()>,
) -> Result<()> {
    let most = shared.settings.workers.max(1);
    // Kept while work ends beside it: a request that is dropped may have claimed something.
    let mut asking: Option<BoxFuture<'static, Asked>> = None;
    loop {
        if asking.is_none() && work.len() < most {
            asking = Some(Box::pin(ask(shared.clone(), most - work.len())));
        }
        let asked = async {
            match &mut asking {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(ended) = beside.join_next() => return Err(stopped(ended)),
            Some(ended) = work.join_next() => report(ended),
            asked = asked => {
                asking = None;
                let (claims, at) = asked?;
                for claim in claims {
                    work.spawn(one(shared.clone(), leases.clone(), claim, at));
                }
            }
        }
    }
}

async fn ask(shared: Arc<Shared>, max: usize) -> Asked {
    let settings = &shared.settings;
    let request = ClaimRequest {
        stage: Stage::Prepare,
        worker: settings.name.clone(),
        max,
        lease: settings.lease,
        wait: LONG_POLL.min(settings.lease / 3),
    };
    let mut failures = 0;
    loop {
        let at = shared.clock.now();
        match shared.data.claim(&request).await {
            Ok(claims) => return Ok((claims, at)),
            Err(error) => passes(error, &mut failures, &*shared.clock, "claim work").await?,
        }
    }
}

async fn one(shared: Arc<Shared>, leases: Arc<Leases>, claim: Claim, at: Timestamp) {
    let held = leases.hold(&claim.token, at);
    if held.keep(Pass::work(&shared, &claim)).await.is_none() {
        tracing::warn!(key = %claim.work.key, "lost the claim; dropped the work");
    }
}

/// Lets work in flight end, for a while, and gives back the rest.
async fn finish(shared: &Shared, leases: &Leases, mut work: JoinSet<()>) {
    let late = shared.clock.sleep(shared.settings.grace);
    let ended = async {
        while let Some(ended) = work.join_next().await {
            report(ended);
        }
    };
    tokio::select! {
        () = ended => return,
        () = late => {}
    }
    let left = leases.tokens();
    // First the work, so that nothing is done under a claim that was given back.
    work.shutdown().await;
    let yielded = Outcome::Yield {
        after: Duration::ZERO,
    };
    let outcomes: Vec<_> = left.into_iter().map(|t| (t, yielded.clone())).collect();
    tracing::info!(left = outcomes.len(), "gave back unfinished work");
    if let Err(error) = shared.data.settle(&outcomes).await {
        tracing::warn!(error = %error.chain(), "cannot give work back; its lease runs out");
    }
}

/// Keeps the registry's plugins as the data say, for ever.
async fn plugins(
    shared: Arc<Shared>,
    executors: Vec<Arc<dyn Executor>>,
    loaded: oneshot::Sender<()>,
    changed: mpsc::UnboundedSender<Vec<Gvk>>,
) -> Result<Infallible> {
    let make = |plugin: &Record| made_by(&executors, plugin, Executor::preparer);
    let mut failures = 0;
    let feed = loop {
        let data = &*shared.data;
        match PluginFeed::load(data, PluginType::Prepare, &shared.registry, &make).await {
            Ok(feed) => break feed,
            Err(error) => passes(error, &mut failures, &*shared.clock, "read plugins").await?,
        }
    };
    // Nobody waits any more: it is shutting down.
    let _ = loaded.send(());
    let tell = |triggers: &[Gvk]| {
        let _ = changed.send(triggers.to_vec());
    };
    feed.follow(&*shared.clock, tell).await;
    std::future::pending().await
}

async fn renew(leases: Arc<Leases>) -> Result<Infallible> {
    Ok(leases.keep().await)
}

/// Pauses after what passes by itself; answers with what does not.
pub(crate) async fn passes(
    error: Error,
    failures: &mut u32,
    clock: &dyn Clock,
    action: &str,
) -> Result<()> {
    if matches!(
        error.kind(),
        ErrorKind::BadArgument
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::NotImplemented
    ) {
        return Err(error);
    }
    *failures += 1;
    tracing::warn!(attempt = *failures, error = %error.chain(), "cannot {action}; retrying");
    clock.sleep(backoff(*failures, 0.0)).await;
    Ok(())
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "work on a deployment panicked; its lease runs out");
    }
}

fn stopped(ended: Result<Result<Infallible>, JoinError>) -> Error {
    match ended {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => error,
        Err(error) => Error::internal("go on preparing", error),
    }
}
