//! Writers under disturbance, and the state that must follow.

use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{
    Ack, Backend, ChangeSet, Error, ErrorKind, Facts, Key, Kind, Metadata, Package, Put, Require,
    Revision, Want,
};
use tko_postgres_server::PostgresServer;

/// The number of writing tasks, and of changes by each.
const WRITERS: usize = 6;
const CHANGES: u64 = 120;

pub(crate) async fn open(server: &PostgresServer, database: &str) -> Arc<Postgres> {
    let mut settings = PostgresSettings::new(server.url(database));
    settings.connections = 6;
    Arc::new(Postgres::connect(settings).await.expect("a store"))
}

pub(crate) fn site(id: &str) -> Key {
    Key::new(Kind::Site, id).expect("an id")
}

pub(crate) fn put(key: &Key, facts: Facts, count: u64) -> Put {
    Put::new(key.clone())
        .metadata(Metadata::from_iter([("count", count.to_string())]))
        .facts(facts)
        .body(Package::default())
}

pub(crate) fn a_site() -> Facts {
    Facts::Site {
        template: None,
        origin: None,
    }
}

pub(crate) fn set(require: Require, put: Put) -> ChangeSet {
    ChangeSet::new().require(require).put(put)
}

pub(crate) async fn read(store: &Postgres, key: &Key) -> Option<Arc<tko_core::Entity>> {
    loop {
        match store.get(std::slice::from_ref(key), Want::ROW).await {
            Ok(mut found) => return found.pop().flatten().map(|record| record.entity),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) fn count(entity: &tko_core::Entity) -> u64 {
    let count = entity.metadata.get("count").expect("it counts");
    count.parse().expect("a number")
}

/// The replies that a writer received.
#[derive(Default)]
struct Replies {
    done: AtomicU64,
    unknown: AtomicU64,
}

impl Replies {
    /// Whether a change was applied; `None` if that is unknown.
    fn of(&self, answer: Result<(), Error>) -> bool {
        match answer.map_err(|error| (error.kind(), error)) {
            Ok(()) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Err((ErrorKind::Unavailable, _)) => _ = self.unknown.fetch_add(1, Ordering::Relaxed),
            // Another writer was first, or the reply to an earlier attempt was lost.
            Err((ErrorKind::Conflict | ErrorKind::AlreadyExists, _)) => {}
            Err((_, error)) => panic!("{error:?}"),
        }
        false
    }
}

/// Increments shared counters and creates entities, while `disturb` runs.
pub(crate) async fn writers_against<F: Future<Output = ()>>(
    server: &PostgresServer,
    disturb: impl Fn(Arc<AtomicBool>, String) -> F,
) {
    let database = server.create_database().expect("a database");
    let stores = [
        open(server, &database).await,
        open(server, &database).await,
        open(server, &database).await,
    ];
    let counters: Vec<Key> = (0..3).map(|n| site(&format!("counter/{n}"))).collect();
    for key in &counters {
        let new = set(Require::Absent(key.clone()), put(key, a_site(), 0));
        stores[0].commit(new, Ack::Numbered).await.expect("a site");
    }
    let replies: Arc<BTreeMap<Key, Replies>> = Arc::new(
        counters
            .iter()
            .map(|key| (key.clone(), Replies::default()))
            .collect(),
    );
    let ended = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|writer| {
        let store = stores[writer % stores.len()].clone();
        let (replies, counters) = (replies.clone(), counters.clone());
        tokio::spawn(async move {
            let mut created = Vec::new();
            for number in 0..CHANGES {
                let key = &counters[usize::try_from(number).expect("small") % counters.len()];
                let entity = read(&store, key).await.expect("it is there");
                let more = set(
                    Require::At(key.clone(), entity.version),
                    put(key, a_site(), count(&entity) + 1),
                );
                let ack = [Ack::Durable, Ack::Numbered][usize::from(number % 4 == 0)];
                replies[key].of(store.commit(more, ack).await.map(drop));
                let own = site(&format!("own/{writer}/{number}"));
                let new = set(Require::Absent(own.clone()), put(&own, a_site(), number));
                if Replies::default().of(store.commit(new, ack).await.map(drop)) {
                    created.push(own);
                }
            }
            created
        })
    });
    let writers = futures_util::future::join_all(writers);
    let writing = async {
        let created = writers.await;
        ended.store(true, Ordering::SeqCst);
        created
    };
    let (created, ()) = tokio::join!(writing, disturb(ended.clone(), database.clone()));
    let store = open(server, &database).await;
    for key in created.into_iter().flat_map(|keys| keys.expect("no panic")) {
        assert!(read(&store, &key).await.is_some(), "{key} was acknowledged");
    }
    for (key, replies) in &*replies {
        let entity = read(&store, key).await.expect("it is there");
        let (done, unknown) = (
            replies.done.load(Ordering::Relaxed),
            replies.unknown.load(Ordering::Relaxed),
        );
        let counted = count(&entity);
        assert!(
            (done..=done + unknown).contains(&counted),
            "{key}: {counted} increments took effect; {done} were acknowledged, {unknown} unknown"
        );
    }
    exact_feed(&store).await;
    let report = store.check(false).await.expect("it is looked at");
    assert_eq!(report.left(), 0, "{report:?}");
    drop((stores, store));
    server.drop_database(&database).expect("it goes");
}

/// The feed is dense, and each state of a key follows the previous one.
pub(crate) async fn exact_feed(store: &Postgres) {
    // This commit is numbered after all others.
    let last = site("last");
    let new = set(Require::Absent(last.clone()), put(&last, a_site(), 0));
    let end = store.commit(new, Ack::Numbered).await.expect("a site");
    let end = end.revision.expect("it was waited for");
    let mut states: BTreeMap<Key, Option<tko_core::Version>> = BTreeMap::new();
    let mut feed = store.tail(Revision(0), Want::ROW);
    for revision in 1..=end.0 {
        let change = feed.next().await.expect("no end").expect("no gap");
        assert_eq!(change.revision.0, revision, "dense");
        let version = |record: Option<&tko_core::Record>| record.map(|r| r.entity.version);
        let before = states.get(&change.key).copied().flatten();
        assert_eq!(version(change.before.as_ref()), before, "{}", change.key);
        states.insert(change.key, version(change.after.as_ref()));
    }
}
