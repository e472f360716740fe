//! How data are stored: files of earlier versions, and packages that differ little.

use sqlx::{ConnectOptions, Connection, Executor};
use std::path::Path;
use std::sync::Arc;
use tko_backend_sqlite::{Sqlite, SqliteSettings};
use tko_core::system::SystemClock;
use tko_core::{
    Ack, Backend, Change, ChangeSet, Deployment, DeploymentId, ErrorKind, Facts, Generation, Key,
    Kind, List, Metadata, Package, Put, Require, Select, TemplateId, Want, codec,
    deployment_resource,
};

async fn open(path: &Path) -> Sqlite {
    let clock = Arc::new(SystemClock::new());
    let sqlite = Sqlite::open(clock, SqliteSettings::new(path)).await;
    sqlite.expect("the file opens")
}

async fn raw(path: &Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    options.connect().await.expect("the file opens")
}

/// A package with a long text that all have, and a short one of its own.
fn package(number: usize) -> Package {
    let line = |line: usize| format!("option-{line}: value {}", line * 37);
    let text: Vec<String> = (0..100).map(line).collect();
    let value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"text": text.join("\n"), "number": number.to_string()}});
    Package::from_values([value]).expect("a package")
}

fn template() -> TemplateId {
    "nf/upf:v1".parse().expect("an id")
}

fn register() -> ChangeSet {
    let put = Put::new(Key::Template(template()))
        .facts(Facts::Template)
        .body(package(0));
    ChangeSet::new().put(put)
}

/// A set that creates deployments of the template.
fn deploy(numbers: std::ops::Range<usize>) -> ChangeSet {
    let mut set = ChangeSet::new().require(Require::Generation(
        Key::Template(template()),
        Generation(1),
    ));
    for number in numbers {
        let asked = deployment_resource::asked(Some(&template()), None, false, false);
        let whole = package(number).with(Arc::new(asked));
        let split = deployment_resource::split(&whole).expect("it has a Deployment resource");
        let id = DeploymentId::new(&format!("d{number:04}")).expect("an id");
        let facts = Deployment::new(split.resource).template(template());
        let put = Put::new(Key::Deployment(id))
            .facts(Facts::Deployment(Box::new(facts)))
            .body(split.body);
        set.changes.push(Change::Put(put));
    }
    set
}

async fn commit(store: &Sqlite, set: ChangeSet) {
    store.commit(set, Ack::Durable).await.expect("committed");
}

/// Compares the packages of all deployments with those that they were created with.
async fn compare(store: &Sqlite, count: usize) {
    let list = List::new(Select::all(Kind::Deployment)).want(Want::PACKAGE);
    let page = store.list(&list.limit(1_000)).await.expect("a page");
    assert_eq!(page.items.len(), count);
    for record in page.items {
        let number = record.entity.key.id().trim_start_matches('d').parse();
        let body = record.package.expect("it was asked for");
        assert_eq!(body, package(number.expect("a number")));
    }
    let report = store.check(false).await.expect("it is checked");
    assert!(report.findings.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_of_one_template_take_little_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let store = open(&path).await;
    commit(&store, register()).await;
    commit(&store, deploy(1..100)).await;
    // Alone in its change set, without the template.
    let mut last = deploy(100..101);
    last.require.clear();
    commit(&store, last).await;
    compare(&store, 100).await;
    let mut raw = raw(&path).await;
    let bytes = "SELECT avg(length(data)) FROM body WHERE dictionary IS NOT NULL";
    let (count, bytes): (i64, f64) = (
        sqlx::query_scalar("SELECT count(*) FROM body WHERE dictionary IS NOT NULL")
            .fetch_one(&mut raw)
            .await
            .expect("counted"),
        sqlx::query_scalar(bytes)
            .fetch_one(&mut raw)
            .await
            .expect("measured"),
    );
    let pages = "SELECT count(*) FROM dbstat WHERE name = 'sqlite_schema'";
    let pages: i64 = sqlx::query_scalar(pages)
        .fetch_one(&mut raw)
        .await
        .expect("counted");
    assert!(pages <= 3, "the schema takes {pages} pages");
    let whole = codec::encode(&package(1)).len();
    assert!(whole > 2_000, "{whole}");
    assert_eq!(count, 100);
    assert!(bytes < 150.0, "{bytes} of {whole}");
    // Another process knows nothing yet.
    compare(&open(&path).await, 100).await;
    // A dictionary that is missing is a damaged package.
    raw.execute("DELETE FROM dictionary")
        .await
        .expect("deleted");
    drop(store);
    let report = open(&path).await.check(false).await.expect("it is checked");
    assert_eq!(report.left(), 100, "{report:?}");
}

/// Damage on the first and on the last page of a large index is found, and repaired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn superfluous_entries_of_the_index_are_found_on_every_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let store = open(&path).await;
    commit(&store, register()).await;
    // More than one page of values, and more than one page of rows with the same value.
    let mut set = deploy(0..600);
    for change in &mut set.changes {
        if let Change::Put(put) = change {
            put.metadata = Metadata::from_iter([("own", put.key.id().to_owned())]);
        }
    }
    commit(&store, set).await;
    let mut raw = raw(&path).await;
    for damage in [
        // The first value, of another row; and two ids that no row has, behind all others.
        "INSERT INTO posting SELECT num, 'd0001' FROM term WHERE value = CAST('d0000' AS BLOB)",
        "INSERT INTO posting SELECT num, 'x' FROM term WHERE value = CAST('d0599' AS BLOB)",
        "INSERT INTO posting SELECT num, 'y' FROM term WHERE facet = 1 AND kind = 2",
    ] {
        let done = raw.execute(damage).await.expect("the statement works");
        assert_eq!(done.rows_affected(), 1, "{damage}");
    }
    let report = store.check(false).await.expect("it is checked");
    assert_eq!(report.left(), 3, "{report:?}");
    assert_eq!(report.findings[0].examples, ["d0001", "x", "y"]);
    let report = store.check(true).await.expect("it is repaired");
    assert_eq!(report.left(), 0, "{report:?}");
    assert_eq!(report.findings[0].repaired, 3, "{report:?}");
    // A value that is missing does not hide one that is superfluous.
    for damage in [
        "DELETE FROM posting WHERE id = 'd0003' AND term IN (SELECT num FROM term WHERE facet = 0)",
        "INSERT INTO posting SELECT num, 'z' FROM term WHERE facet = 1 AND kind = 2",
    ] {
        raw.execute(damage).await.expect("the statement works");
    }
    let report = store.check(false).await.expect("it is checked");
    assert_eq!(report.left(), 2, "{report:?}");
    store.check(true).await.expect("it is repaired");
    let report = store.check(false).await.expect("it is checked");
    assert!(report.findings.is_empty(), "{report:?}");
}

