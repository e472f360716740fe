//! Leases of the claims that one worker works on, renewed together.
//!
//! A worker [holds](Leases::hold) each of its claims while it works on it. One renewer, the future
//! of [`Leases::keep`], renews all of them at a third of their duration, many in one call. A lease
//! is *lost* when the store reports that it is not live, or when it was not renewed in time. Its
//! work must then stop, because another worker may have claimed it.
//!
//! A lease counts from *before* it was requested, by the worker's own clock. So a worker notices
//! the loss no later than the store, even while the store cannot be reached.
//!
//! A [`Worker`](crate::Worker) does all of this itself.

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, Either, Pending, Shared, pending, select};
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::{Clock, MAX_CHANGES, Timestamp, Token, WorkerApi};

/// Leases of the claims that one worker holds.
pub struct Leases {
    data: Arc<dyn WorkerApi>,
    clock: Arc<dyn Clock>,
    time: Duration,
    held: Mutex<HashMap<Token, HeldLease>>,
}

/// A lease as its renewer sees it.
struct HeldLease {
    until: Timestamp,
    refuse: AbortHandle,
}

/// A lease that is renewed until this value is dropped.
pub struct Lease {
    leases: Arc<Leases>,
    token: Token,
    /// Ends when the store reports that the claim is not live.
    refused: Shared<Abortable<Pending<()>>>,
}

impl Leases {
    /// An empty set of leases; leases that are added last for `time`. Nothing is renewed unless the
    /// future of [`keep`](Self::keep) runs.
    pub fn new(data: Arc<dyn WorkerApi>, clock: Arc<dyn Clock>, time: Duration) -> Arc<Self> {
        Arc::new(Self {
            data,
            clock,
            time,
            held: Mutex::default(),
        })
    }

    /// Adds the lease of a claim that was requested at `asked`, by the clock given to
    /// [`new`](Self::new).
    pub fn hold(self: &Arc<Self>, token: &Token, asked: Timestamp) -> Lease {
        let (refuse, refused) = AbortHandle::new_pair();
        let held = HeldLease {
            until: asked.plus(self.time),
            refuse,
        };
        self.lock().insert(token.clone(), held);
        Lease {
            leases: self.clone(),
            token: token.clone(),
            refused: Abortable::new(pending(), refused).shared(),
        }
    }

    /// Tokens of the leases that are held now, in arbitrary order.
    pub fn tokens(&self) -> Vec<Token> {
        self.lock().keys().cloned().collect()
    }

    /// Renews all leases until the future is dropped.
    pub async fn keep(&self) -> Infallible {
        let turn = self.time / 3;
        let mut pause = turn;
        loop {
            self.clock.sleep(pause).await;
            // After an error there is time for more attempts before the leases end.
            pause = if self.renew(turn).await {
                turn
            } else {
                turn / 4
            };
        }
    }

    /// Renews the leases once. Returns whether the store answered for all of them.
    async fn renew(&self, patience: Duration) -> bool {
        let tokens = self.tokens();
        let mut all = true;
        for some in tokens.chunks(MAX_CHANGES) {
            let asked = self.clock.now();
            // A request that hangs is replaced by a new one.
            let late = self.clock.sleep(patience);
            match select(self.data.renew(some, self.time), late).await {
                Either::Left((Ok(live), _)) => self.confirm(some, &live, asked),
                Either::Left((Err(error), _)) => {
                    tracing::warn!(error = %error.chain(), "failed to renew leases; retrying");
                    all = false;
                }
                Either::Right(_) => {
                    tracing::warn!("renewing leases takes too long; retrying");
                    return false;
                }
            }
        }
        all
    }

    fn confirm(&self, tokens: &[Token], live: &[bool], asked: Timestamp) {
        let mut held = self.lock();
        for (token, live) in tokens.iter().zip(live) {
            match held.get_mut(token) {
                Some(held) if *live => held.until = asked.plus(self.time),
                Some(held) => held.refuse.abort(),
                // The lease was released meanwhile.
                None => {}
            }
        }
    }

    fn until(&self, token: &Token) -> Option<Timestamp> {
        self.lock().get(token).map(|held| held.until)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, HeldLease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Ends when the lease is lost.
    pub async fn lost(&self) {
        let mut refused = self.refused.clone();
        loop {
            let now = self.leases.clock.now();
            let left = match self.leases.until(&self.token) {
                Some(until) => until.since(now),
                None => Duration::ZERO,
            };
            if left.is_zero() {
                return;
            }
            match select(refused, self.leases.clock.sleep(left)).await {
                Either::Left(_) => return,
                // It may have been renewed.
                Either::Right(((), still)) => refused = still,
            }
        }
    }

    /// Runs the work. Returns `None` if the lease was lost first; the work is then dropped.
    pub async fn keep<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(self.lost()), pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.token);
    }
}
