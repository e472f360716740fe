//! The claim loop: claims work, runs it, and releases unfinished work.

use crate::handle::Handle;
use crate::lease::{Lease, Leases};
use crate::settings::WorkerSettings;
use crate::settlement::outcome_of;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, OptionFuture, pending, select};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tko_core::retry::Retry;
use tko_core::{
    Claim, ClaimRequest, Clock, MAX_CHANGES, Outcome, Record, Result, Stage, Timestamp, Token,
    WorkerApi,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Maximum wait of one request for work. Work that becomes due meanwhile ends it early.
const LONG_POLL: Duration = Duration::from_secs(10);

/// Maximum wait before free places are filled, while less than half of the places are free.
const LINGER: Duration = Duration::from_millis(10);

/// Maximum wait for the request in flight at the end. A store that claims work for it answers
/// sooner. One that merely waits for work must not delay the shutdown for longer.
const LAST_ANSWER: Duration = Duration::from_millis(250);

/// The same wait after unfinished work was released: the request in flight may get that very work,
/// and a store may notice it only at its next poll.
const ANSWER_AFTER_RELEASE: Duration = Duration::from_secs(1);

pub(crate) struct ClaimLoop {
    context: Arc<Context>,
    tasks: JoinSet<()>,
    /// The request in flight. It is never dropped before the store had time to answer: it may have
    /// claimed work already, and nobody would work on those claims until their leases expire.
    request: Option<BoxFuture<'static, Result<Claimed>>>,
}

struct Context {
    data: Arc<dyn WorkerApi>,
    stage: Stage,
    handle: Arc<dyn Handle>,
    clock: Arc<dyn Clock>,
    settings: WorkerSettings,
    leases: Arc<Leases>,
}

struct Claimed {
    claims: Vec<(Claim, Option<Record>)>,
    /// When they were requested, by the worker's clock: leases count from here.
    requested: Timestamp,
}

impl ClaimLoop {
    pub(crate) fn new(
        data: Arc<dyn WorkerApi>,
        stage: Stage,
        handle: Arc<dyn Handle>,
        clock: Arc<dyn Clock>,
        settings: WorkerSettings,
        leases: Arc<Leases>,
    ) -> Self {
        let context = Context {
            data,
            stage,
            handle,
            clock,
            settings,
            leases,
        };
        Self {
            context: Arc::new(context),
            tasks: JoinSet::new(),
            request: None,
        }
    }

    /// Claims as much work as there is room for, until shutdown.
    ///
    /// # Errors
    /// A permanent error of claiming.
    pub(crate) async fn run(&mut self, shutdown: &CancellationToken) -> Result<()> {
        let mut linger: Option<BoxFuture<'static, ()>> = None;
        let mut lingered = false;
        loop {
            let running = self.tasks.len();
            let free = self.context.settings.concurrency.saturating_sub(running);
            // If work finishes so fast that many places are soon free, many pieces are claimed at
            // once.
            let is_enough = free * 2 >= self.context.settings.concurrency;
            if self.request.is_none() && free > 0 && (is_enough || lingered) {
                self.request = Some(Box::pin(request(self.context.clone(), free)));
                (linger, lingered) = (None, false);
            } else if self.request.is_none() && free > 0 && linger.is_none() {
                linger = Some(self.context.clock.sleep(LINGER));
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(_) = self.tasks.join_next() => while self.tasks.try_join_next().is_some() {},
                () = elapsed(&mut linger) => lingered = true,
                claimed = answered(&mut self.request) => self.start(claimed?),
            }
        }
    }

    fn start(&mut self, claimed: Claimed) {
        let Context {
            clock,
            settings,
            leases,
            ..
        } = &*self.context;
        if clock.now() >= claimed.requested.plus(settings.lease) {
            // The answer took longer than the lease: no work could be done under it.
            let tokens = claimed.claims.into_iter().map(|(claim, _)| claim.token);
            let late = hand_back(self.context.clone(), tokens.collect());
            self.tasks.spawn(async {
                late.await;
            });
            return;
        }
        for (claim, record) in claimed.claims {
            let lease = leases.hold(&claim.token, claimed.requested);
            self.tasks
                .spawn(work(self.context.clone(), claim, record, lease));
        }
    }

    /// Lets work in flight finish within the grace period, and releases the rest. Releases also
    /// what the request in flight still claims.
    pub(crate) async fn finish(mut self) {
        let context = self.context.clone();
        let mut late = pin!(context.clock.sleep(context.settings.grace));
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                () = &mut late => break,
                Some(_) = self.tasks.join_next() => {}
                claimed = answered(&mut self.request) => {
                    let claims = claimed.map_or_else(|_| Vec::new(), |claimed| claimed.claims);
                    let tokens = claims.into_iter().map(|(claim, _)| claim.token).collect();
                    hand_back(context.clone(), tokens).await;
                }
            }
        }
        let left = context.leases.tokens();
        // The work is stopped first, so that none continues under a released claim.
        self.tasks.shutdown().await;
        let wait = match hand_back(context.clone(), left).await {
            0 => LAST_ANSWER,
            _ => ANSWER_AFTER_RELEASE,
        };
        if self.request.is_none() {
            return;
        }
        let late = context.clock.sleep(wait);
        if let Either::Left((Ok(claimed), _)) =
            select(pin!(answered(&mut self.request)), late).await
        {
            let tokens = claimed.claims.into_iter().map(|(claim, _)| claim.token);
            hand_back(context, tokens.collect()).await;
        }
    }
}

