//! [`Backend::claim`](tko_core::Backend::claim) while nothing is due: waiting, and what ends it.

use super::fixture::{BackendFixture, LONG, TTL, request};
use super::sample::{d, deployment, set};
use std::time::Duration;
use tko_core::{ChangeSet, Claim, ClaimRequest, Enqueue, Lane, Outcome, Stage};

const STEP: Duration = Duration::from_secs(5);

/// A deployment, and work on it that is due so much later.
async fn due(fixture: &BackendFixture, id: &str, after: u64) {
    let mark = Enqueue {
        after: Duration::from_secs(after),
        ..Enqueue::now(Stage::Prepare, d(id), Lane::new(0))
    };
    let due = vec![mark];
    fixture
        .commit(ChangeSet {
            enqueue: due,
            ..set([deployment(id)])
        })
        .await;
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.work.key.id()).collect()
}

/// Asked to wait, a claim ends when work becomes due by a commit, and does not miss it.
pub async fn a_waiting_claim_ends_with_new_work(fixture: BackendFixture) {
    let other = fixture.beside().await;
    let waiting = tokio::spawn(async move {
        let request = ClaimRequest {
            wait: LONG,
            ..request(Stage::Prepare, 10)
        };
        other.backend.claim(&request).await
    });
    tokio::task::yield_now().await;
    due(&fixture, "d", 0).await;
    let claims = waiting.await.expect("the task ends").expect("work came");
    assert_eq!(ids(&claims), ["d"]);
}

/// A waiting claim ends when work that is there becomes due, or its lease lapses, as time goes on.
pub async fn a_waiting_claim_ends_when_work_becomes_due(fixture: BackendFixture) {
    due(&fixture, "later", 20).await;
    for round in ["due", "lapsed"] {
        let other = fixture.beside().await;
        let waiting = tokio::spawn(async move {
            let request = ClaimRequest {
                wait: LONG,
                ..request(Stage::Prepare, 10)
            };
            other.backend.claim(&request).await
        });
        tokio::task::yield_now().await;
        fixture.advance(TTL + STEP).await;
        let claims = waiting.await.expect("the task ends").expect("work is due");
        assert_eq!(ids(&claims), ["later"], "when it is {round}");
    }
}

/// A waiting claim ends when work is handed back.
pub async fn a_waiting_claim_ends_with_yielded_work(fixture: BackendFixture) {
    due(&fixture, "d", 0).await;
    let first = fixture.claim_one(Stage::Prepare).await;
    let other = fixture.beside().await;
    let waiting = tokio::spawn(async move {
        let request = ClaimRequest {
            wait: LONG,
            ..request(Stage::Prepare, 10)
        };
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

/// Nothing being due, a claim ends empty: at once if it may not wait, else after its wait.
pub async fn a_claim_returns_empty_after_its_wait(fixture: BackendFixture) {
    due(&fixture, "later", 600).await;
    assert!(fixture.claim(Stage::Prepare, 10).await.is_empty());
    let other = fixture.beside().await;
    let mut waiting = tokio::spawn(async move {
        let request = ClaimRequest {
            wait: Duration::from_millis(200),
            ..request(Stage::Prepare, 10)
        };
        other.backend.claim(&request).await
    });
    // It begins to wait whenever its task comes to run.
    let ended = loop {
        fixture.advance(Duration::from_secs(1)).await;
        let pause = Duration::from_millis(10);
        if let Ok(ended) = tokio::time::timeout(pause, &mut waiting).await {
            break ended;
        }
    };
    let claims = ended.expect("the task ends").expect("an answer");
    assert!(claims.is_empty(), "{claims:?}");
}

/// A claim that is dropped while it waits leaves nothing leased.
pub async fn a_dropped_claim_leases_nothing(fixture: BackendFixture) {
    let request = ClaimRequest {
        wait: LONG,
        ..request(Stage::Prepare, 10)
    };
    for _ in 0..3 {
        let mut waiting = fixture.backend.claim(&request);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
    }
    due(&fixture, "d", 0).await;
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 1);
}
