//! [`Backend::tail`](tko_core::Backend::tail) and
//! [`Backend::feed_position`](tko_core::Backend::feed_position): the change feed.

use super::fixture::BackendFixture;
use super::sample::{PutBuilder, changes, condition, package, s, set, site, value_of};
use futures_util::StreamExt;
use std::time::Duration;
use tko_core::{Change, ChangeRecord, Error, Record, Result, Revision, Want};

const STEP: Duration = Duration::from_secs(5);

fn body(record: Option<&Record>) -> Option<&tko_core::Package> {
    record.and_then(|record| record.package.as_ref())
}

/// Each change has its state before and after, its time, its cause and its set.
pub async fn a_change_comes_with_its_previous_state(fixture: BackendFixture) {
    fixture
        .commit(set([site("s").with_resources(&["a"])]).cause("why"))
        .await;
    let first = fixture.row(s("s")).await;
    fixture.advance(STEP).await;
    fixture
        .put([
            site("s").with_resources(&["b"]).with_label("k", "v"),
            site("t"),
        ])
        .await;
    let second = fixture.row(s("s")).await;
    fixture
        .commit(changes([Change::Conditions(
            s("s"),
            vec![condition("C", true, "R")],
        )]))
        .await;
    let third = fixture.row(s("s")).await;
    fixture.commit(changes([Change::Delete(s("s"))])).await;
    let feed = fixture.changes(0).await;
    let feed: Vec<&ChangeRecord> = feed.iter().filter(|c| c.key == s("s")).collect();
    let versions = |c: &ChangeRecord| {
        let version = |r: &Option<Record>| r.as_ref().map(|r| r.entity.version);
        (version(&c.before), version(&c.after))
    };
    let (one, two, three) = (
        Some(first.version),
        Some(second.version),
        Some(third.version),
    );
    let told: Vec<_> = feed.iter().map(|change| versions(change)).collect();
    assert_eq!(told, [(None, one), (one, two), (two, three), (three, None)]);
    let numbers: Vec<_> = feed.iter().map(|c| (c.revision.0, c.set.0)).collect();
    assert_eq!(numbers, [(1, 1), (2, 3), (4, 4), (5, 5)]);
    assert_eq!(feed[0].cause.as_deref(), Some("why"));
    assert_eq!(feed[1].cause, None);
    assert_eq!(feed[0].at, first.created);
    assert_eq!(feed[1].at, second.updated);
    let (a, b) = (package(&["a"]), package(&["b"]));
    let bodies: Vec<_> = feed
        .iter()
        .map(|c| (body(c.before.as_ref()), body(c.after.as_ref())))
        .collect();
    let expected = [
        (None, Some(&a)),
        (Some(&a), Some(&b)),
        (Some(&b), Some(&b)),
        (Some(&b), None),
    ];
    assert_eq!(bodies, expected);
    let before = feed[2].before.as_ref().map(|r| r.entity.conditions.len());
    let after = feed[2].after.as_ref().map(|r| r.entity.conditions.len());
    assert_eq!((before, after), (Some(0), Some(1)));
}

/// Changes include packages on request only.
pub async fn packages_come_only_on_request(fixture: BackendFixture) {
    fixture.put([site("s").with_resources(&["a"])]).await;
    fixture.put([site("s").with_resources(&["b"])]).await;
    let plain: Vec<Result<ChangeRecord>> = fixture
        .backend
        .tail(Revision(0), Want::ROW)
        .take(2)
        .collect()
        .await;
    for change in plain {
        let change = change.expect("a change");
        assert!(body(change.before.as_ref()).is_none() && body(change.after.as_ref()).is_none());
    }
    let full = fixture.changes(0).await;
    assert_eq!(body(full[1].before.as_ref()), Some(&package(&["a"])));
    assert_eq!(body(full[1].after.as_ref()), Some(&package(&["b"])));
}

