//! [`Backend::commit`](tko_core::Backend::commit): atomicity, order in the feed, leases and work.

use super::fixture::{ALL, BackendFixture, TTL};
use super::sample::{
    PutBuilder, all, changes, condition, d, deployment, s, set, site, t, template,
};
use crate::verdict::refused;
use serde_json::{Value, json};
use std::time::Duration;
use tko_core::work::MAX_PROGRESS;
use tko_core::{
    Ack, Change, ChangeSet, Enqueue, ErrorKind, Key, Kind, Lane, MAX_CHANGES, Outcome, Require,
    Revision, Stage, Token, Version, Want,
};

/// A set is applied completely: puts, deletes and conditions of all kinds.
pub async fn a_set_is_applied_completely(fixture: BackendFixture) {
    fixture.put([site("old"), site("said")]).await;
    let said = vec![condition("C", true, "R")];
    let done = fixture
        .commit(changes([
            Change::Put(template("new")),
            Change::Delete(s("old")),
            Change::Conditions(s("said"), said),
            Change::Put(deployment("d").template("new")),
        ]))
        .await;
    assert_eq!(done.revision, Some(Revision(6)));
    assert!(fixture.find(s("old")).await.is_none());
    assert_eq!(fixture.row(s("said")).await.conditions.len(), 1);
    let mut expected = vec![
        (t("new"), fixture.version(t("new")).await),
        (s("said"), fixture.version(s("said")).await),
        (d("d"), fixture.version(d("d")).await),
    ];
    let mut versions = done.versions;
    versions.sort_by(|one, other| one.0.cmp(&other.0));
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        versions, expected,
        "the versions of changed entities that still exist"
    );
}

/// A refused set changes nothing: no row, revision, work or progress. Its lease stays live.
pub async fn a_refused_set_changes_nothing(fixture: BackendFixture) {
    fixture
        .put([
            deployment("d").with_resources(&["a"]),
            site("held"),
            site("s"),
        ])
        .await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lease = fixture.claim_one(Stage::Prepare).await.token;
    let held = fixture
        .backend
        .start_modification(&s("held"), TTL, ALL)
        .await
        .expect("the key is free");
    let before = fixture
        .find(d("d"))
        .await
        .map(|r| (r.entity.version, r.revision, r.work));
    let whole = || {
        changes([
            Change::Put(template("new")),
            Change::Put(deployment("d").with_resources(&["b"])),
            Change::Delete(s("s")),
        ])
        .enqueue(Enqueue::now(Stage::Schedule, s("s"), Lane::new(0)))
        .under(lease.clone())
        .settle(Outcome::Done)
        .progress(json!("further"))
    };
    let conflict = whole().require(Require::At(s("s"), Version(u64::MAX)));
    let mut busy = whole();
    busy.changes.push(Change::Delete(s("held")));
    let mut twice = whole();
    twice.changes.push(Change::Put(template("new")));
    for (set, kind) in [
        (conflict, ErrorKind::Conflict),
        (busy, ErrorKind::Busy),
        (twice, ErrorKind::BadArgument),
    ] {
        refused(fixture.try_commit(set).await, &[kind], "the set");
        assert!(fixture.find(t("new")).await.is_none());
        assert!(fixture.find(s("s")).await.is_some());
        let after = fixture
            .find(d("d"))
            .await
            .map(|r| (r.entity.version, r.revision, r.work));
        assert_eq!(after, before, "after {kind:?}");
        assert!(
            fixture.claim(Stage::Schedule, 10).await.is_empty(),
            "no work after {kind:?}"
        );
        assert_eq!(fixture.revision().await, 3);
    }
    let done = fixture
        .backend
        .settle(&[(lease, Outcome::Done), (held.token, Outcome::Done)])
        .await;
    assert_eq!(
        done.expect("both tokens are settled"),
        [true, true],
        "the claims stay live"
    );
}

