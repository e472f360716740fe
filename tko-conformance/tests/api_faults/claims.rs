//! Faults of claims.

use crate::broken::Broken;
use crate::inner_calls::BACK;
use std::time::Duration;
use tko_core::{Claim, ClaimRequest, Enqueue, MAX_CHANGES, Result};

impl Broken {
    pub(crate) fn lively(&self, mut live: Vec<bool>) -> Vec<bool> {
        if self.is("every token is live") {
            live.fill(true);
        }
        live
    }

    pub(crate) async fn broken_claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let mut request = request.clone();
        if self.is("claims never wait") {
            request.wait = Duration::ZERO;
        }
        let mut claims = if self.is("claims ignore lanes") {
            self.claimed_in_order(&request).await?
        } else {
            self.inner.claim(&request).await?
        };
        if self.is("attempts are not counted") {
            for claim in &mut claims {
                claim.work.attempts = 1;
            }
        }
        if self.is("the fence never rises") {
            for claim in &mut claims {
                claim.fence = 1;
            }
        }
        Ok(claims)
    }

    /// Claims the work of the first keys, whatever its lanes.
    async fn claimed_in_order(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let all = request.clone().max(1_000);
        let mut claims = self.inner.claim(&all).await?;
        claims.sort_by_key(|claim| claim.work.key.clone());
        let back = claims.split_off(request.max.min(claims.len()));
        let back: Vec<_> = back.into_iter().map(|claim| (claim.token, BACK)).collect();
        self.inner.settle(&back).await?;
        Ok(claims)
    }

    pub(crate) async fn broken_enqueue(&self, work: Vec<Enqueue>) -> Result<()> {
        if self.is("enqueue has no effect") {
            return Ok(());
        }
        if self.is("enqueue takes any number") {
            for some in work.chunks(MAX_CHANGES) {
                self.inner.enqueue(some.to_vec()).await?;
            }
            return Ok(());
        }
        self.inner.enqueue(work).await
    }
}
