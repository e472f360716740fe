//! Claims as workers see them through the API.

use super::fixture::{DataFixture, TTL};
use super::sample::{d, enqueue, s, site_id, t};
use crate::verdict::refused;
use serde_json::json;
use std::time::Duration;
use tko_core::ErrorKind::BadArgument;
use tko_core::{
    ClaimRequest, Enqueue, ErrorKind, Key, Lane, MAX_CHANGES, NewDeployment, Outcome, Stage, Token,
};

/// A claim describes its work; its token renews and settles it, each token separately.
pub async fn a_claim_is_renewed_and_settled(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let now = fixture
        .data
        .feed_position()
        .await
        .expect("the feed position is read")
        .now;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    assert_eq!(
        (claim.work.stage, &claim.work.key),
        (Stage::Prepare, &Key::from(&id))
    );
    assert_eq!(claim.work.attempts, 1);
    assert_eq!(claim.token.key, Key::from(&id));
    let lease = claim.until.since(now);
    assert!(
        lease >= TTL && lease < TTL + Duration::from_secs(5),
        "{lease:?}"
    );
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "it is leased"
    );
    let dead = Token::new(claim.token.key.clone(), "lease.none");
    fixture.advance(Duration::from_secs(40)).await;
    let renewed = fixture
        .data
        .renew(&[dead.clone(), claim.token.clone()], TTL)
        .await;
    assert_eq!(renewed.expect("the call succeeds"), [false, true]);
    fixture.advance(Duration::from_secs(40)).await;
    let outcomes = [(dead, Outcome::Done), (claim.token.clone(), Outcome::Done)];
    let settled = fixture.data.settle(&outcomes).await;
    assert_eq!(settled.expect("the call succeeds"), [false, true]);
    let settled = fixture.data.settle(&outcomes[1..]).await;
    assert_eq!(
        settled.expect("the call succeeds"),
        [false],
        "the claim has ended"
    );
}

/// A retry keeps its reason, delay and progress and counts the attempt; a yield does not count.
pub async fn outcomes_take_effect(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let work = async || {
        fixture
            .read(&id)
            .await
            .work
            .pop()
            .expect("the work still exists")
    };
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    let mut step = fixture.step(id.as_str()).await;
    step.progress = Some(json!({"at": [1, 2.0, null]}));
    fixture
        .data
        .commit_prepared(&claim.token, step)
        .await
        .expect("it is live");
    let retry = Outcome::Retry {
        after: TTL,
        reason: "the plugin is down".to_owned(),
    };
    fixture
        .data
        .settle(&[(claim.token, retry)])
        .await
        .expect("the call succeeds");
    let waiting = work().await;
    assert_eq!(waiting.error.as_deref(), Some("the plugin is down"));
    assert_eq!(waiting.progress, Some(json!({"at": [1, 2.0, null]})));
    assert_eq!((waiting.attempts, waiting.leased), (1, None));
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "too early"
    );
    fixture.advance(TTL).await;
    let claim = fixture.claim_of(Stage::Prepare, &id).await;
    assert_eq!(claim.work.attempts, 2);
    assert_eq!(claim.work.progress, Some(json!({"at": [1, 2.0, null]})));
    assert_eq!(work().await.leased, Some(claim.until));
    let back = Outcome::Yield {
        after: Duration::ZERO,
    };
    fixture
        .data
        .settle(&[(claim.token, back)])
        .await
        .expect("the call succeeds");
    assert_eq!(fixture.claim_of(Stage::Prepare, &id).await.work.attempts, 2);
}

/// Work under an expired lease is due. The fence rises, and the old token has ended.
pub async fn an_expired_lease_is_due_work(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let first = fixture.claim_of(Stage::Prepare, &id).await;
    fixture.advance(TTL + Duration::from_secs(1)).await;
    let second = fixture.claim_of(Stage::Prepare, &id).await;
    assert!(second.fence > first.fence);
    assert_eq!(second.work.attempts, 2);
    let outcomes = [(first.token, Outcome::Done), (second.token, Outcome::Done)];
    let settled = fixture.data.settle(&outcomes).await;
    assert_eq!(settled.expect("the call succeeds"), [false, true]);
}

