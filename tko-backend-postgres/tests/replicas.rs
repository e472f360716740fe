//! Reads from replicas: the states that they show, and that nothing depends on them.

mod sites;

use futures_util::{StreamExt, TryStreamExt};
use sites::{fill, site};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Backend, Error, Key, Kind, List, Page, Select, Want};
use tko_postgres_server::{PostgresServer, shared};

/// The limit of waiting until a replica is found usable or not.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server, its standby, and a database on both.
struct Pair {
    primary: PostgresServer,
    standby: PostgresServer,
    database: String,
}

impl Pair {
    /// Creates the schema and this many sites.
    async fn with(sites: usize) -> Self {
        let start = || {
            let primary =
                PostgresServer::start(tko_postgres_server::PostgresServerSettings::default());
            let primary = primary.expect("it starts");
            let database = primary.create_database().expect("a database");
            let standby = primary.standby().expect("it starts");
            Self {
                primary,
                standby,
                database,
            }
        };
        let pair = tokio::task::spawn_blocking(start).await.expect("no panic");
        let store = pair.open(&[]).await;
        fill(&store, 0..sites).await;
        drop(store);
        pair.catch_up();
        pair
    }

    /// Opens a store that reads from these replicas.
    async fn open(&self, replicas: &[&PostgresServer]) -> Arc<Postgres> {
        let mut settings = PostgresSettings::new(self.primary.url(&self.database));
        settings.connections = 4;
        let urls = replicas.iter().map(|replica| replica.url(&self.database));
        settings.replicas = urls.collect();
        Arc::new(Postgres::connect(settings).await.expect("a store"))
    }

    fn catch_up(&self) {
        self.standby.catch_up(&self.primary).expect("it does");
    }
}

/// A list of all sites.
fn list(allow_stale: bool) -> List {
    let mut want = Want::ROW;
    want.allow_stale = allow_stale;
    List::new(Select::all(Kind::Site)).limit(0).want(want)
}

/// Returns the revision of a list, and the number of sites.
async fn listed(store: &Postgres, allow_stale: bool) -> (u64, usize) {
    let page: Page = store.list(&list(allow_stale)).await.expect("a page");
    (page.revision.0, page.items.len())
}

async fn counted(store: &Postgres, allow_stale: bool) -> u64 {
    let list = list(allow_stale);
    let count = store.count(&list.select, 1_000_000, list.want).await;
    count.expect("a count").found
}

