//! [`Backend::claim`](tko_core::Backend::claim): which due work is leased, and in what order.

use super::fixture::{BackendFixture, NEARLY, TICK, TTL};
use super::sample::{d, deployment, s, set, site};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;
use tko_core::{ChangeSet, Claim, Enqueue, Key, Lane, Outcome, Stage, Timestamp, Token};

const STEP: Duration = Duration::from_secs(5);

/// Creates deployments and enqueues work for each: id, lane, delay in seconds.
async fn due(fixture: &BackendFixture, work: &[(&str, u8, u64)]) {
    let mark = |(id, lane, after): &(&str, u8, u64)| {
        Enqueue::now(Stage::Prepare, d(id), Lane::new(*lane)).after(Duration::from_secs(*after))
    };
    let due = work.iter().map(mark);
    let puts = work.iter().map(|(id, ..)| deployment(id));
    fixture.commit(set(puts).enqueued(due)).await;
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.work.key.id()).collect()
}

/// A claim names the work, its attempt and its deadline. Its token survives encoding as text.
pub async fn a_claim_describes_the_work(fixture: BackendFixture) {
    due(&fixture, &[("d", 3, 0)]).await;
    let now = fixture.feed_position().await.now;
    let claim = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(
        (claim.work.stage, &claim.work.key),
        (Stage::Prepare, &d("d"))
    );
    assert_eq!(claim.work.lane, Lane::new(3));
    assert_eq!(claim.work.attempts, 1);
    assert_eq!(
        (claim.work.error.as_ref(), claim.work.progress.as_ref()),
        (None, None)
    );
    let lease = claim.until.since(now);
    assert!(lease >= TTL && lease < TTL + STEP, "{lease:?}");
    assert_eq!(claim.token.key, d("d"));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    assert!(
        claim.token.secret.chars().all(plain),
        "the secret has letters, digits, dots and minus signs only"
    );
    assert_eq!(
        Token::decode(&claim.token.encode()).expect("it was encoded"),
        claim.token
    );
    let work = fixture
        .work(Stage::Prepare, d("d"))
        .await
        .expect("the work still exists");
    assert_eq!(work.leased, Some(claim.until), "users see the lease");
}

/// Leased work is not claimed again until the lease ends. Other stages of the same key are
/// independent.
pub async fn leased_work_is_not_claimed_again(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    fixture.enqueue(Stage::Schedule, [s("s")]).await;
    fixture.enqueue(Stage::Delete, [s("s")]).await;
    fixture.claim_one(Stage::Schedule).await;
    assert!(fixture.claim(Stage::Schedule, 10).await.is_empty());
    assert_eq!(
        fixture.claim_one(Stage::Delete).await.work.stage,
        Stage::Delete
    );
    fixture.advance(NEARLY).await;
    assert!(fixture.claim(Stage::Schedule, 10).await.is_empty());
}

/// A claim leases at most `max` items.
pub async fn a_claim_takes_at_most_max_items(fixture: BackendFixture) {
    let ids: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    let work: Vec<_> = ids.iter().map(|id| (id.as_str(), 0, 0)).collect();
    due(&fixture, &work).await;
    assert_eq!(fixture.claim(Stage::Prepare, 4).await.len(), 4);
    assert_eq!(fixture.claim(Stage::Prepare, 100).await.len(), 6);
}

/// Within a lane, the work that is due earliest is claimed first.
pub async fn the_earliest_due_comes_first(fixture: BackendFixture) {
    due(&fixture, &[("c", 1, 20), ("a", 1, 30), ("b", 1, 10)]).await;
    fixture.advance(TTL).await;
    due(&fixture, &[("e", 1, 0)]).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let claims = fixture.claim(Stage::Prepare, 1).await;
        order.extend(
            claims
                .into_iter()
                .map(|claim| claim.work.key.id().to_owned()),
        );
    }
    assert_eq!(order, ["b", "c", "a", "e"]);
}

/// Lanes take turns within one claim, no matter how much is due in one of them.
pub async fn lanes_take_turns_within_a_claim(fixture: BackendFixture) {
    let many: Vec<String> = (0..20).map(|n| format!("a{n:02}")).collect();
    let mut work: Vec<(&str, u8, u64)> = many.iter().map(|id| (id.as_str(), 4, 0)).collect();
    work.extend([("b", 9, 0), ("c", 9, 0), ("e", Lane::FAILING.number(), 0)]);
    due(&fixture, &work).await;
    let claims = fixture.claim(Stage::Prepare, 6).await;
    let mut by_lane: BTreeMap<u8, usize> = BTreeMap::new();
    for claim in &claims {
        *by_lane.entry(claim.work.lane.number()).or_default() += 1;
    }
    assert_eq!(
        by_lane,
        BTreeMap::from([(4, 3), (9, 2), (15, 1)]),
        "{:?}",
        ids(&claims)
    );
}

