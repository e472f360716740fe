//! The schema: created by several processes at once, and used by two versions side by side.

use sqlx::{Connection, Executor, PgConnection};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Ack, Backend, ChangeSet, Facts, Key, Kind, Metadata, Package, Put, Require, Want};
use tko_postgres_server::shared;

fn creation(id: &str) -> ChangeSet {
    let key = Key::new(Kind::Site, id).expect("an id");
    let put = Put::new(key.clone())
        .metadata(Metadata::from_iter([("k", "v")]))
        .facts(Facts::Site {
            template: None,
            origin: None,
        })
        .body(Package::default());
    ChangeSet::new().require(Require::Absent(key)).put(put)
}

async fn open(database: &str) -> Postgres {
    let mut settings = PostgresSettings::new(shared().url(database));
    settings.connections = 4;
    Postgres::connect(settings)
        .await
        .expect("the store is made")
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_create_the_schema_at_once() {
    let database = shared().create_database().expect("a database");
    let stores = futures_util::future::join_all((0..5).map(|_| open(&database))).await;
    for (number, store) in stores.iter().enumerate() {
        let set = creation(&format!("site/{number}"));
        store.commit(set, Ack::Numbered).await.expect("it works");
    }
    let head = stores[0].feed_position().await.expect("the head");
    assert_eq!(head.revision.0, 5);
    drop(stores);
    shared().drop_database(&database).expect("it goes");
}

/// A later version adds a column with a default, a table and an index. This version keeps working,
/// and can start on that schema.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_works_on_the_schema_of_a_later_version() {
    let database = shared().create_database().expect("a database");
    let running = open(&database).await;
    running
        .commit(creation("before"), Ack::Numbered)
        .await
        .expect("it works");
    let later = PgConnection::connect(&shared().url(&database)).await;
    let mut later = later.expect("the server runs");
    for step in [
        "ALTER TABLE entity ADD COLUMN later text NOT NULL DEFAULT 'new'",
        "CREATE TABLE later (id text PRIMARY KEY)",
        "CREATE INDEX entity_later ON entity (later)",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99990101, 'later', true, '\\x00', 1)",
    ] {
        later.execute(step).await.expect("it expands");
    }
    let started = open(&database).await;
    for (store, id) in [(&running, "running"), (&started, "started")] {
        store
            .commit(creation(id), Ack::Numbered)
            .await
            .expect("it works");
        let key = Key::new(Kind::Site, "before").expect("an id");
        let found = store
            .get(std::slice::from_ref(&key), Want::ROW)
            .await
            .expect("it reads");
        let entity = found[0].as_ref().expect("it is there").entity.clone();
        let mut put = Put::of(&entity);
        put.metadata.insert("by", id);
        let set = ChangeSet::new()
            .require(Require::At(key, entity.version))
            .put(put);
        store.commit(set, Ack::Numbered).await.expect("it changes");
    }
    let report = started.check(false).await.expect("it is looked at");
    assert_eq!((report.entities, report.left()), (3, 0), "{report:?}");
    assert_eq!(report.changes, 5);
    drop((running, started, later));
    shared().drop_database(&database).expect("it goes");
}