/// The feed can start after any revision, also within a set, and returns every later change.
pub async fn the_feed_starts_after_any_revision(fixture: BackendFixture) {
    fixture.put((0..5).map(|n| site(&format!("s{n}")))).await;
    for after in 0..=5 {
        let mut tail = fixture.backend.tail(Revision(after), Want::ROW);
        for expected in after + 1..=5 {
            let change = tail
                .next()
                .await
                .expect("the feed does not end")
                .expect("a change");
            assert_eq!((change.revision.0, change.set.0), (expected, 5));
        }
        let known = fixture.revision().await;
        let first = fixture.changes(5).await;
        fixture
            .put([site("later").with_label("n", &after.to_string())])
            .await;
        for expected in first.iter().map(|c| c.revision.0).chain([known + 1]) {
            let change = tail
                .next()
                .await
                .expect("the feed does not end")
                .expect("a change");
            assert_eq!(change.revision.0, expected, "after {after}");
        }
    }
}

/// A reader that waits at the end gets the next change, from whichever process.
pub async fn a_waiting_reader_gets_the_next_change(fixture: BackendFixture) {
    let other = fixture.beside().await;
    let waiting = tokio::spawn(async move {
        let mut tail = other.backend.tail(Revision(0), Want::ROW);
        let first = tail
            .next()
            .await
            .expect("the feed does not end")
            .expect("a change");
        let second = tail
            .next()
            .await
            .expect("the feed does not end")
            .expect("a change");
        (first.key, second.key)
    });
    tokio::task::yield_now().await;
    fixture.put([site("a")]).await;
    tokio::task::yield_now().await;
    fixture.put([site("b")]).await;
    assert_eq!(waiting.await.expect("the reader ends"), (s("a"), s("b")));
}

/// Every reader gets every change, no matter how many there are.
pub async fn every_reader_gets_every_change(fixture: BackendFixture) {
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let own = fixture.beside().await;
        readers.spawn(async move {
            let tail = own.backend.tail(Revision(0), Want::ROW);
            let told: Vec<_> = tail.take(50).collect().await;
            let number = |c: Result<ChangeRecord>| c.expect("a change").revision.0;
            told.into_iter().map(number).collect::<Vec<u64>>()
        });
    }
    for n in 0..25 {
        fixture
            .put([site(&format!("a{n}")), site(&format!("b{n}"))])
            .await;
        tokio::task::yield_now().await;
    }
    let all: Vec<u64> = (1..=50).collect();
    while let Some(told) = readers.join_next().await {
        assert_eq!(told.expect("the reader ends"), all);
    }
}

/// Under concurrent writes the feed returns each change once, in order, and each entity's states
/// without a gap.
pub async fn the_feed_is_exact_under_concurrent_writes(fixture: BackendFixture) {
    const TASKS: u64 = 6;
    const EACH: u64 = 20;
    let mut writers = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let own = fixture.beside().await;
        writers.spawn(async move {
            for n in 0..EACH {
                let word = format!("{task}x{n}");
                let own_one = site(&format!("own{task}")).with_label("word", &word);
                let common = site("common").with_label("word", &word);
                own.put([own_one, common]).await;
                tokio::task::yield_now().await;
            }
        });
    }
    let told = fixture
        .next_changes(0, usize::try_from(TASKS * EACH * 2).expect("small"))
        .await;
    while let Some(ended) = writers.join_next().await {
        ended.expect("the writer ends");
    }
    let mut last = std::collections::BTreeMap::new();
    for (at, change) in told.iter().enumerate() {
        assert_eq!(change.revision.0, at as u64 + 1);
        let before = change.before.as_ref().map(|r| r.entity.version);
        let after = change.after.as_ref().map(|r| r.entity.version);
        let known = last.insert(change.key.clone(), after).flatten();
        assert_eq!(before, known, "{} continues where it was", change.key);
    }
    for (key, version) in last {
        assert_eq!(fixture.find(key).await.map(|r| r.entity.version), version);
    }
}

/// A position that is no longer kept is `Expired`; the error names the oldest position that works.
pub async fn a_position_no_longer_kept_is_expired(fixture: BackendFixture) {
    let fixture = fixture.fresh(10).await;
    for n in 0..50 {
        fixture
            .put([site("s").with_label("n", &n.to_string())])
            .await;
    }
    fixture.trim().await;
    let head = fixture.feed_position().await;
    assert!(
        head.oldest.0 >= 30,
        "at most twice the history is kept: {head:?}"
    );
    assert!(head.oldest.0 <= 40, "the last ten are kept: {head:?}");
    for after in [0, head.oldest.0 - 1] {
        let mut tail = fixture.backend.tail(Revision(after), Want::ROW);
        match tail.next().await {
            Some(Err(Error::Expired { oldest })) => assert!(oldest >= head.oldest),
            other => panic!("after {after} it has expired: {other:?}"),
        }
        assert!(
            tail.next().await.is_none(),
            "the stream ends after an error"
        );
    }
    let told = fixture.changes(head.oldest.0).await;
    assert_eq!(told[0].revision.0, head.oldest.0 + 1);
    assert_eq!(told.last().map(|c| c.revision), Some(head.revision));
}

