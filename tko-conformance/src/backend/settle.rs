//! [`Backend::settle`](tko_core::Backend::settle): how leases end, and enqueues under a lease.

use super::fixture::{BackendFixture, NEARLY, TTL};
use super::sample::{d, deployment, set, t, template};
use serde_json::json;
use std::time::Duration;
use tko_core::{ChangeSet, Claim, Enqueue, Lane, Outcome, Stage, Token};

const STEP: Duration = Duration::from_secs(5);

async fn claimed(fixture: &BackendFixture) -> Claim {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    fixture.claim_one(Stage::Prepare).await
}

fn retry(after: Duration, reason: &str) -> Outcome {
    Outcome::Retry {
        after,
        reason: reason.to_owned(),
    }
}

async fn settle(fixture: &BackendFixture, token: &Token, outcome: Outcome) {
    let settled = fixture.backend.settle(&[(token.clone(), outcome)]).await;
    assert_eq!(settled.expect("the call succeeds"), [true], "it is live");
}

async fn progress(fixture: &BackendFixture, token: &Token) {
    let under = Some(token.clone());
    let progress = Some(json!({"at": 1}));
    fixture
        .commit(ChangeSet::new().under(under).progress(progress))
        .await;
}

/// Done work is removed; enqueued again, it starts over.
pub async fn done_work_is_removed(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    progress(&fixture, &claim.token).await;
    settle(&fixture, &claim.token, Outcome::Done).await;
    assert!(fixture.work(Stage::Prepare, d("d")).await.is_none());
    fixture.advance(TTL + STEP).await;
    assert!(fixture.claim(Stage::Prepare, 10).await.is_empty());
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let again = fixture.claim_one(Stage::Prepare).await.work;
    assert_eq!(
        (again.attempts, again.progress, again.error),
        (1, None, None)
    );
}

/// Work enqueued under a lease is due at once when the lease is done, as new work.
pub async fn an_enqueue_under_a_lease_is_not_lost(fixture: BackendFixture) {
    let first = claimed(&fixture).await;
    settle(&fixture, &first.token, retry(Duration::ZERO, "no")).await;
    let second = fixture.claim_one(Stage::Prepare).await;
    progress(&fixture, &second.token).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "the lease holds"
    );
    settle(&fixture, &second.token, Outcome::Done).await;
    let third = fixture.claim_one(Stage::Prepare).await;
    let work = third.work;
    assert_eq!(
        (work.attempts, work.progress, work.error),
        (1, None, None),
        "as new"
    );
    settle(&fixture, &third.token, Outcome::Done).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "one mark, one turn"
    );
}

/// An enqueue before the claim is part of the claimed work and not due again.
pub async fn an_enqueue_before_the_claim_is_part_of_it(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let claim = fixture.claim_one(Stage::Prepare).await;
    settle(&fixture, &claim.token, Outcome::Done).await;
    assert!(fixture.claim(Stage::Prepare, 10).await.is_empty());
}

/// An enqueue under a lease that expires is covered by the next claim.
pub async fn an_enqueue_under_an_expired_lease_joins_the_next_claim(fixture: BackendFixture) {
    claimed(&fixture).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    fixture.advance(TTL + STEP).await;
    let next = fixture.claim_one(Stage::Prepare).await;
    settle(&fixture, &next.token, Outcome::Done).await;
    assert!(fixture.claim(Stage::Prepare, 10).await.is_empty());
}

/// Retried work is due after its delay. It keeps its progress, counts the attempt, and shows the
/// reason.
pub async fn retried_work_is_due_after_its_delay(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    progress(&fixture, &claim.token).await;
    settle(&fixture, &claim.token, retry(TTL, "the plugin is down")).await;
    let work = fixture
        .work(Stage::Prepare, d("d"))
        .await
        .expect("the work still exists");
    assert_eq!(work.error.as_deref(), Some("the plugin is down"));
    assert_eq!((work.attempts, work.leased), (1, None));
    let pause = work.due.since(fixture.feed_position().await.now);
    assert!(pause <= TTL && pause > NEARLY, "due in {pause:?}");
    fixture.advance(NEARLY).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "too early"
    );
    fixture.advance(STEP).await;
    let again = fixture.claim_one(Stage::Prepare).await.work;
    assert_eq!(again.attempts, 2);
    assert_eq!(again.progress, Some(json!({"at": 1})));
    assert_eq!(again.error.as_deref(), Some("the plugin is down"));
}