/// A commit that is dropped while it runs is applied completely or not at all.
pub async fn a_dropped_commit_is_all_or_nothing(fixture: BackendFixture) {
    for round in 0..10 {
        let ids = ["a", "b", "c"].map(|id| format!("{id}{round}"));
        let puts = set(ids.iter().map(|id| site(id)));
        let mut commit = fixture.backend.commit(puts, Ack::Numbered);
        for _ in 0..=round {
            if futures_util::poll!(&mut commit).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        let keys = ids.each_ref().map(|id| s(id));
        let found = fixture.backend.get(&keys, Want::ROW).await;
        let found = found
            .expect("the keys are read")
            .into_iter()
            .flatten()
            .count();
        assert!(found == 0 || found == 3, "{found} of three are there");
    }
}

/// A set may have a thousand changes; one more is a bad argument.
pub async fn too_many_changes_are_refused(fixture: BackendFixture) {
    let puts = |count: usize| set((0..count).map(|n| template(&format!("t{n:04}"))));
    let result = fixture.try_commit(puts(MAX_CHANGES + 1)).await;
    refused(result, &[ErrorKind::BadArgument], "a set of 1,001");
    assert!(fixture.ids(&all(Kind::Template)).await.is_empty());
    let done = fixture.commit(puts(MAX_CHANGES)).await;
    assert_eq!(done.revision, Some(Revision(1_000)));
    assert_eq!(done.versions.len(), MAX_CHANGES);
    assert_eq!(fixture.ids(&all(Kind::Template)).await.len(), MAX_CHANGES);
}

/// A set that changes one key twice is a bad argument, whatever the changes are.
pub async fn a_repeated_key_is_refused(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let ways = [
        Change::Put(site("s").with_label("k", "v")),
        Change::Delete(s("s")),
        Change::Conditions(s("s"), vec![condition("C", true, "R")]),
    ];
    for first in &ways {
        for second in &ways {
            let result = fixture
                .try_commit(changes([first.clone(), second.clone()]))
                .await;
            refused(result, &[ErrorKind::BadArgument], "a key twice");
        }
    }
    assert_eq!(fixture.revision().await, 1);
}

/// Revisions are dense from 1, in commit order, one for each changed entity.
pub async fn revisions_are_dense(fixture: BackendFixture) {
    assert_eq!(fixture.revision().await, 0);
    let mut expected = Vec::new();
    for size in [1, 3, 2, 5] {
        let done = fixture
            .put((0..size).map(|n| site(&format!("s{size}x{n}"))))
            .await;
        expected.extend((0..size).map(|n| s(&format!("s{size}x{n}"))));
        assert_eq!(done.revision, Some(Revision(expected.len() as u64)));
    }
    let feed = fixture.changes(0).await;
    let numbers: Vec<u64> = feed.iter().map(|change| change.revision.0).collect();
    assert_eq!(numbers, (1..=expected.len() as u64).collect::<Vec<_>>());
    let keys: Vec<Key> = feed.into_iter().map(|change| change.key).collect();
    assert_eq!(keys, expected, "in the order of each set");
}

/// With `Ack::Numbered` the change is in the feed; with `Ack::Durable` it can be read.
pub async fn both_acknowledgements_hold(fixture: BackendFixture) {
    for round in 1..=10 {
        let one = format!("a{round:02}");
        let done = fixture
            .backend
            .commit(set([site(&one)]), Ack::Numbered)
            .await;
        let revision = done
            .expect("the call is valid")
            .revision
            .expect("it is numbered");
        let feed = fixture.next_changes(revision.0 - 1, 1).await;
        assert_eq!(feed[0].key, s(&one));
        assert!(fixture.feed_position().await.revision >= revision);
        let other = format!("b{round:02}");
        let done = fixture
            .backend
            .commit(set([site(&other)]), Ack::Durable)
            .await;
        let done = done.expect("the call is valid");
        assert_eq!(
            done.versions,
            [(s(&other), fixture.version(s(&other)).await)]
        );
    }
    assert_eq!(fixture.ids(&all(Kind::Site)).await.len(), 20);
}

/// Work that a set enqueues is due once the set can be read, and not before its time.
pub async fn a_set_enqueues_work(fixture: BackendFixture) {
    let later =
        Enqueue::now(Stage::Prepare, d("later"), Lane::new(2)).after(Duration::from_secs(30));
    let due = vec![
        Enqueue::now(Stage::Prepare, d("now"), Lane::new(1)),
        later,
        Enqueue::now(Stage::Prepare, d("missing"), Lane::new(1)),
    ];
    fixture
        .commit(set([deployment("now"), deployment("later")]).enqueued(due))
        .await;
    let claim = fixture.claim_one(Stage::Prepare).await;
    assert_eq!((claim.work.key, claim.work.lane), (d("now"), Lane::new(1)));
    fixture.advance(Duration::from_secs(29)).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "the work is not due yet"
    );
    fixture.advance(Duration::from_secs(2)).await;
    assert_eq!(fixture.claim_one(Stage::Prepare).await.work.key, d("later"));
    fixture.put([deployment("missing")]).await;
    assert!(
        fixture.claim(Stage::Prepare, 10).await.is_empty(),
        "absent keys were not enqueued"
    );
}

