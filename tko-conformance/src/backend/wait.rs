//! [`Backend::claim`](tko_core::Backend::claim) while nothing is due: waiting, and the events that
//! end it.

use super::fixture::{BackendFixture, LONG, TTL, request};
use super::sample::{d, deployment, set};
use std::time::Duration;
use tko_core::{Claim, Enqueue, Lane, Outcome, Stage};

const STEP: Duration = Duration::from_secs(5);

/// Creates a deployment and enqueues work for it with a delay in seconds.
async fn due(fixture: &BackendFixture, id: &str, after: u64) {
    let mark = Enqueue::now(Stage::Prepare, d(id), Lane::new(0)).after(Duration::from_secs(after));
    let due = vec![mark];
    fixture.commit(set([deployment(id)]).enqueued(due)).await;
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.work.key.id()).collect()
}

/// A waiting claim ends when a commit enqueues work, and never misses it.
pub async fn a_waiting_claim_ends_with_new_work(fixture: BackendFixture) {
    let other = fixture.beside().await;
    let waiting = tokio::spawn(async move {
        let request = request(Stage::Prepare, 10).wait(LONG);
        other.backend.claim(&request).await
    });
    tokio::task::yield_now().await;
    due(&fixture, "d", 0).await;
    let claims = waiting.await.expect("the task ends").expect("work came");
    assert_eq!(ids(&claims), ["d"]);
}

/// A waiting claim ends when existing work becomes due or its lease expires.
pub async fn a_waiting_claim_ends_when_work_becomes_due(fixture: BackendFixture) {
    due(&fixture, "later", 20).await;
    for round in ["due", "expired"] {
        let other = fixture.beside().await;
        let waiting = tokio::spawn(async move {
            let request = request(Stage::Prepare, 10).wait(LONG);
            other.backend.claim(&request).await
        });
        tokio::task::yield_now().await;
        fixture.advance(TTL + STEP).await;
        let claims = waiting.await.expect("the task ends").expect("work is due");
        assert_eq!(ids(&claims), ["later"], "when it is {round}");
    }
}

/// A waiting claim ends when work is yielded.
pub async fn a_waiting_claim_ends_with_yielded_work(fixture: BackendFixture) {
    due(&fixture, "d", 0).await;
    let first = fixture.claim_one(Stage::Prepare).await;
    let other = fixture.beside().await;
    let waiting = tokio::spawn(async move {
        let request = request(Stage::Prepare, 10).wait(LONG);
        other.backend.claim(&request).await
    });
    tokio::task::yield_now().await;
    let back = Outcome::Yield {
        after: Duration::ZERO,
    };
    fixture
        .backend
        .settle(&[(first.token, back)])
        .await
        .expect("it is live");
    let claims = waiting.await.expect("the task ends").expect("work is due");
    assert_eq!(ids(&claims), ["d"]);
}

/// If nothing is due, a claim returns empty: at once without a wait, otherwise after it.
pub async fn a_claim_returns_empty_after_its_wait(fixture: BackendFixture) {
    due(&fixture, "later", 600).await;
    assert!(fixture.claim(Stage::Prepare, 10).await.is_empty());
    let other = fixture.beside().await;
    let mut waiting = tokio::spawn(async move {
        let request = request(Stage::Prepare, 10).wait(Duration::from_millis(200));
        other.backend.claim(&request).await
    });
    // The claim starts to wait when its task is scheduled, so time advances until it ends.
    let ended = loop {
        fixture.advance(Duration::from_secs(1)).await;
        let pause = Duration::from_millis(10);
        if let Ok(ended) = tokio::time::timeout(pause, &mut waiting).await {
            break ended;
        }
    };
    let claims = ended.expect("the task ends").expect("the call succeeds");
    assert!(claims.is_empty(), "{claims:?}");
}

/// A claim that is dropped while it waits leases nothing.
pub async fn a_dropped_claim_leases_nothing(fixture: BackendFixture) {
    let request = request(Stage::Prepare, 10).wait(LONG);
    for _ in 0..3 {
        let mut waiting = fixture.backend.claim(&request);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
    }
    due(&fixture, "d", 0).await;
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 1);
}