/// Lists until a list has this revision.
async fn until_listed_at(store: &Postgres, revision: u64) {
    let begun = Instant::now();
    loop {
        let (at, _) = listed(store, true).await;
        if at == revision {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it is at {at}, not {revision}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_read_shows_one_state_and_its_revision() {
    let pair = Pair::with(10).await;
    let store = pair.open(&[&pair.standby]).await;
    pair.standby.pause_replay().expect("it stops");
    fill(&store, 10..15).await;
    assert_eq!(listed(&store, false).await, (15, 15));
    assert_eq!(listed(&store, true).await, (10, 10));
    assert_eq!(counted(&store, false).await, 15);
    assert_eq!(counted(&store, true).await, 10);
    for (allow_stale, expected) in [(false, 15), (true, 10)] {
        // In one page, and in several.
        for limit in [0, 4] {
            let list = list(allow_stale).limit(limit);
            let pages: Vec<Page> = store
                .clone()
                .pages(list)
                .try_collect()
                .await
                .expect("pages");
            let items: usize = pages.iter().map(|page| page.items.len()).sum();
            assert_eq!(items, expected);
            assert!(pages.iter().all(|page| page.revision.0 == expected as u64));
        }
    }
    // Reads by key are always of the latest state.
    let found = store.get(&[site(14)], list(true).want).await;
    assert!(found.expect("an answer")[0].is_some());
    let (revision, _) = listed(&store, true).await;
    let changes = store.tail(tko_core::Revision(revision), Want::ROW).take(5);
    let changes: Vec<_> = changes.try_collect().await.expect("five changes");
    let missing: Vec<_> = changes
        .iter()
        .map(|c| (c.revision.0, c.key.clone()))
        .collect();
    let expected: Vec<_> = (10..15).map(|n| (n as u64 + 1, site(n))).collect();
    assert_eq!(missing, expected, "exactly what the page did not show");

    // Too far behind to watch from: it is not used any more.
    let mut settings = PostgresSettings::new(pair.primary.url(&pair.database));
    (settings.history, settings.history_time) = (3, Duration::ZERO);
    let forgetting = Postgres::connect(settings).await.expect("a store");
    forgetting.trim().await.expect("what is old goes");
    until_listed_at(&store, 15).await;
    drop(forgetting);

    pair.standby.resume_replay().expect("it goes on");
    pair.catch_up();
    assert_eq!(listed(&store, true).await, (15, 15));
    assert_eq!(counted(&store, true).await, 15);
    pair.standby.pause_replay().expect("it stops");
    fill(&store, 15..16).await;
    until_listed_at(&store, 15).await;
    assert_eq!(listed(&store, false).await, (16, 16));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_depends_on_a_replica() {
    // More than one statement's rows.
    const SITES: usize = 40_000;
    let pair = Pair::with(0).await;
    let writer = pair.open(&[]).await;
    fill(&writer, 1..=SITES).await;
    pair.catch_up();
    let store = pair.open(&[&pair.standby]).await;
    pair.standby.pause_replay().expect("it stops");
    // Sites before and after the ones that the replica shows, which it does not show.
    fill(&writer, [0, SITES + 1].into_iter()).await;
    let list_of_100 = list(true).limit(100);
    let mut pages = store.clone().pages(list_of_100);
    let mut sites = Vec::new();
    let mut revisions = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        if revisions.is_empty() {
            tokio::task::block_in_place(|| pair.standby.kill()).expect("it is killed");
        }
        revisions.push(page.revision);
        sites.extend(page.items.iter().map(|r| r.entity.key.clone()));
    }
    let expected: Vec<Key> = (1..=SITES + 1).map(site).collect();
    assert_eq!(sites.len(), expected.len());
    assert!(sites == expected, "each once, in order");
    assert!(revisions.is_sorted(), "never further back");
    let last = revisions.last().expect("at least one page");
    assert!(revisions[0] < *last, "it began on the replica");

    // The replica is down, and no read waits for it.
    assert_eq!(listed(&store, true).await.0, last.0);
    let begun = Instant::now();
    let late = pair.open(&[&pair.standby, &pair.standby]).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "it started");
    assert_eq!(listed(&late, true).await.0, last.0);
    assert_eq!(counted(&late, true).await, SITES as u64 + 2);

    // It is used again.
    tokio::task::block_in_place(|| pair.standby.start_again()).expect("it recovers");
    pair.catch_up();
    pair.standby.pause_replay().expect("it stops");
    let held = last.0;
    fill(&writer, [SITES + 2].into_iter()).await;
    assert_eq!(listed(&store, false).await.0, held + 1);
    until_listed_at(&store, held).await;
    until_listed_at(&late, held).await;
}

#[tokio::test]
async fn servers_that_are_no_replica_are_not_used() {
    let server = shared();
    let [own, other] = [(); 2].map(|()| server.create_database().expect("a database"));
    let open = async |replica: String| {
        let mut settings = PostgresSettings::new(server.url(&own));
        settings.replicas = vec![replica];
        Postgres::connect(settings).await
    };
    let refused = |result: Result<Postgres, Error>| match result.expect_err("it is refused") {
        Error::BadArgument {
            argument, message, ..
        } => {
            assert_eq!(argument, "backend replica");
            message
        }
        other => panic!("{other:?}"),
    };
    let said = refused(open(server.url(&other)).await);
    assert!(
        said.contains(&other) && said.contains("not a standby of the database"),
        "{said}"
    );
    let said = refused(open("http://localhost/".to_owned()).await);
    assert!(said.contains("postgresql://user@host/database"), "{said}");
    // The primary itself, as after a failover: the process starts.
    let store = open(server.url(&own)).await.expect("a store");
    fill(&store, 0..3).await;
    assert_eq!(listed(&store, true).await, (3, 3));
}
