//! Claiming, and waiting for something to claim.
//!
//! Of all who wait for one stage, one is woken when its queue changes, takes what it may and wakes
//! the next: a change costs one look at the queue, however many wait. Each also wakes by itself
//! when the next item that it knew of is due.

use crate::memory::Shared;
use futures_util::future::select;
use std::pin::pin;
use tko_core::{Claim, ClaimRequest, MAX_CHANGES};
use tokio::sync::Notify;

/// Wakes the next who waits, on whatever way out: there may be more, or it may be due earlier than
/// they know.
struct Baton<'a>(&'a Notify);

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Leases due work, waiting for it as long as the request says.
pub(crate) async fn claim(shared: &Shared, request: &ClaimRequest) -> Vec<Claim> {
    let max = request.max.min(MAX_CHANGES);
    let baton = Baton(shared.due(request.stage));
    let deadline = shared.clock.now().plus(request.wait);
    loop {
        // Listens before it looks, so that nothing falls between.
        let woken = pin!(baton.0.notified());
        let (claims, next, now) = {
            let mut state = shared.write();
            let now = shared.clock.now();
            let (queue, fences) = state.queue_mut(request.stage);
            let claims = queue.take(max, request.lease, now, fences);
            (claims, queue.next(), now)
        };
        if !claims.is_empty() || now >= deadline || max == 0 {
            return claims;
        }
        let until = next.map_or(deadline, |next| next.min(deadline));
        select(woken, shared.clock.sleep(until.since(now))).await;
    }
}

#[cfg(test)]
mod tests;