/// Enqueued work is due at its time; absent keys are dropped.
pub async fn enqueued_work_is_due(fixture: DataFixture) {
    fixture.site("a", []).await;
    fixture.site("b", []).await;
    fixture.template("t", []).await;
    fixture.drain(Stage::Schedule).await;
    let before = fixture.revision().await;
    let later = enqueue(Stage::Schedule, site_id("b")).after(TTL);
    let marks = vec![
        enqueue(Stage::Schedule, site_id("a")),
        later,
        enqueue(Stage::Schedule, site_id("none")),
        Enqueue::now(Stage::Prepare, d("none"), Lane::new(3)),
    ];
    fixture
        .data
        .enqueue(marks)
        .await
        .expect("existing keys are enqueued");
    assert_eq!(fixture.drain(Stage::Schedule).await, ["a"]);
    fixture.advance(TTL + Duration::from_secs(1)).await;
    assert_eq!(fixture.drain(Stage::Schedule).await, ["b"]);
    assert!(fixture.drain(Stage::Prepare).await.is_empty());
    assert_eq!(fixture.revision().await, before, "it makes no revision");
    fixture.site("none", []).await;
    assert_eq!(
        fixture.drain(Stage::Schedule).await,
        ["none"],
        "because it is new"
    );
    assert!(fixture.find(s("a")).await.is_some() && fixture.find(t("t")).await.is_some());
}

/// A call may enqueue as many pieces of work as a set has changes; one more refuses them all.
pub async fn at_most_1000_are_enqueued_at_once(fixture: DataFixture) {
    fixture.site("a", []).await;
    fixture.drain(Stage::Schedule).await;
    let marks = |count: usize| {
        let others = (1..count).map(|n| enqueue(Stage::Schedule, site_id(&format!("none-{n}"))));
        std::iter::once(enqueue(Stage::Schedule, site_id("a")))
            .chain(others)
            .collect()
    };
    let result = fixture.data.enqueue(marks(MAX_CHANGES + 1)).await;
    refused(result, &[BadArgument], "1,001 marks");
    assert!(fixture.drain(Stage::Schedule).await.is_empty());
    let result = fixture.data.enqueue(marks(MAX_CHANGES)).await;
    result.expect("1,000 are allowed");
    assert_eq!(fixture.drain(Stage::Schedule).await, ["a"]);
}

/// A waiting claim ends with new work.
pub async fn a_waiting_claim_ends_with_new_work(fixture: DataFixture) {
    let other = fixture.beside();
    let waiting = tokio::spawn(async move {
        let request = ClaimRequest::new(Stage::Prepare, "worker")
            .max(10)
            .lease(TTL)
            .wait(Duration::from_secs(50));
        other.data.claim(&request).await
    });
    tokio::task::yield_now().await;
    let id = fixture.create(NewDeployment::default()).await;
    let claims = waiting.await.expect("the task ends").expect("work came");
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].work.key, Key::from(&id));
}

/// A retry makes the waiting work of an entity due, for a deployment also that of its site. Leased
/// work stays as it is.
pub async fn a_retry_makes_waiting_work_due(fixture: DataFixture) {
    let later = Outcome::Retry {
        after: Duration::from_hours(1),
        reason: "refused".to_owned(),
    };
    let retry = async |key: Key| {
        let retried = fixture.data.retry(&key).await;
        retried.expect("the entity exists")
    };
    fixture.site("s", []).await;
    let raw = fixture.create(NewDeployment::default()).await;
    let claim = fixture.claim_of(Stage::Prepare, &raw).await;
    assert_eq!(retry((&raw).into()).await, 0, "a worker has it");
    let settled = fixture.data.settle(&[(claim.token, later.clone())]).await;
    assert_eq!(settled.expect("the call succeeds"), [true]);
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "it waits"
    );
    assert_eq!(retry((&raw).into()).await, 1);
    assert_eq!(retry((&raw).into()).await, 0, "it is due");
    let claim = fixture.claim_of(Stage::Prepare, &raw).await;
    assert_eq!(claim.work.attempts, 2, "attempts still count");

    let ready = NewDeployment::new().prepared(true).approved(true);
    let ready = fixture.create(ready.site(site_id("s"))).await;
    let claim = fixture.claim_of(Stage::Schedule, site_id("s")).await;
    let settled = fixture.data.settle(&[(claim.token, later)]).await;
    assert_eq!(settled.expect("the call succeeds"), [true]);
    assert_eq!(retry((&ready).into()).await, 1);
    assert_eq!(fixture.drain(Stage::Schedule).await, ["s"]);
    refused(
        fixture.data.retry(&d("none")).await,
        &[ErrorKind::NotFound],
        "nothing has this id",
    );
}