/// A slow reader is delayed or gets `Expired`; it never misses a change.
pub async fn a_slow_reader_misses_nothing(fixture: BackendFixture) {
    let fixture = fixture.fresh(20).await;
    fixture.put([site("s").with_label("n", "first")]).await;
    let mut tail = fixture.backend.tail(Revision(0), Want::ROW);
    let first = tail
        .next()
        .await
        .expect("the feed does not end")
        .expect("a change");
    assert_eq!(first.revision.0, 1);
    for n in 0..200 {
        fixture
            .put([site("s").with_label("n", &n.to_string())])
            .await;
    }
    fixture.trim().await;
    let mut expected = 2;
    while expected <= 201 {
        match tail.next().await.expect("the feed does not end") {
            Ok(change) => assert_eq!(change.revision.0, expected, "no change is skipped"),
            Err(Error::Expired { .. }) => {
                assert!(
                    tail.next().await.is_none(),
                    "the stream ends after an error"
                );
                return;
            }
            Err(other) => panic!("held back or expired: {other:?}"),
        }
        expected += 1;
    }
}

/// The feed position names the last revision and the oldest one after which the feed can start.
pub async fn the_feed_position_names_the_last_and_oldest_revision(fixture: BackendFixture) {
    let head = fixture.feed_position().await;
    assert_eq!((head.revision, head.oldest), (Revision(0), Revision(0)));
    fixture.put([site("a"), site("b")]).await;
    let head = fixture.feed_position().await;
    assert_eq!((head.revision, head.oldest), (Revision(2), Revision(0)));
    let feed = fixture.changes(0).await;
    assert!(feed.iter().all(|change| change.at <= head.now));
    let words: Vec<_> = feed
        .iter()
        .map(|c| c.after.as_ref().and_then(|r| value_of(&r.entity, "k")))
        .collect();
    assert_eq!(words, [None, None]);
}

/// A waiting reader gets each change: no wake-up is lost between its read of the feed and its wait.
pub async fn no_wake_up_is_lost(fixture: BackendFixture) {
    const ROUNDS: usize = 100;
    let other = fixture.beside().await;
    let mut tail = other.backend.tail(Revision(0), Want::ROW);
    for round in 0..ROUNDS {
        let waiting = tokio::spawn(async move {
            let next = tail.next().await;
            (tail, next)
        });
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        fixture
            .put([site("s").with_label("round", &round.to_string())])
            .await;
        let heard = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        let heard = heard.unwrap_or_else(|_| panic!("change {round} woke no reader"));
        let (rest, next) = heard.expect("the reader ends");
        let change = next.expect("the feed does not end").expect("a change");
        assert_eq!(change.revision.0, round as u64 + 1);
        tail = rest;
    }
}

/// A revision that the store has not reached is `Expired`. It comes from an earlier state of the
/// store, such as before a restore, so the reader must list again.
pub async fn a_future_revision_is_expired(fixture: BackendFixture) {
    fixture.put([site("a"), site("b")]).await;
    for after in [3, 1_000, u64::MAX] {
        let mut tail = fixture.backend.tail(Revision(after), Want::ROW);
        match tail.next().await {
            Some(Err(Error::Expired { oldest })) => assert_eq!(oldest, Revision(0)),
            other => panic!("revision {after} is expired, but the feed gave {other:?}"),
        }
        assert!(tail.next().await.is_none(), "the feed ends after an error");
    }
    let mut tail = fixture.backend.tail(Revision(2), Want::ROW);
    assert!(futures_util::poll!(tail.next()).is_pending());
    fixture.put([site("c")]).await;
    let next = tail
        .next()
        .await
        .expect("the feed does not end")
        .expect("a change");
    assert_eq!(
        next.revision,
        Revision(3),
        "the last revision is not in the future"
    );
}