/// Retried work that was enqueued under its lease is due at once.
pub async fn retried_work_is_due_at_once_if_enqueued(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    settle(&fixture, &claim.token, retry(TTL, "no")).await;
    let again = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(again.work.attempts, 2);
    settle(&fixture, &again.token, retry(TTL, "no")).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "the enqueue counted once"
    );
}

/// An enqueue makes delayed work due at once.
pub async fn an_enqueue_brings_retried_work_forward(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    settle(&fixture, &claim.token, retry(TTL * 10, "no")).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 2);
}

/// Work that fails three times moves to the failing lane, and not earlier.
pub async fn work_that_fails_three_times_moves_to_the_failing_lane(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    let due = vec![Enqueue::now(Stage::Prepare, d("d"), Lane::new(3))];
    fixture.commit(ChangeSet::new().enqueued(due)).await;
    let mut lanes = Vec::new();
    for _ in 0..Lane::PATIENCE + 2 {
        let claim = fixture.claim_one(Stage::Prepare).await;
        lanes.push(claim.work.lane);
        settle(&fixture, &claim.token, retry(Duration::ZERO, "no")).await;
    }
    let (own, failing) = (Lane::new(3), Lane::FAILING);
    assert_eq!(lanes, [own, own, own, failing, failing]);
}

/// Yielded work is due after its delay and keeps its progress; the attempt does not count.
pub async fn a_yield_counts_no_attempt(fixture: BackendFixture) {
    let mut claim = claimed(&fixture).await;
    progress(&fixture, &claim.token).await;
    for _ in 0..=Lane::PATIENCE {
        settle(&fixture, &claim.token, Outcome::Yield { after: TTL }).await;
        let work = fixture.work(Stage::Prepare, d("d")).await;
        let work = work.expect("the work still exists");
        assert_eq!((work.attempts, work.leased), (0, None));
        fixture.advance(NEARLY).await;
        let early = fixture.claim(Stage::Prepare, 10).await;
        assert!(early.is_empty(), "too early");
        fixture.advance(STEP).await;
        claim = fixture.claim_one(Stage::Prepare).await;
        assert_eq!(claim.work.attempts, 1);
        assert_eq!(claim.work.progress, Some(json!({"at": 1})));
        assert_eq!(claim.work.lane, Lane::new(0));
    }
}

/// Yielded work that was enqueued under its lease is due at once.
pub async fn yielded_work_is_due_at_once_if_enqueued(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    settle(&fixture, &claim.token, Outcome::Yield { after: TTL }).await;
    let again = fixture.claim_one(Stage::Prepare).await;
    settle(&fixture, &again.token, Outcome::Yield { after: TTL }).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "the enqueue counted once"
    );
}

/// Each token is settled separately; for an ended one the answer is false and nothing changes.
pub async fn each_token_is_settled_separately(fixture: BackendFixture) {
    fixture.put(["a", "b", "c"].map(deployment)).await;
    fixture
        .enqueue(Stage::Prepare, ["a", "b", "c"].map(d))
        .await;
    let claims = fixture.claim(Stage::Prepare, 10).await;
    let token = |id: &str| {
        let claim = claims.iter().find(|claim| claim.work.key == d(id));
        claim.expect("all three are claimed").token.clone()
    };
    settle(&fixture, &token("b"), Outcome::Done).await;
    let outcomes = [
        (token("a"), Outcome::Done),
        (token("b"), retry(Duration::ZERO, "too late")),
        (token("c"), Outcome::Yield { after: TTL }),
        (token("a"), retry(Duration::ZERO, "twice")),
    ];
    let settled = fixture
        .backend
        .settle(&outcomes)
        .await
        .expect("the call succeeds");
    assert_eq!(settled, [true, false, true, false]);
    assert!(fixture.claim(Stage::Prepare, 10).await.is_empty());
    assert!(fixture.work(Stage::Prepare, d("c")).await.is_some());
}

