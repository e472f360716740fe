//! Which work a claim takes: as the rule of `tko_core::commit::WorkItem::choose` says, although the
//! backend reads only a part of the due work.

use std::sync::Arc;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_core::commit::WorkItem;
use tko_core::system::SystemClock;
use tko_core::{
    Ack, Backend, Change, ChangeSet, ClaimRequest, Enqueue, Facts, Key, Lane, Put, SiteId, Stage,
    Timestamp,
};

/// How much work each of some lanes has.
const LANES: [(u8, usize); 5] = [(0, 1), (1, 3), (2, 90), (9, 17), (15, 5)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_take_from_uneven_lanes_in_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = SqliteSettings::new(folder.path().join("tko.db"));
    let store = Sqlite::open(Arc::new(SystemClock::new()), settings).await;
    let store = store.expect("the file opens");
    let mut due: Vec<(Key, WorkItem)> = Vec::new();
    let mut set = ChangeSet::default();
    for (lane, count) in LANES {
        for number in 0..count {
            let id = SiteId::new(&format!("lane-{lane}/{number:03}")).expect("an id");
            let key = Key::Site(id);
            let facts = Facts::Site {
                template: None,
                origin: None,
            };
            let put = Put::new(key.clone()).facts(facts);
            set.changes.push(Change::Put(put));
            let enqueue = Enqueue::now(Stage::Schedule, key.clone(), Lane::new(lane));
            due.push((key, WorkItem::new(&enqueue, Timestamp(0))));
            set.enqueue.push(enqueue);
        }
    }
    store.commit(set, Ack::Durable).await.expect("created");
    let mut turn = None;
    for max in [1, 4, 15, 16, 30, 31, 100] {
        let request = ClaimRequest::new(Stage::Schedule, "test").max(max);
        let claims = store.claim(&request).await.expect("claims");
        let claimed: Vec<Key> = claims.into_iter().map(|claim| claim.token.key).collect();
        let chosen = WorkItem::choose(due.clone(), &mut turn, max, Timestamp(0));
        let chosen: Vec<Key> = chosen.into_iter().map(|(key, _)| key).collect();
        assert_eq!(claimed, chosen, "at most {max}");
        due.retain(|(key, _)| !chosen.contains(key));
    }
    assert!(due.is_empty(), "{} are left", due.len());
}