/// Lanes take turns from one claim to the next.
pub async fn lanes_take_turns_from_claim_to_claim(fixture: BackendFixture) {
    let names: Vec<String> = (0..12).map(|n| format!("d{n:02}")).collect();
    let lane = |n: usize| [2_u8, 2, 2, 2, 2, 2, 7, 7, 7, 11, 11, 11][n];
    let work: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str(), lane(n), 0))
        .collect();
    due(&fixture, &work).await;
    let mut served = Vec::new();
    for _ in 0..12 {
        let claim = fixture
            .claim(Stage::Prepare, 1)
            .await
            .pop()
            .expect("more work is due");
        served.push(claim.work.lane.number());
    }
    for round in served[..9].chunks(3) {
        let lanes: BTreeSet<u8> = round.iter().copied().collect();
        assert_eq!(lanes.len(), 3, "each lane once a round: {served:?}");
    }
}

/// Several enqueues merge into one piece of work, due at the earliest of their times.
pub async fn enqueues_merge_into_the_earlier_time(fixture: BackendFixture) {
    due(&fixture, &[("d", 1, 30)]).await;
    due(&fixture, &[("d", 2, 10)]).await;
    due(&fixture, &[("d", 3, 20)]).await;
    fixture.advance(Duration::from_secs(9)).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "too early"
    );
    fixture.advance(Duration::from_secs(2)).await;
    let claim = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(
        claim.work.lane,
        Lane::new(1),
        "existing work keeps its lane"
    );
    fixture
        .backend
        .settle(&[(claim.token, Outcome::Done)])
        .await
        .expect("it is live");
    fixture.advance(TTL).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "three enqueues were one piece of work"
    );
}

/// Work under an expired lease is due. The next claim counts another attempt and keeps the
/// progress.
pub async fn an_expired_lease_is_due_work(fixture: BackendFixture) {
    due(&fixture, &[("d", 1, 0)]).await;
    let first = fixture.claim_one(Stage::Prepare).await;
    let progress = Some(serde_json::json!({"at": 7}));
    let under = Some(first.token.clone());
    fixture
        .commit(ChangeSet::new().under(under).progress(progress.clone()))
        .await;
    fixture.advance(TTL + STEP).await;
    let second = fixture.claim_one(Stage::Prepare).await;
    assert_eq!(second.work.attempts, 2, "a worker's death counts");
    assert_eq!(second.work.progress, progress);
    assert_ne!(second.token, first.token);
    let outcomes = [(first.token, Outcome::Done), (second.token, Outcome::Done)];
    let settled = fixture.backend.settle(&outcomes).await;
    assert_eq!(
        settled.expect("the call succeeds"),
        [false, true],
        "the first lease is over"
    );
}

/// Work that three workers abandoned is claimed alone, and the other due work is still claimed.
pub async fn work_abandoned_three_times_is_claimed_alone(fixture: BackendFixture) {
    due(&fixture, &[("poison", 1, 0)]).await;
    for attempt in 1..=3 {
        let claim = fixture.claim_one(Stage::Prepare).await;
        assert_eq!(claim.work.attempts, attempt);
        fixture.advance(TTL + STEP).await;
    }
    due(&fixture, &[("a", 1, 0), ("b", 2, 0), ("c", 15, 0)]).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let claims = fixture.claim(Stage::Prepare, 10).await;
        let keys = ids(&claims);
        assert!(
            keys.len() == 1 || !keys.contains(&"poison"),
            "alone: {keys:?}"
        );
        seen.extend(keys.into_iter().map(str::to_owned));
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "poison"]);
}

/// The fence rises with every claim of a stage and key, however the previous claim ended.
pub async fn the_fence_always_rises(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    fixture.enqueue(Stage::Schedule, [s("s")]).await;
    let mut fences = Vec::new();
    for round in 0..6 {
        let claim = fixture.claim_one(Stage::Schedule).await;
        fences.push(claim.fence);
        let end = match round {
            0 => Outcome::Done,
            1 => Outcome::Yield {
                after: Duration::ZERO,
            },
            2 => Outcome::Retry {
                after: Duration::ZERO,
                reason: "no".to_owned(),
            },
            _ => {
                fixture.advance(TTL + STEP).await;
                continue;
            }
        };
        fixture
            .backend
            .settle(&[(claim.token, end)])
            .await
            .expect("it is live");
        fixture.enqueue(Stage::Schedule, [s("s")]).await;
    }
    fixture
        .commit(super::sample::changes([tko_core::Change::Delete(s("s"))]))
        .await;
    fixture.put([site("s")]).await;
    fixture.enqueue(Stage::Schedule, [s("s")]).await;
    fences.push(fixture.claim_one(Stage::Schedule).await.fence);
    assert!(
        fences.windows(2).all(|pair| pair[0] < pair[1]),
        "{fences:?}"
    );
}

