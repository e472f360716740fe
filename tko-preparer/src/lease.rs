//! The claims that are held, renewed together.
//!
//! One renewer for all: at a third of the lease it renews every claim in one call. A claim that is
//! not live any more, or that could not be renewed for a whole lease, is *lost*: its work is
//! dropped where it stands, which kills a plugin that it waits for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::{Clock, Controller, Timestamp, Token};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<Token, Lease>>);

struct Lease {
    lost: CancellationToken,
    /// Before it was last asked for or renewed, by this process' clock.
    confirmed: Timestamp,
}

impl Leases {
    /// Holds a claim that was asked for at `asked`, until what this answers is dropped.
    pub(crate) fn hold<'a>(&'a self, token: &'a Token, asked: Timestamp) -> Held<'a> {
        let lost = CancellationToken::new();
        let lease = Lease {
            lost: lost.clone(),
            confirmed: asked,
        };
        self.lock().insert(token.clone(), lease);
        Held {
            leases: self,
            token,
            lost,
        }
    }

    /// What is held now.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.lock().keys().cloned().collect()
    }

    /// Renews what is held, for ever.
    pub(crate) async fn renew(&self, data: &dyn Controller, clock: &dyn Clock, lease: Duration) {
        loop {
            clock.sleep(lease / 3).await;
            let tokens = self.tokens();
            if tokens.is_empty() {
                continue;
            }
            let asked = clock.now();
            let answer = tokio::select! {
                answer = data.renew(&tokens, lease) => Some(answer),
                // Better asked again than waited for.
                () = clock.sleep(lease / 3) => None,
            };
            match answer {
                Some(Ok(live)) => {
                    for (token, live) in tokens.iter().zip(live) {
                        self.confirm(token, live.then_some(asked));
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(error = %error.chain(), "cannot renew claims; retrying");
                }
                None => tracing::warn!("renewing claims takes too long; retrying"),
            }
            self.drop_lapsed(clock.now(), lease);
        }
    }

    fn confirm(&self, token: &Token, live: Option<Timestamp>) {
        let mut held = self.lock();
        let Some(lease) = held.get_mut(token) else {
            return;
        };
        match live {
            Some(asked) => lease.confirmed = asked,
            None => lease.lost.cancel(),
        }
    }

    fn drop_lapsed(&self, now: Timestamp, lease: Duration) {
        for held in self.lock().values() {
            if now.since(held.confirmed) >= lease {
                held.lost.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim while it is worked on.
pub(crate) struct Held<'a> {
    leases: &'a Leases,
    token: &'a Token,
    lost: CancellationToken,
}

impl Held<'_> {
    /// Does the work; `None` if the claim was lost on the way.
    pub(crate) async fn keep<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => None,
            done = work => Some(done),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leases.lock().remove(self.token);
    }
}
