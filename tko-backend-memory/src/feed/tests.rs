//! Following and history, beyond what every backend owes.

use crate::sample::{ManualClock, key, puts, site};
use crate::{Memory, Settings};
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use tko_core::{Ack, Backend, Error, Kind, Revision, Want};

fn store(history: usize) -> Memory {
    Memory::new(ManualClock::new(), Settings { history })
}

async fn change(store: &Memory, value: usize) {
    let set = puts([site("s", &[("n", &value.to_string())])]);
    store.commit(set, Ack::Numbered).await.expect("a change");
}

#[tokio::test]
async fn who_waits_is_told_and_who_is_behind_gets_all_in_order() {
    let store = store(2_000);
    let mut waiting = store.tail(Revision(0), Want::ROW);
    assert!(waiting.next().now_or_never().is_none(), "nothing yet");
    for n in 0..1_000 {
        change(&store, n).await;
    }
    let behind = store.tail(Revision(10), Want::ROW).take(990);
    let told: Vec<u64> = waiting
        .take(1_000)
        .map(|change| change.expect("it is kept").revision.0)
        .collect()
        .await;
    assert!(told.into_iter().eq(1..=1_000));
    let told: Vec<u64> = behind
        .map(|change| change.expect("it is kept").revision.0)
        .collect()
        .await;
    assert!(told.into_iter().eq(11..=1_000));
}

#[tokio::test]
async fn who_falls_too_far_behind_is_told_so_and_where_to_go_on() {
    let store = store(10);
    let mut slow = store.tail(Revision(0), Want::ROW);
    for n in 0..15 {
        change(&store, n).await;
    }
    let told = slow.next().await.expect("an answer");
    assert!(
        matches!(
            told,
            Err(Error::Expired {
                oldest: Revision(5)
            })
        ),
        "{told:?}"
    );
    assert!(slow.next().await.is_none(), "it ends");
    let mut again = store.tail(Revision(5), Want::ROW);
    let first = again.next().await.expect("an answer").expect("it is kept");
    assert_eq!(first.revision, Revision(6));
}

#[tokio::test]
async fn a_revision_of_another_life_of_the_store_is_expired() {
    let store = store(10);
    change(&store, 0).await;
    let mut tail = store.tail(Revision(2), Want::ROW);
    let told = tail.next().await.expect("an answer");
    assert!(matches!(told, Err(Error::Expired { .. })), "{told:?}");
}

#[tokio::test]
async fn history_is_of_one_entity_and_as_long_as_the_log() {
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