/// A claim makes no revision and changes no version.
pub async fn a_claim_makes_no_revision(fixture: BackendFixture) {
    due(&fixture, &[("d", 0, 0)]).await;
    let before = fixture.version(d("d")).await;
    let claim = fixture.claim_one(Stage::Prepare).await;
    fixture
        .backend
        .renew(std::slice::from_ref(&claim.token), TTL)
        .await
        .expect("the call succeeds");
    let retry = Outcome::Retry {
        after: STEP,
        reason: "no".to_owned(),
    };
    fixture
        .backend
        .settle(&[(claim.token, retry)])
        .await
        .expect("the call succeeds");
    assert_eq!(fixture.revision().await, 1);
    assert_eq!(fixture.version(d("d")).await, before);
}

/// Concurrent claims never lease the same work twice, and all work gets done.
pub async fn no_work_is_leased_twice_at_once(fixture: BackendFixture) {
    const WORK: usize = 60;
    let names: Vec<String> = (0..WORK).map(|n| format!("d{n:02}")).collect();
    let work: Vec<_> = names
        .iter()
        .zip(0_u8..)
        .map(|(id, n)| (id.as_str(), n % 16, 0))
        .collect();
    due(&fixture, &work).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6 {
        let own = fixture.beside().await;
        tasks.spawn(async move {
            let mut history: Vec<(Key, u64, bool)> = Vec::new();
            loop {
                let claims = own.claim(Stage::Prepare, 3).await;
                if claims.is_empty() {
                    return history;
                }
                for (n, claim) in claims.into_iter().enumerate() {
                    tokio::task::yield_now().await;
                    let done = (n + task) % 3 != 0;
                    let end = if done {
                        Outcome::Done
                    } else {
                        let reason = "again".to_owned();
                        Outcome::Retry { after: TTL, reason }
                    };
                    history.push((claim.work.key, claim.fence, done));
                    let settled = own.backend.settle(&[(claim.token, end)]).await;
                    assert_eq!(
                        settled.expect("the call succeeds"),
                        [true],
                        "the lease is exclusive"
                    );
                }
            }
        });
    }
    let mut history = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        history.extend(ended.expect("the worker works"));
    }
    let keys: HashSet<&Key> = history.iter().map(|(key, ..)| key).collect();
    assert_eq!(
        (history.len(), keys.len()),
        (WORK, WORK),
        "each was claimed once"
    );
    fixture.advance(TTL + STEP).await;
    let left = fixture.claim(Stage::Prepare, WORK).await;
    let again = history.iter().filter(|(.., done)| !done).count();
    assert_eq!(left.len(), again, "exactly the retried work is due");
}

/// The store's time advances as the harness requests, and never goes back.
pub async fn time_advances(fixture: BackendFixture) {
    let mut last = Timestamp::default();
    for _ in 0..5 {
        let now = fixture.feed_position().await.now;
        assert!(now.since(last) >= STEP, "{now:?} after {last:?}");
        last = now;
        fixture.advance(STEP).await;
    }
}

/// Each stage rotates over its lanes separately: a claim of one stage does not move another's turn.
pub async fn stages_take_separate_turns(fixture: BackendFixture) {
    let lanes = [3, 8];
    let sites: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let stages = [Stage::Prepare, Stage::Schedule];
    let enqueue = stages.into_iter().flat_map(|stage| {
        let all = sites.iter().enumerate();
        all.map(move |(n, id)| Enqueue::now(stage, s(id), Lane::new(lanes[n % 2])))
    });
    fixture
        .commit(set(sites.iter().map(|id| site(id))).enqueued(enqueue))
        .await;
    let mut served: BTreeMap<Stage, Vec<u8>> = BTreeMap::new();
    for _ in 0..4 {
        for stage in stages {
            let claim = fixture
                .claim(stage, 1)
                .await
                .pop()
                .expect("more work is due");
            served
                .entry(stage)
                .or_default()
                .push(claim.work.lane.number());
        }
    }
    for (stage, lanes) in served {
        let alternate = lanes.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(alternate, "{stage:?} was served from {lanes:?}");
    }
}

/// Work can be claimed from exactly the time at which it is due.
pub async fn work_is_due_exactly_at_its_time(fixture: BackendFixture) {
    due(&fixture, &[("d", 1, 30)]).await;
    let work = fixture.work(Stage::Prepare, d("d")).await;
    let at = work.expect("it is enqueued").due;
    fixture.advance_until(at, TICK).await;
    let early = fixture.claim(Stage::Prepare, 10).await;
    if !early.is_empty() {
        // A clock that also runs by itself may have reached the time meanwhile.
        assert!(fixture.now().await >= at, "claimed too early: {early:?}");
        return;
    }
    fixture.advance_until(at, Duration::ZERO).await;
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.key, d("d"));
}