/// A commit under a live lease may change anything and keeps the lease unless it settles it. It
/// replaces the progress; JSON null removes it.
pub async fn a_commit_under_a_lease_stores_progress(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lease = fixture.claim_one(Stage::Prepare).await.token;
    let progress = async || {
        fixture
            .work(Stage::Prepare, d("d"))
            .await
            .expect("leased")
            .progress
    };
    for (step, seen) in [
        (Some(json!({"at": 1})), Some(json!({"at": 1}))),
        (None, Some(json!({"at": 1}))),
        (Some(json!([2])), Some(json!([2]))),
        (Some(Value::Null), None),
    ] {
        let child = deployment(&format!("c{}", fixture.revision().await)).parent("d");
        let under = Some(lease.clone());
        fixture
            .commit(set([child]).under(under).progress(step))
            .await;
        assert_eq!(progress().await, seen);
    }
    let settle = Some(Outcome::Done);
    fixture
        .commit(ChangeSet::new().under(lease).settle(settle))
        .await;
    assert!(
        fixture.work(Stage::Prepare, d("d")).await.is_none(),
        "it is done"
    );
}

/// Progress over the limit is a bad argument, and the lease stays live.
pub async fn too_much_progress_is_refused(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lease = fixture.claim_one(Stage::Prepare).await.token;
    let with = |bytes: usize| {
        ChangeSet::new()
            .under(lease.clone())
            .progress(Value::String("x".repeat(bytes - 2)))
    };
    let result = fixture.try_commit(with(MAX_PROGRESS + 1)).await;
    refused(result, &[ErrorKind::BadArgument], "progress over 64 KiB");
    fixture.commit(with(MAX_PROGRESS)).await;
}

/// A lease that expired, was settled or was taken over commits nothing: `ClaimExpired`.
pub async fn an_ended_lease_commits_nothing(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lapsed = fixture.claim_one(Stage::Prepare).await.token;
    fixture.advance(TTL + TTL).await;
    let put = |under: &Token| set([template("t")]).under(under.clone());
    refused(
        fixture.try_commit(put(&lapsed)).await,
        &[ErrorKind::ClaimExpired],
        "an expired lease",
    );
    let settled = fixture.claim_one(Stage::Prepare).await.token;
    refused(
        fixture.try_commit(put(&lapsed)).await,
        &[ErrorKind::ClaimExpired],
        "a lease taken over",
    );
    let done = fixture
        .backend
        .settle(&[(settled.clone(), Outcome::Done)])
        .await;
    assert_eq!(done.expect("it is live"), [true]);
    refused(
        fixture.try_commit(put(&settled)).await,
        &[ErrorKind::ClaimExpired],
        "a settled lease",
    );
    assert!(fixture.find(t("t")).await.is_none());
}

/// A lease ends when its entity is deleted.
pub async fn a_lease_ends_with_its_entity(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lease = fixture.claim_one(Stage::Prepare).await.token;
    fixture.commit(changes([Change::Delete(d("d"))])).await;
    fixture.put([deployment("d")]).await;
    let under = set([template("t")]).under(lease.clone());
    refused(
        fixture.try_commit(under).await,
        &[ErrorKind::ClaimExpired],
        "the lease",
    );
    let renewed = fixture
        .backend
        .renew(std::slice::from_ref(&lease), TTL)
        .await;
    assert_eq!(renewed.expect("the call succeeds"), [false]);
    let settled = fixture.backend.settle(&[(lease, Outcome::Done)]).await;
    assert_eq!(settled.expect("the call succeeds"), [false]);
}