/// An expired lease settles nothing, even if nobody has claimed the work since.
pub async fn an_expired_lease_settles_nothing(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    fixture.advance(TTL + STEP).await;
    let outcomes = [(claim.token.clone(), Outcome::Done)];
    let settled = fixture.backend.settle(&outcomes).await;
    assert_eq!(settled.expect("the call succeeds"), [false]);
    assert!(
        fixture.work(Stage::Prepare, d("d")).await.is_some(),
        "the work still exists"
    );
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.attempts, 2);
}

/// A commit settles its lease atomically.
pub async fn a_commit_settles_its_lease(fixture: BackendFixture) {
    let first = claimed(&fixture).await.token;
    let commit = async |under: &Token, settle: Outcome, word: &str| {
        let put = super::sample::PutBuilder::with_label(template("t"), "k", word);
        let under = Some(under.clone());
        fixture.commit(set([put]).under(under).settle(settle)).await;
        let row = fixture.row(t("t")).await;
        assert_eq!(row.metadata.get("k"), Some(word));
    };
    commit(&first, retry(Duration::ZERO, "soon"), "one").await;
    let second = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(
        (second.work.attempts, second.work.error.as_deref()),
        (2, Some("soon"))
    );
    commit(
        &second.token,
        Outcome::Yield {
            after: Duration::ZERO,
        },
        "two",
    )
    .await;
    let third = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(third.work.attempts, 2);
    commit(&third.token, Outcome::Done, "three").await;
    assert!(fixture.work(Stage::Prepare, d("d")).await.is_none());
}

/// Work that is done and was enqueued again takes the lane of that enqueue, so it leaves the
/// failing lane.
pub async fn work_enqueued_again_leaves_the_failing_lane(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    for _ in 0..Lane::PATIENCE {
        let claim = fixture.claim_one(Stage::Prepare).await;
        settle(&fixture, &claim.token, retry(Duration::ZERO, "no")).await;
    }
    let failing = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(failing.work.lane, Lane::FAILING);
    let again = vec![Enqueue::now(Stage::Prepare, d("d"), Lane::new(3))];
    fixture.commit(ChangeSet::new().enqueued(again)).await;
    settle(&fixture, &failing.token, Outcome::Done).await;
    let next = fixture.claim_one(Stage::Prepare).await;
    assert_eq!((next.work.lane, next.work.attempts), (Lane::new(3), 1));
    settle(&fixture, &next.token, retry(Duration::ZERO, "no")).await;
    assert_eq!(
        fixture.claim_one(Stage::Prepare).await.work.lane,
        Lane::new(3)
    );
}

/// Work enqueued for later while it is leased is not lost: it is due once the lease is settled.
pub async fn a_delayed_enqueue_under_a_lease_is_not_lost(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    let later = Enqueue::now(Stage::Prepare, d("d"), Lane::new(3)).after(Duration::from_secs(30));
    fixture.commit(ChangeSet::new().enqueue(later)).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "the lease holds"
    );
    settle(&fixture, &claim.token, Outcome::Done).await;
    let next = fixture.claim_one(Stage::Prepare).await;
    assert_eq!((next.work.lane, next.work.attempts), (Lane::new(3), 1));
}

/// When a lease expires, the work keeps the error of its last attempt.
pub async fn an_expired_lease_keeps_the_last_error(fixture: BackendFixture) {
    let claim = claimed(&fixture).await;
    let outcome = retry(Duration::ZERO, "the plugin is down");
    settle(&fixture, &claim.token, outcome).await;
    for attempt in 2..=3 {
        let work = fixture.claim_one(Stage::Prepare).await.work;
        assert_eq!(work.attempts, attempt);
        assert_eq!(work.error.as_deref(), Some("the plugin is down"));
        fixture.advance(TTL + STEP).await;
        let work = fixture.work(Stage::Prepare, d("d")).await;
        let error = work.expect("the work still exists").error;
        assert_eq!(error.as_deref(), Some("the plugin is down"));
    }
}
