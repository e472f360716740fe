//! Leases of the sites that are being worked on, kept alive by one renewer.
//!
//! A lease counts from *before* it was asked for, by this process's clock: whoever loses it knows
//! so no later than the store, even while the store cannot be reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tko_core::{Clock, Controller, MAX_CHANGES, Timestamp, Token};
use tokio_util::sync::CancellationToken;

pub(crate) struct Leases {
    data: Arc<dyn Controller>,
    clock: Arc<dyn Clock>,
    lease: Duration,
    held: Mutex<HashMap<Token, Entry>>,
}

struct Entry {
    until: Timestamp,
    lost: CancellationToken,
}

/// Kept alive until it is dropped.
pub(crate) struct Lease {
    leases: Arc<Leases>,
    token: Token,
    lost: CancellationToken,
}

impl Lease {
    /// Ends when the lease is not ours any more.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.token);
    }
}

impl Leases {
    pub(crate) fn new(
        data: Arc<dyn Controller>,
        clock: Arc<dyn Clock>,
        lease: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            data,
            clock,
            lease,
            held: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Entry>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this claim is renewed; it was asked for at `asked`.
    pub(crate) fn hold(self: &Arc<Self>, token: &Token, asked: Timestamp) -> Lease {
        let lost = CancellationToken::new();
        let entry = Entry {
            until: asked.plus(self.lease),
            lost: lost.clone(),
        };
        self.lock().insert(token.clone(), entry);
        Lease {
            leases: self.clone(),
            token: token.clone(),
            lost,
        }
    }

    /// Renews for ever: drop it to end it.
    pub(crate) async fn keep(&self) {
        let turn = self.lease / 3;
        let mut pause = turn;
        loop {
            self.clock.sleep(pause).await;
            // An error is no loss: there is time for more tries before the lease ends.
            pause = if self.renew().await { turn } else { turn / 4 };
            let now = self.clock.now();
            for entry in self.lock().values() {
                if entry.until <= now {
                    entry.lost.cancel();
                }
            }
        }
    }

    /// False: not all could be asked for.
    async fn renew(&self) -> bool {
        let tokens: Vec<Token> = self.lock().keys().cloned().collect();
        let mut all = true;
        for some in tokens.chunks(MAX_CHANGES) {
            let asked = self.clock.now();
            // A store that does not answer must not keep us from seeing that leases end.
            let patience = self.clock.sleep(self.lease / 3);
            let answer = tokio::select! {
                answer = self.data.renew(some, self.lease) => answer,
                () = patience => {
                    tracing::warn!("renewing the claims of sites takes too long; trying again");
                    all = false;
                    continue;
                }
            };
            match answer {
                Ok(live) => {
                    let mut held = self.lock();
                    for (token, live) in some.iter().zip(live) {
                        match held.get_mut(token) {
                            Some(entry) if live => entry.until = asked.plus(self.lease),
                            Some(entry) => entry.lost.cancel(),
                            None => {}
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "cannot renew the claims of sites");
                    all = false;
                }
            }
        }
        all
    }
}
