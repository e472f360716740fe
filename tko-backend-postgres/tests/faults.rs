//! Killed connections and restarted servers: no acknowledged change is lost, and none is applied
//! twice.

#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/proxy.rs"]
mod proxy;
#[path = "faults/writers.rs"]
mod writers;

use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_conformance::AdmitAll;
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Ack, Backend, ChangeSet, DeploymentId, Error, ErrorKind, Facts, Key, Kind, Package, Require,
    Revision, Select, Store, Want,
};
use tko_postgres_server::{Mode, PostgresServer, PostgresServerSettings, shared};
use writers::{a_site, count, exact_feed, open, put, read, set, site, writers_against};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_survive_killed_connections() {
    let server = shared();
    let kills = AtomicU64::new(0);
    writers_against(server, |ended, database| {
        let kills = &kills;
        async move {
            let kill = format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = '{database}' AND pid <> pg_backend_pid() AND random() < 0.3"
            );
            while !ended.load(Ordering::SeqCst) {
                let killed = tokio::task::block_in_place(|| server.psql("postgres", &kill));
                let killed = killed.expect("the server runs");
                kills.fetch_add(killed.trim().parse().expect("a number"), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
    let kills = kills.load(Ordering::SeqCst);
    assert!(kills > 20, "only {kills} connections were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_survive_restarts() {
    let server = PostgresServer::start(PostgresServerSettings::default()).expect("a server");
    writers_against(&server, |_, _| {
        let server = &server;
        async move {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                tokio::task::block_in_place(|| server.restart(Mode::Immediate))
                    .expect("it starts again");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_modification_whose_entity_cannot_be_read_is_cancelled() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let stores = [open(server, &database).await, open(server, &database).await];
    let key = site("s");
    let asked = tko_core::deployment_resource::asked(None, key.site(), false, false);
    let package = Package::new(vec![Arc::new(asked)]).expect("a package");
    let new = put(&key, a_site(), 0).body(package);
    let new = set(Require::Absent(key.clone()), new);
    stores[0].commit(new, Ack::Durable).await.expect("a site");
    let pool = sqlx::PgPool::connect(&server.url(&database))
        .await
        .expect("a connection");
    let damaged = sqlx::query("UPDATE body SET data = ''")
        .execute(&pool)
        .await;
    assert!(damaged.expect("damaged").rows_affected() > 0);
    // The other process has not cached the package.
    let ttl = Duration::from_mins(10);
    let started = stores[1].start_modification(&key, ttl, Want::PACKAGE);
    started.await.expect_err("it cannot be read");
    let left = "SELECT (SELECT count(*) FROM entity WHERE edit IS NOT NULL) \
                + (SELECT count(*) FROM edit)";
    let left: i64 = sqlx::query_scalar(left)
        .fetch_one(&pool)
        .await
        .expect("counted");
    assert_eq!(left, 0);
}

/// Either a site is deleted, or a new deployment refers to it: never both.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn referenced_entities_are_not_deleted() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let stores = [open(server, &database).await, open(server, &database).await];
    let (mut went, mut stayed) = (0, 0);
    for round in 0..40 {
        let key = site(&format!("site/{round}"));
        let new = set(Require::Absent(key.clone()), put(&key, a_site(), 0));
        stores[0].commit(new, Ack::Durable).await.expect("a site");
        let delete = ChangeSet::new()
            .require(Require::Exists(key.clone()))
            .require(Require::Unreferenced(key.clone()))
            .delete(key.clone());
        let id = DeploymentId::new(&format!("d{round:04}")).expect("an id");
        let asked = tko_core::deployment_resource::asked(None, key.site(), false, false);
        let package = Package::new(vec![Arc::new(asked)]).expect("a package");
        let head = tko_core::deployment_resource::split(&package)
            .expect("it has one")
            .resource;
        let facts = Facts::Deployment(Box::new(
            tko_core::Deployment::new(head).site(key.site().cloned()),
        ));
        let mut create = set(
            Require::Exists(key.clone()),
            put(&Key::from(id.clone()), facts, 0),
        );
        create.require.push(Require::Absent(Key::from(id)));
        // Each begins first about as often: the other one starts later.
        let (delete_first, create_first) = (round % 2 == 0, round % 2 == 1);
        let deleting = async {
            for _ in 0..usize::from(create_first) * (round % 7) {
                tokio::task::yield_now().await;
            }
            stores[0].commit(delete, Ack::Durable).await
        };
        let creating = async {
            for _ in 0..usize::from(delete_first) * (round % 7) {
                tokio::task::yield_now().await;
            }
            stores[1].commit(create, Ack::Durable).await
        };
        match tokio::join!(deleting, creating) {
            (Ok(_), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
                went += 1;
            }
            (Err(error), Ok(_)) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                stayed += 1;
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    assert!(went > 0 && stayed > 0, "{went} went, {stayed} stayed");
    let report = stores[0].check(false).await.expect("it is looked at");
    assert_eq!(report.left(), 0, "{report:?}");
}

/// A transaction that takes long from the id of its change set to its commit is numbered when it is
/// visible, even while many others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_commits_are_numbered() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let store = open(server, &database).await;
    let late = site("late");
    let create = |key: &Key| set(Require::Absent(key.clone()), put(key, a_site(), 0));
    store
        .commit(create(&late), Ack::Numbered)
        .await
        .expect("it is made");
    let head = store.feed_position().await.expect("the head").revision;
    let seen = AtomicBool::new(false);
    let writing = async {
        let mut number = 0;
        while !seen.load(Ordering::SeqCst) {
            let key = site(&format!("other/{number}"));
            let done = store.commit(create(&key), Ack::Numbered).await;
            assert!(done.expect("it is made").revision.is_some());
            number += 1;
            if number == 3_000 {
                // As if a transaction with this id had been open all the time.
                let insert = "INSERT INTO pending (change_set, ordinal, kind, gone, version, at, id, before) \
                     SELECT 0, 0, 1, false, version, now_us(), id, row_to_json(e) FROM entity e WHERE id = 'late'";
                tokio::task::block_in_place(|| server.psql(&database, insert)).expect("inserted");
            }
        }
    };
    let watching = async {
        let mut feed = store.tail(head, Want::ROW);
        while feed.next().await.expect("no end").expect("no gap").key != late {}
        seen.store(true, Ordering::SeqCst);
    };
    let both = async { tokio::join!(writing, watching) };
    tokio::time::timeout(Duration::from_mins(1), both)
        .await
        .expect("it is numbered in time");
}

/// If another session keeps a row locked, the commit fails in time with an explanation, and is not
/// applied later.
#[tokio::test(flavor = "multi_thread")]
async fn locked_rows_are_unavailable() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let mut settings = PostgresSettings::new(server.url(&database));
    settings.statement_timeout = Duration::from_millis(200);
    let store = Arc::new(Postgres::connect(settings).await.expect("a store"));
    let key = site("a");
    let new = set(Require::Absent(key.clone()), put(&key, a_site(), 1));
    store.commit(new, Ack::Numbered).await.expect("a site");
    let pool = sqlx::PgPool::connect(&server.url(&database)).await;
    let pool = pool.expect("a connection");
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT 1 FROM entity WHERE id = 'a' FOR UPDATE")
        .execute(&mut *other)
        .await
        .expect("a lock");
    let more = |count| set(Require::Exists(key.clone()), put(&key, a_site(), count));
    let refused = store.commit(more(2), Ack::Durable).await;
    let refused = refused.expect_err("it is locked");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    other.rollback().await.expect("it ends");
    let there = read(&store, &key).await.expect("it is there");
    assert_eq!(count(&there), 1, "not applied when the lock goes");
    store
        .commit(more(3), Ack::Numbered)
        .await
        .expect("it is free");
    let there = read(&store, &key).await.expect("it is there");
    assert_eq!(count(&there), 3);
    exact_feed(&store).await;
    pool.close().await;
}

/// An older transaction may have checked a reference, to any entity. A purge says so once, instead of
/// skipping one entity after another.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_ends_at_an_older_transaction() {
    use tko_core::DataApi;
    let server = shared();
    let database = server.create_database().expect("a database");
    let mut settings = PostgresSettings::new(server.url(&database));
    // A deletion does not wait longer.
    settings.statement_timeout = Duration::from_secs(1);
    let backend = Postgres::connect(settings).await.expect("a store");
    let backend: Arc<dyn Backend> = Arc::new(backend);
    for number in 0..3 {
        let key = site(&format!("s{number}"));
        let new = set(Require::Absent(key.clone()), put(&key, a_site(), 0));
        backend.commit(new, Ack::Durable).await.expect("a site");
    }
    let store = Store::new(backend, Arc::new(AdmitAll), Arc::new(TimeOrderedIds));
    let pool = sqlx::PgPool::connect(&server.url(&database)).await;
    let pool = pool.expect("a connection");
    let mut older = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM entity")
        .execute(&mut *older)
        .await
        .expect("read");
    let all = Select::all(Kind::Site);
    let refused = store.purge(&all).await.expect_err("it would wait");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("pg_stat_activity"), "{text}");
    older.rollback().await.expect("it ends");
    let purged = store.purge(&all).await.expect("nothing is in the way");
    assert_eq!(purged.done, 3, "{purged:?}");
    pool.close().await;
}

/// A watcher at the head gets an error when everything is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn watchers_have_to_list_again_after_clear() {
    let server = shared();
    let database = server.create_database().expect("a database");
    let store = open(server, &database).await;
    let other = open(server, &database).await;
    let key = site("a");
    let new = set(Require::Absent(key.clone()), put(&key, a_site(), 1));
    store.commit(new, Ack::Numbered).await.expect("a site");
    let mut tails = [&store, &other].map(|store| store.tail(Revision(0), Want::ROW));
    for tail in &mut tails {
        let change = tail.next().await.expect("no end").expect("a change");
        assert_eq!(change.key, key);
    }
    store.clear().await.expect("it is deleted");
    for tail in &mut tails {
        let next = tail.next().await.expect("no end");
        assert!(matches!(next, Err(Error::Expired { .. })), "{next:?}");
        assert!(tail.next().await.is_none(), "it ends");
    }
}

/// Two passes start one after the other, and wait for a third. The later of them has seen changes
/// that the earlier one takes, and the head has moved in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_passes_number_every_change_once() {
    let server = shared();
    let database = server.create_database().expect("a database");
    // An operator may have set another isolation level, which passes must override.
    let isolation =
        format!("ALTER DATABASE {database} SET default_transaction_isolation = serializable");
    server.psql(&database, &isolation).expect("set");
    let stores = [open(server, &database).await, open(server, &database).await];
    let create = |key: &Key| set(Require::Absent(key.clone()), put(key, a_site(), 0));
    let pool = sqlx::PgPool::connect(&server.url(&database))
        .await
        .expect("a connection");
    for round in 0..10 {
        let head = stores[0].feed_position().await.expect("the head").revision;
        let mut third = pool.begin().await.expect("a transaction");
        sqlx::query("SELECT FROM head FOR UPDATE")
            .execute(&mut *third)
            .await
            .expect("locked");
        let mut waiting = Vec::new();
        for (number, store) in stores.iter().enumerate() {
            for part in 0..3 {
                let key = site(&format!("{round}/{number}/{part}"));
                let (store, new) = (store.clone(), create(&key));
                waiting.push(tokio::spawn(async move {
                    let done = store.commit(new, Ack::Numbered).await.expect("made");
                    done.revision.expect("numbered")
                }));
            }
            blocked(&pool, number + 1).await;
        }
        third.rollback().await.expect("it ends");
        let mut revisions = Vec::new();
        for one in waiting {
            revisions.push(one.await.expect("no panic").0);
        }
        revisions.sort_unstable();
        let dense: Vec<u64> = (head.0 + 1..=head.0 + 6).collect();
        assert_eq!(revisions, dense);
        let changes: Vec<_> = stores[1].tail(head, Want::ROW).take(6).collect().await;
        let changes = changes.into_iter().map(|change| change.expect("no gap"));
        assert!(changes.map(|change| change.revision.0).eq(dense));
    }
}

/// Waits until this many sessions of the database wait for a lock.
async fn blocked(pool: &sqlx::PgPool, count: usize) {
    let sql = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let blocked = async {
        loop {
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.expect("seen");
            if usize::try_from(waiting).is_ok_and(|waiting| waiting >= count) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), blocked)
        .await
        .expect("they wait in time");
}
