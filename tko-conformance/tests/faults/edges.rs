//! Faults of modifications, claims, and how they end.

use crate::broken::Broken;
use std::time::Duration;
use tko_core::{
    Backend, Claim, ClaimRequest, Error, Key, Kind, Lane, List, Modification, Outcome, Result,
    Select, Stage, Token, Want,
};

/// A time longer than any check.
const FOR_EVER: Duration = Duration::from_hours(1_000);

/// The resolution of the store's time.
const TICK: Duration = Duration::from_micros(1);

const BACK: Outcome = Outcome::Yield {
    after: Duration::ZERO,
};

impl Broken {
    pub(crate) async fn broken_edit(
        &self,
        key: &Key,
        ttl: Duration,
        want: Want,
    ) -> Result<Modification> {
        let until = self.inner.feed_position().await?.now.plus(ttl);
        let ttl = if self.is("modifications never expire") {
            FOR_EVER
        } else {
            ttl
        };
        if self.is("modifications are not granted atomically") {
            if self.memo().edits.contains_key(key) {
                return Err(Error::Busy(key.clone()));
            }
            tokio::task::yield_now().await;
        }
        let ttl = match () {
            () if self.is("a modification is live at its deadline") => ttl + TICK,
            () if self.is("a modification expires early") => ttl.saturating_sub(TICK),
            () => ttl,
        };
        let mut edit = match self.inner.start_modification(key, ttl, want).await {
            Err(Error::Busy(_))
                if self.is_any(&[
                    "modifications are not exclusive",
                    "modifications are not granted atomically",
                ]) =>
            {
                let token = self
                    .memo()
                    .edits
                    .get(key)
                    .cloned()
                    .expect("it was given out");
                self.inner.settle(&[(token, Outcome::Done)]).await?;
                self.inner.start_modification(key, ttl, want).await?
            }
            Err(Error::NotFound(_)) if self.is("a modification of an absent entity is busy") => {
                return Err(Error::Busy(key.clone()));
            }
            edit => edit?,
        };
        edit.until = until;
        self.memo().edits.insert(key.clone(), edit.token.clone());
        self.memo().deadlines.insert(edit.token.clone(), until);
        if self.is("a modification returns no package") {
            edit.record.package = None;
        }
        if self.is("a modification makes a revision") {
            self.make_noise(key).await;
        }
        Ok(edit)
    }