/// What one process deletes, another one does not use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_dictionaries_are_not_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    let (one, other) = (open(&path).await, open(&path).await);
    commit(&one, register()).await;
    commit(&one, deploy(0..3)).await;
    other.clear().await.expect("cleared");
    commit(&other, register()).await;
    commit(&one, deploy(3..6)).await;
    commit(&other, deploy(6..9)).await;
    compare(&one, 6).await;
    compare(&open(&path).await, 6).await;
}

/// A file of schema 1 opens, and all that it has is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_first_schema_are_migrated() {
    let folder = tempfile::tempdir().expect("a folder");
    let (new, old) = (folder.path().join("new.db"), folder.path().join("old.db"));
    let store = open(&new).await;
    commit(&store, register()).await;
    commit(&store, deploy(0..20)).await;
    commit(&store, ChangeSet::new().delete(deployment(7))).await;
    store.close().await.expect("closed");
    let mut file = raw(&old).await;
    file.execute(include_str!("../migrations/0001_entities.sql"))
        .await
        .expect("the first schema");
    // `TKO1` in ASCII.
    file.execute("PRAGMA application_id = 1414221617; PRAGMA user_version = 1")
        .await
        .expect("marked");
    sqlx::query("ATTACH $1 AS new")
        .bind(new.to_str().expect("a path"))
        .execute(&mut file)
        .await
        .expect("attached");
    file.execute(
        "INSERT INTO entity (kind, id, data) SELECT kind, id, data FROM new.entity; \
         INSERT INTO body (hash, refs, data) SELECT hash, refs, data FROM new.body; \
         INSERT INTO term SELECT * FROM new.term; INSERT INTO posting SELECT * FROM new.posting; \
         INSERT INTO change SELECT * FROM new.change; DELETE FROM head; \
         INSERT INTO head SELECT * FROM new.head;",
    )
    .await
    .expect("copied");
    for number in 0..20 {
        sqlx::query("UPDATE body SET data = $1 WHERE hash = $2")
            .bind(codec::encode(&package(number)))
            .bind(package(number).hash().0.to_vec())
            .execute(&mut file)
            .await
            .expect("as it was stored");
    }
    file.close().await.expect("closed");
    let store = open(&old).await;
    compare(&store, 19).await;
    commit(&store, deploy(20..30)).await;
    compare(&store, 29).await;
    let history = store.history(&deployment(7), None, 10).await;
    assert_eq!(history.expect("it is kept").len(), 2);
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tko.db");
    open(&path).await.close().await.expect("closed");
    let mut file = raw(&path).await;
    file.execute("PRAGMA user_version = 1000")
        .await
        .expect("marked");
    file.close().await.expect("closed");
    let opened = Sqlite::open(Arc::new(SystemClock::new()), SqliteSettings::new(&path)).await;
    let error = opened.expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::BadArgument, "{error:?}");
    let says = error.to_string();
    assert!(
        says.contains("1000") && says.contains("newer version of tko"),
        "{says}"
    );
}

fn deployment(number: usize) -> Key {
    let id = DeploymentId::new(&format!("d{number:04}"));
    Key::Deployment(id.expect("an id"))
}
