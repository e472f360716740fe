//! Claims as workers see them, on a clock that is moved by hand.

use crate::sample::{ManualClock, deployment, key, puts};
use crate::{Memory, Settings};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Ack, Backend, ChangeSet, Claim, ClaimRequest, Enqueue, Kind, Lane, Outcome, Stage, Want,
};

const LEASE: Duration = Duration::from_mins(1);

struct Bench {
    store: Arc<Memory>,
    clock: Arc<ManualClock>,
}

impl Bench {
    /// With a deployment for each name.
    async fn new(names: &[&str]) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(Memory::new(clock.clone(), Settings::default()));
        let set = puts(names.iter().map(|name| deployment(name, |_| {})));
        store.commit(set, Ack::Durable).await.expect("new names");
        Self { store, clock }
    }

    async fn mark(&self, name: &str, lane: u8, after: Duration) {
        let mark = Enqueue {
            stage: Stage::Prepare,
            key: key(Kind::Deployment, name),
            lane: Lane::new(lane),
            after,
        };
        let set = ChangeSet {
            enqueue: vec![mark],
            ..ChangeSet::default()
        };
        self.store.commit(set, Ack::Durable).await.expect("marks");
    }

    fn claim(&self, max: usize, wait: Duration) -> impl Future<Output = Vec<Claim>> + Send + use<> {
        let request = ClaimRequest {
            stage: Stage::Prepare,
            worker: "w".to_owned(),
            max,
            lease: LEASE,
            wait,
        };
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
        let want = Want {
            work: true,
            ..Want::ROW
        };
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
    let bench = Bench::new(&["a1", "a2", "a3", "b1", "b2"]).await;
    for (name, lane) in [("a1", 3), ("a2", 3), ("a3", 3), ("b1", 9), ("b2", 9)] {
        bench.mark(name, lane, Duration::ZERO).await;
    }
    assert_eq!(names(&bench.claim_now(3).await), ["a1", "b1", "a2"]);
    assert_eq!(names(&bench.claim_now(3).await), ["b2", "a3"]);
    assert!(bench.claim_now(3).await.is_empty());
}

#[tokio::test]
async fn in_a_lane_the_earliest_comes_first() {
    let bench = Bench::new(&["a", "b", "c"]).await;
    bench.mark("a", 0, Duration::from_secs(3)).await;
    bench.mark("b", 0, Duration::from_secs(1)).await;
    bench.mark("c", 0, Duration::from_secs(9)).await;
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(names(&bench.claim_now(9).await), ["b", "a"]);
}

#[tokio::test]
async fn what_was_marked_while_claimed_is_due_again_as_new() {
    let bench = Bench::new(&["a"]).await;
    bench.mark("a", 0, Duration::ZERO).await;
    let claim = bench.claim_now(1).await.remove(0);
    bench.mark("a", 5, Duration::from_secs(1_000)).await;
    assert!(bench.settle(claim, Outcome::Done).await);
    let again = bench.claim_now(1).await.remove(0);
    assert_eq!((again.work.attempts, again.work.lane), (1, Lane::new(5)));
    assert!(bench.settle(again, Outcome::Done).await);
    assert_eq!(bench.work("a").await, None);
}

#[tokio::test]
async fn what_keeps_failing_moves_to_the_failing_lane_and_comes_back_once_done() {
    let bench = Bench::new(&["a"]).await;
    bench.mark("a", 2, Duration::ZERO).await;
    for attempt in 1..=Lane::PATIENCE {
        let claim = bench.claim_now(1).await.remove(0);
        assert_eq!(
            (claim.work.attempts, claim.work.lane),
            (attempt, Lane::new(2))
        );
        assert!(bench.settle(claim, retry()).await);
    }
    let claim = bench.claim_now(1).await.remove(0);
    assert_eq!(claim.work.lane, Lane::FAILING);
    assert_eq!(claim.work.error.as_deref(), Some("it failed"));
    bench.mark("a", 2, Duration::ZERO).await;
    assert!(bench.settle(claim, Outcome::Done).await);
    let fresh = bench.work("a").await.expect("marked while claimed");
    assert_eq!(
        (fresh.lane, fresh.attempts, fresh.error),
        (Lane::new(2), 0, None)
    );
}

#[tokio::test]
async fn a_yield_gives_the_attempt_back() {
    let bench = Bench::new(&["a"]).await;
    bench.mark("a", 0, Duration::ZERO).await;
    let claim = bench.claim_now(1).await.remove(0);
    let after = Duration::from_secs(5);
    assert!(bench.settle(claim, Outcome::Yield { after }).await);
    assert!(bench.claim_now(1).await.is_empty());
    bench.clock.advance(after);
    assert_eq!(bench.claim_now(1).await[0].work.attempts, 1);
}