    pub(crate) async fn broken_claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let mut request = request.clone();
        let until = self.inner.feed_position().await?.now.plus(request.lease);
        if self.is("leases expire at once") {
            request.lease = Duration::ZERO;
        }
        if self.is("leases never expire") {
            request.lease = FOR_EVER;
        }
        let spoilt_deadline = [
            "leases never expire",
            "a lease is live at its deadline",
            "a lease expires early",
        ];
        if self.is("a lease is live at its deadline") {
            request.lease += TICK;
        }
        if self.is("a lease expires early") {
            request.lease = request.lease.saturating_sub(TICK);
        }
        if self.is("max is ignored") {
            request.max = 1_000;
        }
        let mut claims = self.waited_for(request.clone()).await?;
        for claim in &mut claims {
            if self.is_any(&spoilt_deadline) {
                claim.until = until;
            }
            self.memo()
                .deadlines
                .insert(claim.token.clone(), claim.until);
            if self.is("attempts are not counted") {
                claim.work.attempts = 0;
            }
            if self.is("the fence never rises") {
                claim.fence = 1;
            }
            let key = &claim.work.key;
            let expired = self.memo().leased.contains(key);
            if self.is("an expired lease forgets the last error") && expired {
                claim.work.error = None;
            }
            if self.is("work enqueued again stays in the failing lane") {
                let mut memo = self.memo();
                if memo.failing.contains(key) {
                    claim.work.lane = Lane::FAILING;
                }
                if claim.work.lane == Lane::FAILING {
                    memo.failing.push(key.clone());
                }
            }
            self.memo().leased.push(key.clone());
            if self.is("a claim makes a revision") {
                self.make_noise(key).await;
            }
            let lapsed = claim.work.attempts > 1;
            if self.is("enqueues before a claim count again")
                || (self.is("an expired lease enqueues its work") && lapsed)
            {
                self.mark(request.stage, key).await;
            }
        }
        if self.is("work is leased twice") {
            claims.extend(claims.first().cloned());
        }
        let poison = claims
            .first()
            .is_some_and(|claim| claim.work.attempts > Lane::PATIENCE);
        if self.is("abandoned work is claimed with other work") && poison {
            claims.extend(self.inner.claim(&request).await?);
        }
        Ok(claims)
    }

    async fn waited_for(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let at_once = request.clone().wait(Duration::ZERO);
        if self.is("claims never wait") {
            return self.inner.claim(&at_once).await;
        }
        if self.is("claims wait for ever") {
            let wait = FOR_EVER;
            return self.inner.claim(&request.wait(wait)).await;
        }
        if self.is("a dropped claim continues") {
            let inner = self.inner.clone();
            let claiming = tokio::spawn(async move { inner.claim(&request).await });
            return claiming.await.expect("it ends");
        }
        let commits_only = ["a waiting claim ignores time", "yielded work wakes nobody"];
        if self.is_any(&commits_only) {
            loop {
                let committed = self.committed.notified();
                let claims = self.inner.claim(&at_once).await?;
                if !claims.is_empty() || request.wait.is_zero() {
                    return Ok(claims);
                }
                committed.await;
            }
        }
        let by_lane = [
            "one lane is served at a time",
            "the first lane is always first",
        ];
        if self.is_any(&by_lane) {
            let all = at_once.max(1_000);
            let mut claims = self.inner.claim(&all).await?;
            claims.sort_by_key(|claim| claim.work.lane);
            let back = claims.split_off(request.max.min(claims.len()));
            let back: Vec<_> = back.into_iter().map(|claim| (claim.token, BACK)).collect();
            self.inner.settle(&back).await?;
            return Ok(claims);
        }
        if self.is("stages share their turn") {
            return self.in_shared_turn(&at_once).await;
        }
        if self.is("work is due one tick early") {
            return self.claimed_early(&at_once).await;
        }
        self.inner.claim(&request).await
    }

    /// Claims from the lane after the one from which any stage was last served.
    async fn in_shared_turn(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let all = request.clone().max(1_000);
        let mut claims = self.inner.claim(&all).await?;
        let turn = self.memo().turn;
        claims.sort_by_key(|claim| {
            let lanes = Lane::COUNT;
            (claim.work.lane.number() + lanes - turn - 1) % lanes
        });
        let back = claims.split_off(request.max.min(claims.len()));
        let back: Vec<_> = back.into_iter().map(|claim| (claim.token, BACK)).collect();
        self.inner.settle(&back).await?;
        if let Some(last) = claims.last() {
            self.memo().turn = last.work.lane.number();
        }
        Ok(claims)
    }

    /// Enqueues work that is due within a tick, so that it is due now.
    async fn claimed_early(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let now = self.inner.feed_position().await?.now;
        let list = List::new(Select::all(Kind::Deployment))
            .limit(0)
            .want(Want::ROW.with_work());
        for record in self.inner.list(&list).await?.items {
            for work in record.work {
                if work.due > now && work.due <= now.plus(TICK) {
                    self.mark(work.stage, &work.key).await;
                }
            }
        }
        self.inner.claim(request).await
    }

    pub(crate) async fn broken_renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        if self.is("renewals have no effect") {
            return Ok(vec![true; tokens.len()]);
        }
        let ttl = if self.is("a renewal is too short") {
            ttl / 10
        } else {
            ttl
        };
        let until = self.inner.feed_position().await?.now.plus(ttl);
        let mut renewed = Vec::new();
        for token in tokens {
            let modification = self.memo().edits.values().any(|edit| edit == token);
            let keeps = if modification {
                self.is("renewing a modification never shortens it")
            } else {
                self.is("renewing a lease never shortens it")
            };
            let known = self.memo().deadlines.get(token).copied();
            if keeps && known.is_some_and(|known| known > until) {
                renewed.push(true);
                continue;
            }
            let live = self.inner.renew(std::slice::from_ref(token), ttl).await?[0];
            if live {
                self.memo().deadlines.insert(token.clone(), until);
            }
            renewed.push(live);
        }
        Ok(renewed)
    }

    pub(crate) async fn broken_settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        let mut settled = Vec::new();
        for (token, outcome) in outcomes {
            let outcome = match outcome.clone() {
                Outcome::Done if self.is("done work is yielded") => BACK,
                Outcome::Retry { after, .. } if self.is("a retry is yielded") => {
                    Outcome::Yield { after }
                }
                Outcome::Retry { reason, .. } if self.is("the delay of a retry is ignored") => {
                    let after = Duration::ZERO;
                    Outcome::Retry { after, reason }
                }
                Outcome::Retry { after, .. } if self.is("the reasons of retries are lost") => {
                    let reason = String::new();
                    Outcome::Retry { after, reason }
                }
                Outcome::Yield { after } if self.is("a yield is retried") => {
                    let reason = String::new();
                    Outcome::Retry { after, reason }
                }
                outcome => outcome,
            };
            let edit = self.memo().edits.get(&token.key) == Some(token);
            if self.is("a modification is cancelled by done only")
                && edit
                && outcome != Outcome::Done
            {
                settled.push(false);
                continue;
            }
            self.memo().leased.retain(|key| *key != token.key);
            if matches!(outcome, Outcome::Retry { .. }) {
                self.memo().retried.push(token.key.clone());
            }
            let mut live = self
                .inner
                .settle(&[(token.clone(), outcome.clone())])
                .await?[0];
            if !live && self.is("an expired lease settles") {
                live = self.settle_anyhow(token, outcome).await?;
            }
            settled.push(live || self.is("every token is live"));
        }
        Ok(settled)
    }

    async fn settle_anyhow(&self, token: &Token, outcome: Outcome) -> Result<bool> {
        let request = ClaimRequest::new(Stage::Prepare, String::new())
            .max(1_000)
            .lease(FOR_EVER);
        let mut live = false;
        for claim in self.inner.claim(&request).await? {
            let wanted = claim.work.key == token.key;
            live |= wanted;
            let end = if wanted { outcome.clone() } else { BACK };
            self.inner.settle(&[(claim.token, end)]).await?;
        }
        Ok(live)
    }
}
