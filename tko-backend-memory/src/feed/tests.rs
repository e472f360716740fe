//! Feeds and history, beyond the contract of backends.

use crate::sample::{TestClock, key, puts, site};
use crate::{Memory, MemorySettings};
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use tko_core::{Ack, Backend, Error, Kind, Revision, Want};

fn store(history: usize) -> Memory {
    Memory::new(TestClock::new(), MemorySettings { history })
}

async fn change(store: &Memory, value: usize) {
    let set = puts([site("s", &[("n", &value.to_string())])]);
    store.commit(set, Ack::Numbered).await.expect("a change");
}

#[tokio::test]
async fn a_waiting_feed_and_a_late_feed_get_all_changes_in_order() {
    let store = store(2_000);
    let mut waiting = store.tail(Revision(0), Want::ROW);
    assert!(waiting.next().now_or_never().is_none(), "nothing yet");
    for n in 0..1_000 {
        change(&store, n).await;
    }
    let behind = store.tail(Revision(10), Want::ROW).take(990);
    let seen: Vec<u64> = waiting
        .take(1_000)
        .map(|change| change.expect("it is kept").revision.0)
        .collect()
        .await;
    assert!(seen.into_iter().eq(1..=1_000));
    let seen: Vec<u64> = behind
        .map(|change| change.expect("it is kept").revision.0)
        .collect()
        .await;
    assert!(seen.into_iter().eq(11..=1_000));
}

#[tokio::test]
async fn a_feed_that_falls_too_far_behind_expires_and_says_where_to_continue() {
    let store = store(10);
    let mut slow = store.tail(Revision(0), Want::ROW);
    for n in 0..15 {
        change(&store, n).await;
    }
    let seen = slow.next().await.expect("an answer");
    assert!(
        matches!(
            seen,
            Err(Error::Expired {
                oldest: Revision(5)
            })
        ),
        "{seen:?}"
    );
    assert!(slow.next().await.is_none(), "it ends");
    let mut next = store.tail(Revision(5), Want::ROW);
    let first = next.next().await.expect("an answer").expect("it is kept");
    assert_eq!(first.revision, Revision(6));
}

#[tokio::test]
async fn a_revision_later_than_the_last_is_expired() {
    let store = store(10);
    change(&store, 0).await;
    let mut tail = store.tail(Revision(2), Want::ROW);
    let seen = tail.next().await.expect("an answer");
    assert!(matches!(seen, Err(Error::Expired { .. })), "{seen:?}");
}

#[tokio::test]
async fn history_has_the_changes_of_one_entity_that_the_log_keeps() {
    let store = store(10);
    for n in 0..20 {
        change(&store, n).await;
        let other = puts([site("t", &[("n", &n.to_string())])]);
        store.commit(other, Ack::Numbered).await.expect("a change");
    }
    let revisions = async |before, limit| {
        let key = key(Kind::Site, "s");
        let history = store.history(&key, before, limit).await.expect("history");
        history.iter().map(|c| c.revision.0).collect::<Vec<_>>()
    };
    assert_eq!(revisions(None, 100).await, [39, 37, 35, 33, 31]);
    assert_eq!(revisions(Some(Revision(37)), 2).await, [35, 33]);
    assert!(revisions(Some(Revision(31)), 2).await.is_empty());
}

#[tokio::test]
async fn the_log_shares_its_states_with_the_rows() {
    let store = store(10);
    change(&store, 0).await;
    change(&store, 1).await;
    let key = key(Kind::Site, "s");
    let row = store.get(std::slice::from_ref(&key), Want::ROW).await;
    let row = row.expect("one key").remove(0).expect("it is there");
    let history = store.history(&key, None, 2).await.expect("history");
    let states: Vec<_> = history
        .iter()
        .flat_map(|change| [&change.after, &change.before])
        .flatten()
        .map(|record| &record.entity)
        .collect();
    assert_eq!(states.len(), 3);
    assert!(Arc::ptr_eq(states[0], &row.entity));
    assert!(Arc::ptr_eq(states[1], states[2]));
}