/// Waits for the end of a pause, and clears it. Never completes if there is no pause.
async fn elapsed(pause: &mut Option<BoxFuture<'static, ()>>) {
    let ended = OptionFuture::from(pause.as_mut()).await;
    *pause = None;
    if ended.is_none() {
        pending::<()>().await;
    }
}

/// Waits for the answer of the request in flight, and clears it. Never completes if there is no
/// request.
async fn answered(request: &mut Option<BoxFuture<'static, Result<Claimed>>>) -> Result<Claimed> {
    let answer = OptionFuture::from(request.as_mut()).await;
    *request = None;
    match answer {
        Some(answer) => answer,
        None => pending().await,
    }
}

async fn request(context: Arc<Context>, max: usize) -> Result<Claimed> {
    let settings = &context.settings;
    let request = ClaimRequest::new(context.stage, settings.name.clone())
        .max(max)
        .lease(settings.lease)
        // The lease counts from before the request: a longer wait would use it up.
        .wait(LONG_POLL.min(settings.lease / 3));
    let mut retry = Retry::new(context.clock.clone());
    loop {
        let requested = context.clock.now();
        let claims = if let Some(want) = context.handle.want() {
            context.data.claim_records(&request, want).await
        } else {
            let claims = context.data.claim(&request).await;
            claims.map(|claims| claims.into_iter().map(|claim| (claim, None)).collect())
        };
        match claims {
            Ok(claims) => return Ok(Claimed { claims, requested }),
            Err(error) => retry.pause("claim work", error).await?,
        }
    }
}

/// Works on one claim, and settles it.
async fn work(context: Arc<Context>, claim: Claim, record: Option<Record>, lease: Lease) {
    let work = async {
        let handled = AssertUnwindSafe(context.handle.handle_record(&claim, record)).catch_unwind();
        if let Some(outcome) = outcome_of(&claim, handled.await) {
            settle(&context, &claim, outcome).await;
        }
    };
    if lease.keep(work).await.is_none() {
        tracing::warn!(key = %claim.work.key, "lost the lease; stopped the work");
    }
}

/// Ends a claim. Retries while the store is unavailable, because the whole work would be repeated
/// otherwise. The caller stops this when the lease is lost.
async fn settle(context: &Context, claim: &Claim, outcome: Outcome) {
    let settlement = [(claim.token.clone(), outcome)];
    // Renewals may succeed while settlements fail. Then the claim must not be kept for ever.
    let end = context.clock.now().plus(context.settings.lease);
    let mut retry = Retry::new(context.clock.clone());
    while let Err(error) = context.data.settle(&settlement).await {
        let paused = if error.is_retryable() && context.clock.now() < end {
            retry.pause("settle a claim", error).await
        } else {
            Err(error)
        };
        if let Err(error) = paused {
            tracing::warn!(key = %claim.work.key, error = %error.chain(), "failed to settle a claim; its lease will expire");
            return;
        }
    }
}

/// Makes unfinished work due again at once, without counting the attempt. Returns the number of
/// claims that the store has ended.
async fn hand_back(context: Arc<Context>, tokens: Vec<Token>) -> usize {
    let mut ended = 0;
    if tokens.is_empty() {
        return ended;
    }
    let outcome = Outcome::Yield {
        after: Duration::ZERO,
    };
    let outcomes: Vec<_> = tokens.into_iter().map(|t| (t, outcome.clone())).collect();
    tracing::info!(claims = outcomes.len(), "releasing unfinished work");
    for chunk in outcomes.chunks(MAX_CHANGES) {
        // After this time the leases have expired anyway.
        let late = context.clock.sleep(context.settings.lease);
        match select(context.data.settle(chunk), late).await {
            Either::Left((Ok(live), _)) => ended += live.into_iter().filter(|live| *live).count(),
            Either::Left((Err(error), _)) => {
                tracing::warn!(error = %error.chain(), "failed to release work; its leases will expire");
            }
            Either::Right(_) => {
                tracing::warn!("failed to release work in time; its leases have expired");
                break;
            }
        }
    }
    ended
}
