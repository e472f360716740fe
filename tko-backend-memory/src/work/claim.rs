//! Claims, and waiting for work to claim.
//!
//! When the queue of a stage changes, one waiting claim is woken. It takes what it may and wakes
//! the next, so a change costs one look at the queue, no matter how many claims wait. Each also
//! wakes by itself when the next item that it knows of is due.

use crate::shared::SharedState;
use futures_util::future::select;
use std::pin::pin;
use tko_core::{Claim, ClaimRequest, MAX_CHANGES};
use tokio::sync::Notify;

/// Wakes the next waiting claim when it is dropped: more work may be due, or due earlier than that
/// claim knows.
struct Baton<'a>(&'a Notify);

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Leases due work, and waits for it as long as the request allows.
pub(crate) async fn claim(shared: &SharedState, request: &ClaimRequest) -> Vec<Claim> {
    let max = request.max.min(MAX_CHANGES);
    let baton = Baton(shared.due(request.stage));
    let deadline = shared.clock.now().plus(request.wait);
    loop {
        // Register before reading the queue, so that no signal is lost in between.
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
