//! Claims as workers see them, on a clock that the tests move.

use crate::sample::{TestClock, deployment, key, puts};
use crate::{Memory, MemorySettings};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Ack, Backend, ChangeSet, Claim, ClaimRequest, Enqueue, Kind, Lane, Outcome, Stage, Want,
};

const LEASE: Duration = Duration::from_mins(1);

struct Fixture {
    store: Arc<Memory>,
    clock: Arc<TestClock>,
}

impl Fixture {
    /// A store with a deployment for each name.
    async fn new(names: &[&str]) -> Self {
        let clock = TestClock::new();
        let store = Arc::new(Memory::new(clock.clone(), MemorySettings::default()));
        let set = puts(names.iter().map(|name| deployment(name, |_| {})));
        store.commit(set, Ack::Durable).await.expect("new names");
        Self { store, clock }
    }

    async fn enqueue(&self, name: &str, lane: u8, after: Duration) {
        let enqueue =
            Enqueue::now(Stage::Prepare, key(Kind::Deployment, name), Lane::new(lane)).after(after);
        let set = ChangeSet::new().enqueue(enqueue);
        self.store
            .commit(set, Ack::Durable)
            .await
            .expect("enqueued");
    }

    fn claim(&self, max: usize, wait: Duration) -> impl Future<Output = Vec<Claim>> + Send + use<> {
        let request = ClaimRequest::new(Stage::Prepare, "w")
            .max(max)
            .lease(LEASE)
            .wait(wait);
        let store = self.store.clone();
        async move { store.claim(&request).await.expect("claims are answered") }
    }

    async fn claim_now(&self, max: usize) -> Vec<Claim> {
        self.claim(max, Duration::ZERO).await
    }

    async fn settle(&self, claim: Claim, outcome: Outcome) -> bool {
        let settled = self.store.settle(&[(claim.token, outcome)]).await;
        settled.expect("an answer") == [true]
    }

    async fn work(&self, name: &str) -> Option<tko_core::Work> {
        let want = Want::ROW.with_work();
        let keys = [key(Kind::Deployment, name)];
        let mut found = self.store.get(&keys, want).await.expect("one key");
        found.pop().flatten().expect("it is there").work.pop()
    }
}

fn names(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.token.key.id()).collect()
}

fn retry() -> Outcome {
    Outcome::Retry {
        after: Duration::ZERO,
        reason: "it failed".to_owned(),
    }
}

#[tokio::test]
async fn lanes_take_turns_and_the_turn_is_remembered() {
    let fixture = Fixture::new(&["a1", "a2", "a3", "b1", "b2"]).await;
    for (name, lane) in [("a1", 3), ("a2", 3), ("a3", 3), ("b1", 9), ("b2", 9)] {
        fixture.enqueue(name, lane, Duration::ZERO).await;
    }
    assert_eq!(names(&fixture.claim_now(3).await), ["a1", "b1", "a2"]);
    assert_eq!(names(&fixture.claim_now(3).await), ["b2", "a3"]);
    assert!(fixture.claim_now(3).await.is_empty());
}

#[tokio::test]
async fn in_a_lane_the_earliest_comes_first() {
    let fixture = Fixture::new(&["a", "b", "c"]).await;
    fixture.enqueue("a", 0, Duration::from_secs(3)).await;
    fixture.enqueue("b", 0, Duration::from_secs(1)).await;
    fixture.enqueue("c", 0, Duration::from_secs(9)).await;
    fixture.clock.advance(Duration::from_secs(5));
    assert_eq!(names(&fixture.claim_now(9).await), ["b", "a"]);
}

#[tokio::test]
async fn work_that_is_enqueued_while_leased_is_due_again_as_new() {
    let fixture = Fixture::new(&["a"]).await;
    fixture.enqueue("a", 0, Duration::ZERO).await;
    let claim = fixture.claim_now(1).await.remove(0);
    fixture.enqueue("a", 5, Duration::from_secs(1_000)).await;
    assert!(fixture.settle(claim, Outcome::Done).await);
    let again = fixture.claim_now(1).await.remove(0);
    assert_eq!((again.work.attempts, again.work.lane), (1, Lane::new(5)));
    assert!(fixture.settle(again, Outcome::Done).await);
    assert_eq!(fixture.work("a").await, None);
}