/// Concurrent sets stay contiguous in the feed. Each acknowledged set appears once, and revisions
/// stay dense.
pub async fn concurrent_sets_stay_contiguous(fixture: BackendFixture) {
    const TASKS: u64 = 6;
    const EACH: u64 = 15;
    const SIZE: u64 = 4;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let own = fixture.beside().await;
        tasks.spawn(async move {
            for round in 0..EACH {
                let puts = (0..SIZE).map(|n| site(&format!("s{task}x{round}x{n}")));
                let cause = format!("{task}x{round}");
                let done = own.commit(set(puts).cause(cause)).await;
                assert!(done.revision.is_some());
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the task writes");
    }
    let feed = fixture.changes(0).await;
    assert_eq!(feed.len() as u64, TASKS * EACH * SIZE);
    let mut keys: Vec<&Key> = feed.iter().map(|change| &change.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), feed.len(), "each change appears once");
    for (at, change) in feed.iter().enumerate() {
        assert_eq!(change.revision.0, at as u64 + 1, "dense");
    }
    for set in feed.chunks(usize::try_from(SIZE).expect("small")) {
        assert!(
            set.iter().all(|change| change.cause == set[0].cause),
            "contiguous: {set:?}"
        );
        let last = set.last().map(|change| change.revision);
        assert!(
            set.iter().all(|change| Some(change.set) == last),
            "each change names the last revision of its set"
        );
    }
}

/// Work enqueued for an absent key is dropped, even if the key is created later.
pub async fn work_of_an_absent_key_is_dropped(fixture: BackendFixture) {
    fixture.put([site("gone")]).await;
    let enqueue = Stage::ALL
        .into_iter()
        .flat_map(|stage| ["gone", "missing"].map(|id| Enqueue::now(stage, s(id), Lane::new(1))));
    fixture
        .commit(changes([Change::Delete(s("gone"))]).enqueued(enqueue))
        .await;
    fixture.put([site("gone"), site("missing")]).await;
    for stage in Stage::ALL {
        let claims = fixture.claim(stage, 10).await;
        assert!(claims.is_empty(), "{stage:?}: {claims:?}");
    }
    for id in ["gone", "missing"] {
        assert!(fixture.read(s(id)).await.work.is_empty(), "{id}");
    }
}

/// A token that was never issued commits nothing, renews nothing and settles nothing.
pub async fn an_unknown_token_commits_nothing(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lease = fixture.claim_one(Stage::Prepare).await.token;
    let secret = |secret: &str| Token::new(lease.key.clone(), secret);
    let mut guess = lease.secret.to_string();
    let last = guess.pop();
    guess.push(if last == Some('0') { '1' } else { '0' });
    let moved = Token::new(d("other"), lease.secret.clone());
    // A backend may be unable to distinguish a guessed lease token from one that has ended.
    let either = [ErrorKind::NotFound, ErrorKind::ClaimExpired];
    for (token, kinds) in [
        (secret("made.up"), &either[..1]),
        (secret(""), &either[..1]),
        (secret(&guess), &either[..]),
        (moved, &either[..]),
    ] {
        let under = Some(token.clone());
        let put = set([template("t")]).under(under);
        refused(fixture.try_commit(put).await, kinds, "an unknown token");
        let renewed = fixture
            .backend
            .renew(std::slice::from_ref(&token), TTL)
            .await;
        assert_eq!(renewed.expect("the call succeeds"), [false]);
        let settled = fixture.backend.settle(&[(token, Outcome::Done)]).await;
        assert_eq!(settled.expect("the call succeeds"), [false]);
    }
    assert!(fixture.find(t("t")).await.is_none());
    let settled = fixture.backend.settle(&[(lease, Outcome::Done)]).await;
    assert_eq!(
        settled.expect("the call succeeds"),
        [true],
        "the real token works"
    );
}

/// A set enqueues before it settles: work enqueued under its own lease is due at once afterwards.
pub async fn a_set_enqueues_before_it_settles(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let outcomes = [
        Outcome::Retry {
            after: TTL,
            reason: "no".to_owned(),
        },
        Outcome::Yield { after: TTL },
        Outcome::Done,
    ];
    for (outcome, attempts) in outcomes.into_iter().zip([2, 2, 1]) {
        let under = Some(fixture.claim_one(Stage::Prepare).await.token);
        let later =
            Enqueue::now(Stage::Prepare, d("d"), Lane::new(2)).after(Duration::from_secs(30));
        fixture
            .commit(
                ChangeSet::new()
                    .under(under)
                    .enqueue(later)
                    .settle(outcome.clone()),
            )
            .await;
        let claim = fixture.claim_one(Stage::Prepare).await;
        assert_eq!(
            claim.work.attempts, attempts,
            "due at once after {outcome:?}"
        );
        let yielded = Outcome::Yield {
            after: Duration::ZERO,
        };
        let settled = fixture.backend.settle(&[(claim.token, yielded)]).await;
        assert_eq!(settled.expect("the call succeeds"), [true]);
    }
}

/// Without a token, `settle` and `progress` have no effect.
pub async fn settle_and_progress_need_a_token(fixture: BackendFixture) {
    fixture.put([deployment("d")]).await;
    fixture.enqueue(Stage::Prepare, [d("d")]).await;
    let lease = fixture.claim_one(Stage::Prepare).await.token;
    let before = fixture.work(Stage::Prepare, d("d")).await;
    fixture
        .commit(
            set([template("t"), deployment("d").with_label("k", "v")])
                .settle(Outcome::Done)
                .progress(json!("further")),
        )
        .await;
    assert!(
        fixture.find(t("t")).await.is_some(),
        "the rest is committed"
    );
    assert_eq!(fixture.work(Stage::Prepare, d("d")).await, before);
    let settled = fixture.backend.settle(&[(lease, Outcome::Done)]).await;
    assert_eq!(
        settled.expect("the call succeeds"),
        [true],
        "the lease is live"
    );
}
