//! Claims that are worked on, kept alive together.
//!
//! A worker [holds](Leases::hold) each of its claims while it works on it; one renewer, which is
//! [`Leases::keep`], renews all of them at a third of their time, many in one call. A claim is
//! *lost* when the store says that it is not live, or when it was not renewed in time: then its
//! work must stop, for someone else may have it.
//!
//! A lease counts from *before* it was asked for, by the worker's own clock: whoever loses it knows
//! so no later than the store, even while the store cannot be reached.

use crate::api::WorkerApi;
use crate::change::MAX_CHANGES;
use crate::clock::Clock;
use crate::revision::Timestamp;
use crate::work::Token;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, Either, Pending, Shared, pending, select};
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The claims that one worker holds.
pub struct Leases {
    data: Arc<dyn WorkerApi>,
    clock: Arc<dyn Clock>,
    time: Duration,
    held: Mutex<HashMap<Token, Held>>,
}

struct Held {
    until: Timestamp,
    refuse: AbortHandle,
}

/// A claim that is renewed until this is dropped.
pub struct Lease {
    leases: Arc<Leases>,
    token: Token,
    /// Ends when the store says that the claim is not live.
    refused: Shared<Abortable<Pending<()>>>,
}

impl Leases {
    /// Of claims on `data` that last for `time`. Renews nothing by itself: see
    /// [`keep`](Self::keep).
    pub fn new(data: Arc<dyn WorkerApi>, clock: Arc<dyn Clock>, time: Duration) -> Arc<Self> {
        Arc::new(Self {
            data,
            clock,
            time,
            held: Mutex::default(),
        })
    }

    /// From now on this claim is renewed. It was asked for at `asked`, by the clock given here.
    pub fn hold(self: &Arc<Self>, token: &Token, asked: Timestamp) -> Lease {
        let (refuse, refused) = AbortHandle::new_pair();
        let held = Held {
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

    /// What is held now, in no order.
    pub fn tokens(&self) -> Vec<Token> {
        self.lock().keys().cloned().collect()
    }

    /// Renews what is held, for ever: drop it to end it.
    pub async fn keep(&self) -> Infallible {
        let turn = self.time / 3;
        let mut pause = turn;
        loop {
            self.clock.sleep(pause).await;
            // An error is no loss: there is time for more tries before the leases end.
            pause = if self.renew(turn).await {
                turn
            } else {
                turn / 4
            };
        }
    }

    /// False: not all could be asked for.
    async fn renew(&self, patience: Duration) -> bool {
        let tokens = self.tokens();
        let mut all = true;
        for some in tokens.chunks(MAX_CHANGES) {
            let asked = self.clock.now();
            // Better asked again than waited for.
            let late = self.clock.sleep(patience);
            match select(self.data.renew(some, self.time), late).await {
                Either::Left((Ok(live), _)) => self.confirm(some, &live, asked),
                Either::Left((Err(error), _)) => {
                    tracing::warn!(error = %error.chain(), "cannot renew claims; retrying");
                    all = false;
                }
                Either::Right(_) => {
                    tracing::warn!("renewing claims takes too long; retrying");
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
                // Given back meanwhile.
                None => {}
            }
        }
    }

    fn until(&self, token: &Token) -> Option<Timestamp> {
        self.lock().get(token).map(|held| held.until)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Ends when the claim is lost.
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

    /// Does the work; `None` if the claim was lost on the way, and the work dropped where it stood.
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
