//! [`Backend::renew`](tko_core::Backend::renew), and the deadlines of leases and modifications.

use super::fixture::{BackendFixture, NEARLY, TICK, TTL};
use super::sample::{PutBuilder, d, deployment, s, set, site, t, template};
use crate::verdict::refused;
use std::time::Duration;
use tko_core::ErrorKind::{Busy, ClaimExpired};
use tko_core::{ChangeSet, Claim, Committed, Modification, Outcome, Result, Stage, Token, Want};

const STEP: Duration = Duration::from_secs(5);

async fn claimed(fixture: &BackendFixture) -> Claim {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    fixture.claim_one(Stage::Prepare).await
}

async fn modification(fixture: &BackendFixture) -> Modification {
    fixture.put([site("s")]).await;
    let modification = fixture
        .backend
        .start_modification(&s("s"), TTL, Want::ROW)
        .await;
    modification.expect("the entity exists and is free")
}

async fn renew(fixture: &BackendFixture, token: &Token, ttl: Duration) -> bool {
    let renewed = fixture
        .backend
        .renew(std::slice::from_ref(token), ttl)
        .await;
    let renewed = renewed.expect("the call succeeds");
    assert_eq!(renewed.len(), 1, "an answer for each token");
    renewed[0]
}

async fn settle(fixture: &BackendFixture, token: &Token) -> bool {
    let settled = fixture
        .backend
        .settle(&[(token.clone(), Outcome::Done)])
        .await;
    settled.expect("the call succeeds") == [true]
}

/// Commits an empty set under this token.
async fn under(fixture: &BackendFixture, token: &Token) -> Result<Committed> {
    fixture
        .try_commit(ChangeSet::new().under(token.clone()))
        .await
}

/// A renewed lease lasts `ttl` from the renewal; each token is renewed by itself.
pub async fn a_renewed_lease_lasts_longer(fixture: BackendFixture) {
    fixture.put(["a", "b"].map(deployment)).await;
    fixture.enqueue(Stage::Prepare, [d("a")]).await;
    let dead = fixture.claim_one(Stage::Prepare).await.token;
    assert!(settle(&fixture, &dead).await, "it is live");
    fixture.enqueue(Stage::Prepare, [d("b")]).await;
    let live = fixture.claim_one(Stage::Prepare).await.token;
    for _ in 0..4 {
        fixture.advance(NEARLY).await;
        let renewed = fixture
            .backend
            .renew(&[dead.clone(), live.clone(), live.clone()], TTL)
            .await;
        assert_eq!(renewed.expect("the call succeeds"), [false, true, true]);
    }
    let work = fixture.work(Stage::Prepare, d("b")).await;
    let leased = work.and_then(|work| work.leased).expect("it is leased");
    let left = leased.since(fixture.now().await);
    assert!(left > NEARLY && left <= TTL, "{left:?}");
    fixture.advance(NEARLY).await;
    fixture
        .commit(set([template("t")]).under(live.clone()))
        .await;
    assert!(fixture.find(t("t")).await.is_some());
    fixture.advance(STEP + STEP).await;
    assert!(!renew(&fixture, &live, TTL).await, "it has expired");
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 2);
}

/// A renewed modification lasts `ttl` from the renewal.
pub async fn a_renewed_modification_lasts_longer(fixture: BackendFixture) {
    let token = modification(&fixture).await.token;
    let put = || set([site("s").with_label("k", "v")]);
    fixture.advance(NEARLY).await;
    let twice = [token.clone(), token.clone()];
    let renewed = fixture.backend.renew(&twice, TTL).await;
    assert_eq!(renewed.expect("the call succeeds"), [true, true]);
    fixture.advance(NEARLY).await;
    refused(
        fixture.try_commit(put()).await,
        &[Busy],
        "a write by another client",
    );
    fixture.advance(Duration::from_secs(6)).await;
    assert!(!renew(&fixture, &token, TTL).await, "it has expired");
    let result = under(&fixture, &token).await;
    refused(result, &[ClaimExpired], "an expired token");
}

/// A renewal sets the deadline of a lease to `ttl` from now, even if that is sooner than before.
pub async fn a_renewal_can_shorten_a_lease(fixture: BackendFixture) {
    let token = claimed(&fixture).await.token;
    assert!(renew(&fixture, &token, STEP).await);
    let work = fixture.work(Stage::Prepare, d("d")).await;
    let leased = work.and_then(|work| work.leased).expect("it is leased");
    let left = leased.since(fixture.now().await);
    assert!(left <= STEP, "{left:?} are left");
    fixture.advance(STEP).await;
    assert!(!settle(&fixture, &token).await, "it has expired");
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 2);
}

/// A renewal sets the deadline of a modification to `ttl` from now, even if that is sooner than
/// before.
pub async fn a_renewal_can_shorten_a_modification(fixture: BackendFixture) {
    let token = modification(&fixture).await.token;
    assert!(renew(&fixture, &token, STEP).await);
    fixture.advance(STEP).await;
    let result = under(&fixture, &token).await;
    refused(result, &[ClaimExpired], "an expired token");
    fixture.put([site("s").with_label("k", "v")]).await;
}

/// A lease is live until its deadline, and expired from exactly that moment.
pub async fn a_lease_expires_exactly_at_its_deadline(fixture: BackendFixture) {
    let Claim { token, until, .. } = claimed(&fixture).await;
    fixture.advance_until(until, TICK).await;
    let early = fixture.claim(Stage::Prepare, 10).await;
    let kept = under(&fixture, &token).await;
    // A clock that also runs by itself may have reached the deadline meanwhile.
    let in_time = fixture.now().await < until;
    if in_time {
        assert!(early.is_empty(), "claimed too early: {early:?}");
        assert!(kept.is_ok(), "it is live: {kept:?}");
    }
    fixture.advance_until(until, Duration::ZERO).await;
    let result = under(&fixture, &token).await;
    refused(result, &[ClaimExpired], "a lease at its deadline");
    assert!(!renew(&fixture, &token, TTL).await, "it has expired");
    assert!(!settle(&fixture, &token).await, "it has expired");
    if early.is_empty() {
        assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 2);
    }
}

/// A modification is live until its deadline, and expired from exactly that moment.
pub async fn a_modification_expires_exactly_at_its_deadline(fixture: BackendFixture) {
    let Modification { token, until, .. } = modification(&fixture).await;
    let start = async || {
        fixture
            .backend
            .start_modification(&s("s"), TTL, Want::ROW)
            .await
    };
    fixture.advance_until(until, TICK).await;
    let early = start().await;
    // A clock that also runs by itself may have reached the deadline meanwhile.
    let in_time = fixture.now().await < until;
    if in_time {
        refused(early, &[Busy], "a second modification");
    }
    fixture.advance_until(until, Duration::ZERO).await;
    let result = under(&fixture, &token).await;
    refused(result, &[ClaimExpired], "a modification at its deadline");
    assert!(!renew(&fixture, &token, TTL).await, "it has expired");
    assert!(!settle(&fixture, &token).await, "it has expired");
    if in_time {
        fixture.put([site("s").with_label("k", "v")]).await;
        start().await.expect("the key is free");
    }
}