#[tokio::test]
async fn work_that_keeps_failing_moves_to_the_failing_lane_until_it_is_done() {
    let fixture = Fixture::new(&["a"]).await;
    fixture.enqueue("a", 2, Duration::ZERO).await;
    for attempt in 1..=Lane::PATIENCE {
        let claim = fixture.claim_now(1).await.remove(0);
        assert_eq!(
            (claim.work.attempts, claim.work.lane),
            (attempt, Lane::new(2))
        );
        assert!(fixture.settle(claim, retry()).await);
    }
    let claim = fixture.claim_now(1).await.remove(0);
    assert_eq!(claim.work.lane, Lane::FAILING);
    assert_eq!(claim.work.error.as_deref(), Some("it failed"));
    fixture.enqueue("a", 2, Duration::ZERO).await;
    assert!(fixture.settle(claim, Outcome::Done).await);
    let fresh = fixture
        .work("a")
        .await
        .expect("enqueued while it was leased");
    assert_eq!(
        (fresh.lane, fresh.attempts, fresh.error),
        (Lane::new(2), 0, None)
    );
}

#[tokio::test]
async fn a_yield_does_not_count_as_an_attempt() {
    let fixture = Fixture::new(&["a"]).await;
    fixture.enqueue("a", 0, Duration::ZERO).await;
    let claim = fixture.claim_now(1).await.remove(0);
    let after = Duration::from_secs(5);
    assert!(fixture.settle(claim, Outcome::Yield { after }).await);
    assert!(fixture.claim_now(1).await.is_empty());
    fixture.clock.advance(after);
    assert_eq!(fixture.claim_now(1).await[0].work.attempts, 1);
}

#[tokio::test]
async fn work_that_three_workers_lost_is_claimed_alone_and_delays_no_other() {
    let fixture = Fixture::new(&["poison", "x", "y"]).await;
    fixture.enqueue("poison", 4, Duration::ZERO).await;
    let mut fence = 0;
    for _ in 0..Lane::PATIENCE {
        let claim = fixture.claim_now(1).await.remove(0);
        assert!(claim.fence > fence, "fences rise");
        fence = claim.fence;
        fixture.clock.advance(LEASE);
        assert!(!fixture.settle(claim, Outcome::Done).await, "it expired");
    }
    fixture.enqueue("x", 5, Duration::ZERO).await;
    fixture.enqueue("y", 3, Duration::ZERO).await;
    // The turn is after lane 4: the other lanes come first, up to the suspect's lane.
    assert_eq!(names(&fixture.claim_now(9).await), ["x", "y"]);
    assert_eq!(names(&fixture.claim_now(9).await), ["poison"]);
    assert!(fixture.claim_now(9).await.is_empty());
}

#[tokio::test]
async fn deleting_ends_work_and_lease_and_unknown_keys_are_not_enqueued() {
    let fixture = Fixture::new(&["a"]).await;
    fixture.enqueue("a", 0, Duration::ZERO).await;
    fixture.enqueue("nobody", 0, Duration::ZERO).await;
    let claims = fixture.claim_now(9).await;
    assert_eq!(names(&claims), ["a"]);
    let delete = ChangeSet::new()
        .change(tko_core::Change::Delete(key(Kind::Deployment, "a")))
        .enqueue(Enqueue::now(
            Stage::Prepare,
            key(Kind::Deployment, "a"),
            Lane::new(0),
        ));
    fixture
        .store
        .commit(delete, Ack::Durable)
        .await
        .expect("gone");
    let renewed = fixture.store.renew(&[claims[0].token.clone()], LEASE).await;
    assert_eq!(renewed.expect("an answer"), [false]);
    fixture.clock.advance(2 * LEASE);
    assert!(fixture.claim_now(9).await.is_empty());
}