#[tokio::test]
async fn what_three_workers_died_of_is_claimed_alone_and_holds_nobody_up() {
    let bench = Bench::new(&["poison", "x", "y"]).await;
    bench.mark("poison", 4, Duration::ZERO).await;
    let mut fence = 0;
    for _ in 0..Lane::PATIENCE {
        let claim = bench.claim_now(1).await.remove(0);
        assert!(claim.fence > fence, "fences rise");
        fence = claim.fence;
        bench.clock.advance(LEASE);
        assert!(!bench.settle(claim, Outcome::Done).await, "it lapsed");
    }
    bench.mark("x", 5, Duration::ZERO).await;
    bench.mark("y", 3, Duration::ZERO).await;
    // The turn is behind lane 4: first come the others, up to where the suspect is.
    assert_eq!(names(&bench.claim_now(9).await), ["x", "y"]);
    assert_eq!(names(&bench.claim_now(9).await), ["poison"]);
    assert!(bench.claim_now(9).await.is_empty());
}

#[tokio::test]
async fn deleting_ends_work_and_lease_and_unknown_keys_are_not_marked() {
    let bench = Bench::new(&["a"]).await;
    bench.mark("a", 0, Duration::ZERO).await;
    bench.mark("nobody", 0, Duration::ZERO).await;
    let claims = bench.claim_now(9).await;
    assert_eq!(names(&claims), ["a"]);
    let delete = ChangeSet {
        changes: vec![tko_core::Change::Delete(key(Kind::Deployment, "a"))],
        enqueue: vec![Enqueue::now(
            Stage::Prepare,
            key(Kind::Deployment, "a"),
            Lane::new(0),
        )],
        ..ChangeSet::default()
    };
    bench
        .store
        .commit(delete, Ack::Durable)
        .await
        .expect("gone");
    let renewed = bench.store.renew(&[claims[0].token.clone()], LEASE).await;
    assert_eq!(renewed.expect("an answer"), [false]);
    bench.clock.advance(2 * LEASE);
    assert!(bench.claim_now(9).await.is_empty());
}

#[tokio::test]
async fn a_waiting_claim_takes_what_a_commit_marks() {
    let bench = Bench::new(&["a"]).await;
    let waiting = tokio::spawn(bench.claim(1, LEASE));
    tokio::task::yield_now().await;
    bench.mark("a", 0, Duration::ZERO).await;
    assert_eq!(names(&waiting.await.expect("no panic")), ["a"]);
}

#[tokio::test]
async fn a_waiting_claim_wakes_when_work_is_due_and_when_a_lease_lapses() {
    let bench = Bench::new(&["a"]).await;
    bench.mark("a", 0, Duration::from_secs(10)).await;
    let mut waiting = Box::pin(bench.claim(1, 10 * LEASE));
    assert!((&mut waiting).now_or_never().is_none());
    bench.clock.advance(Duration::from_secs(9));
    assert!((&mut waiting).now_or_never().is_none(), "not yet");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(names(&waiting.await), ["a"]);
    let mut waiting = Box::pin(bench.claim(1, 10 * LEASE));
    assert!((&mut waiting).now_or_never().is_none(), "it is leased");
    bench.clock.advance(LEASE);
    assert_eq!(waiting.await[0].work.attempts, 2);
}

#[tokio::test]
async fn a_waiting_claim_ends_empty_at_its_time() {
    let bench = Bench::new(&[]).await;
    let mut waiting = Box::pin(bench.claim(1, LEASE));
    assert!((&mut waiting).now_or_never().is_none());
    bench.clock.advance(LEASE);
    assert!(waiting.await.is_empty());
}

#[tokio::test]
async fn of_many_who_wait_each_gets_one_of_many_that_come_at_once() {
    let all: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let bench = Bench::new(&all).await;
    let waiting: Vec<_> = (0..20)
        .map(|_| tokio::spawn(bench.claim(1, LEASE)))
        .collect();
    tokio::task::yield_now().await;
    let due = all
        .iter()
        .map(|name| Enqueue::now(Stage::Prepare, key(Kind::Deployment, name), Lane::new(0)));
    let set = ChangeSet {
        enqueue: due.collect(),
        ..ChangeSet::default()
    };
    bench.store.commit(set, Ack::Durable).await.expect("marks");
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
async fn whoever_stops_waiting_hands_on_what_woke_him() {
    let bench = Bench::new(&["a"]).await;
    let mut first = Box::pin(bench.claim(1, LEASE));
    let mut second = Box::pin(bench.claim(1, 10 * LEASE));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    // One of them hears of it, and goes before it is due.
    bench.mark("a", 0, 2 * LEASE).await;
    assert!((&mut first).now_or_never().is_none());
    drop(first);
    assert!((&mut second).now_or_never().is_none());
    bench.clock.advance(2 * LEASE);
    assert_eq!(names(&second.await), ["a"]);
}

#[tokio::test]
async fn a_lease_that_was_shortened_wakes_who_waits_for_its_end() {
    let bench = Bench::new(&["a"]).await;
    bench.mark("a", 0, Duration::ZERO).await;
    let claim = bench.claim_now(1).await.remove(0);
    let mut waiting = Box::pin(bench.claim(1, 10 * LEASE));
    assert!((&mut waiting).now_or_never().is_none());
    let short = Duration::from_secs(1);
    bench
        .store
        .renew(&[claim.token], short)
        .await
        .expect("live");
    assert!((&mut waiting).now_or_never().is_none());
    bench.clock.advance(short);
    assert_eq!(names(&waiting.await), ["a"]);
}