#[tokio::test]
async fn a_waiting_claim_takes_work_that_a_commit_enqueues() {
    let fixture = Fixture::new(&["a"]).await;
    let waiting = tokio::spawn(fixture.claim(1, LEASE));
    tokio::task::yield_now().await;
    fixture.enqueue("a", 0, Duration::ZERO).await;
    assert_eq!(names(&waiting.await.expect("no panic")), ["a"]);
}

#[tokio::test]
async fn a_waiting_claim_wakes_when_work_is_due_and_when_a_lease_expires() {
    let fixture = Fixture::new(&["a"]).await;
    fixture.enqueue("a", 0, Duration::from_secs(10)).await;
    let mut waiting = Box::pin(fixture.claim(1, 10 * LEASE));
    assert!((&mut waiting).now_or_never().is_none());
    fixture.clock.advance(Duration::from_secs(9));
    assert!((&mut waiting).now_or_never().is_none(), "not yet");
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(names(&waiting.await), ["a"]);
    let mut waiting = Box::pin(fixture.claim(1, 10 * LEASE));
    assert!((&mut waiting).now_or_never().is_none(), "it is leased");
    fixture.clock.advance(LEASE);
    assert_eq!(waiting.await[0].work.attempts, 2);
}

#[tokio::test]
async fn a_waiting_claim_ends_empty_at_its_time() {
    let fixture = Fixture::new(&[]).await;
    let mut waiting = Box::pin(fixture.claim(1, LEASE));
    assert!((&mut waiting).now_or_never().is_none());
    fixture.clock.advance(LEASE);
    assert!(waiting.await.is_empty());
}

#[tokio::test]
async fn many_waiting_claims_share_work_that_is_enqueued_at_once() {
    let all: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let fixture = Fixture::new(&all).await;
    let waiting: Vec<_> = (0..20)
        .map(|_| tokio::spawn(fixture.claim(1, LEASE)))
        .collect();
    tokio::task::yield_now().await;
    let due = all
        .iter()
        .map(|name| Enqueue::now(Stage::Prepare, key(Kind::Deployment, name), Lane::new(0)));
    let set = ChangeSet::new().enqueued(due);
    fixture
        .store
        .commit(set, Ack::Durable)
        .await
        .expect("enqueued");
    let mut claimed = Vec::new();
    for claims in waiting {
        claimed.extend(claims.await.expect("no panic"));
    }
    let mut claimed = names(&claimed);
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 20);
}

#[tokio::test]
async fn a_claim_that_stops_waiting_wakes_another() {
    let fixture = Fixture::new(&["a"]).await;
    let mut first = Box::pin(fixture.claim(1, LEASE));
    let mut second = Box::pin(fixture.claim(1, 10 * LEASE));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    // One of them is woken, and stops waiting before the work is due.
    fixture.enqueue("a", 0, 2 * LEASE).await;
    assert!((&mut first).now_or_never().is_none());
    drop(first);
    assert!((&mut second).now_or_never().is_none());
    fixture.clock.advance(2 * LEASE);
    assert_eq!(names(&second.await), ["a"]);
}

#[tokio::test]
async fn shortening_a_lease_wakes_a_claim_that_waits_for_its_end() {
    let fixture = Fixture::new(&["a"]).await;
    fixture.enqueue("a", 0, Duration::ZERO).await;
    let claim = fixture.claim_now(1).await.remove(0);
    let mut waiting = Box::pin(fixture.claim(1, 10 * LEASE));
    assert!((&mut waiting).now_or_never().is_none());
    let short = Duration::from_secs(1);
    fixture
        .store
        .renew(&[claim.token], short)
        .await
        .expect("live");
    assert!((&mut waiting).now_or_never().is_none());
    fixture.clock.advance(short);
    assert_eq!(names(&waiting.await), ["a"]);
}
