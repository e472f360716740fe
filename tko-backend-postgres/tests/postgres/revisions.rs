//! Revisions that a statement gives its own changes: never before a set on which they build.
//!
//! Each test holds a commit in the middle of its statement, at a lock. Then another process commits a
//! set that has to come first, and that waits for a numbering pass. The statement began before, so its
//! snapshot shows neither that set nor that a pass is due.

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{
    Ack, Backend, Change, ChangeRecord, ChangeSet, Deployment, Facts, Key, Kind, Package, Put,
    Require, Revision, Want, deployment_resource,
};
use tko_postgres_server::shared;

/// How long to wait for what happens at once.
const PATIENCE: Duration = Duration::from_mins(1);

/// The site at which the creation is held.
const HELD: &str = "held";

fn key(kind: Kind, id: &str) -> Key {
    Key::new(kind, id).expect("an id")
}

fn site(id: &str) -> Put {
    let facts = Facts::Site {
        template: None,
        origin: None,
    };
    Put::new(key(Kind::Site, id)).facts(facts)
}

fn deployment(id: &str, idempotency_key: &str) -> Put {
    let asked = deployment_resource::asked(None, None, false, false);
    let package = Package::new(vec![Arc::new(asked)]).expect("one resource");
    let head = deployment_resource::split(&package).expect("it exists");
    let mut facts = Deployment::new(head.resource);
    facts.idempotency_key = Some(idempotency_key.into());
    Put::new(key(Kind::Deployment, id)).facts(Facts::Deployment(Box::new(facts)))
}

/// A set that creates these entities.
fn creation(puts: impl IntoIterator<Item = Put>) -> ChangeSet {
    let mut set = ChangeSet::default();
    for put in puts {
        set.require.push(Require::Absent(put.key.clone()));
        set.changes.push(Change::Put(put));
    }
    set
}

/// Adds a site like any entity, as a part `made`.
fn made(id: &str) -> String {
    format!(
        "WITH made AS (INSERT INTO entity (kind, id, version, generation, created, updated, \
         body_at, deleting, prepared, approved, body, metadata, rest) \
         SELECT 1, '{id}', -1, 1, 0, 0, 0, false, false, false, body, '', rest FROM entity LIMIT 1 \
         RETURNING *) "
    )
}

/// Records a change of the row of this part, which is gone or new, for a numbering pass.
fn recorded(part: &str, is_gone: bool) -> String {
    let before = if is_gone { "row_to_json(r)" } else { "NULL" };
    let version = if is_gone { "-2" } else { "r.version" };
    format!(
        "INSERT INTO pending (change_set, ordinal, kind, gone, version, at, id, before, cause) \
         SELECT nextval('change_set'), 0, r.kind, {is_gone}, {version}, now_us(), r.id, {before}, \
         'other' FROM {part} r"
    )
}

/// Deletes an entity, and records that.
fn deleted(id: &str) -> String {
    let gone = recorded("gone", true);
    format!("WITH gone AS (DELETE FROM entity WHERE id = '{id}' RETURNING *) {gone}")
}

async fn connection(database: &str) -> PgConnection {
    let connected = PgConnection::connect(&shared().url(database)).await;
    connected.expect("the server runs")
}

/// A store, and a connection as of another process.
struct Scene {
    database: String,
    store: Arc<Postgres>,
    other: PgConnection,
}

impl Scene {
    /// A store with what this set creates.
    async fn with(set: ChangeSet) -> Self {
        let database = tokio::task::spawn_blocking(|| shared().create_database());
        let database = database.await.expect("no panic").expect("a database");
        let settings = PostgresSettings::new(shared().url(&database));
        let store = Arc::new(Postgres::connect(settings).await.expect("a store"));
        let created = store.commit(set, Ack::Numbered).await;
        created.expect("a creation");
        let other = connection(&database).await;
        Self {
            database,
            store,
            other,
        }
    }

    /// Commits a set while another process has executed the first of these statements. When the
    /// commit waits for it, it executes the others, and ends. Returns the feed of `changes` changes.
    async fn committed(
        mut self,
        set: ChangeSet,
        statements: &[String],
        changes: usize,
    ) -> Vec<ChangeRecord> {
        let (first, others) = statements.split_first().expect("a statement");
        let mut other = self.other.begin().await.expect("it begins");
        let held = sqlx::query(AssertSqlSafe(first.as_str()));
        held.execute(&mut *other).await.expect("a lock");
        let store = self.store.clone();
        let committed = tokio::spawn(async move { store.commit(set, Ack::Numbered).await });
        let waits = async {
            let mut watching = connection(&self.database).await;
            while !sqlx::query_scalar::<_, bool>(
                "SELECT EXISTS (SELECT 1 FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock')",
            )
            .fetch_one(&mut watching)
            .await
            .expect("the activity")
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waits).await;
        waited.expect("the commit waits");
        for statement in others {
            let next = sqlx::query(AssertSqlSafe(statement.as_str()));
            let changed = next.execute(&mut *other).await.expect("a change");
            assert_eq!(changed.rows_affected(), 1, "{statement}");
        }
        other.commit().await.expect("it ends");
        let committed = tokio::time::timeout(PATIENCE, committed).await;
        let committed = committed.expect("in time").expect("no panic");
        committed.expect("nothing is in the way any more");
        let feed = self.store.clone().tail(Revision(0), Want::ROW);
        let feed = tokio::time::timeout(PATIENCE, feed.take(changes).collect::<Vec<_>>()).await;
        let feed = feed.expect("all changes").into_iter();
        let feed = feed.map(|change| change.expect("a change")).collect();
        drop(self.store);
        self.other.close().await.expect("it ends");
        let dropped = tokio::task::spawn_blocking(move || shared().drop_database(&self.database));
        dropped.await.expect("no panic").expect("it goes");
        feed
    }
}

/// Checks that the change of the other process comes before the last change of this entity.
fn other_comes_first(feed: &[ChangeRecord], last: &Key) {
    let other = feed
        .iter()
        .position(|change| change.cause.as_deref() == Some("other"));
    let last = feed.iter().rposition(|change| change.key == *last);
    assert!(other.is_some() && other < last, "{feed:#?}");
}

/// An entity that is created again comes after its deletion.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_comes_after_the_deletion_that_made_room() {
    let scene = Scene::with(creation([site("other")])).await;
    let anew = creation([site(HELD), site("other")]);
    let statements = [
        made(HELD) + "SELECT 1 FROM made",
        format!("DELETE FROM entity WHERE id = '{HELD}'"),
        deleted("other"),
    ];
    let feed = scene.committed(anew, &statements, 4).await;
    let other = key(Kind::Site, "other");
    other_comes_first(&feed, &other);
    let created = feed.iter().rfind(|change| change.key == other);
    assert!(created.is_some_and(|c| c.before.is_none()), "{feed:#?}");
}

/// A deployment that takes an idempotency key comes after the deletion of the one that had it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_has_one_holder_at_every_revision() {
    let scene = Scene::with(creation([deployment("first", "once")])).await;
    let anew = creation([site(HELD), deployment("second", "once")]);
    let statements = [
        made(HELD) + "SELECT 1 FROM made",
        format!("DELETE FROM entity WHERE id = '{HELD}'"),
        deleted("first"),
    ];
    let feed = scene.committed(anew, &statements, 4).await;
    other_comes_first(&feed, &key(Kind::Deployment, "second"));
}

/// A change of an entity comes after a set that required the version before, and locked it only.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_comes_after_a_set_that_required_the_version_before() {
    let scene = Scene::with(creation([site("required")])).await;
    let mut changed = site("required");
    changed.metadata.insert("is", "changed");
    let change = ChangeSet::new().put(changed);
    let statements = [
        "SELECT 1 FROM entity WHERE id = 'required' FOR NO KEY UPDATE".to_owned(),
        made("beside") + &recorded("made", false),
    ];
    let feed = scene.committed(change, &statements, 3).await;
    other_comes_first(&feed, &key(Kind::Site, "required"));
}

/// A deletion comes after a set that required the existence of the deleted entity.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_comes_after_a_set_that_required_existence() {
    let scene = Scene::with(creation([deployment("parent", "once")])).await;
    let parent = key(Kind::Deployment, "parent");
    let deletion = ChangeSet::new().delete(parent.clone());
    let statements = [
        "SELECT 1 FROM entity WHERE id = 'parent' FOR KEY SHARE".to_owned(),
        made("beside") + &recorded("made", false),
    ];
    let feed = scene.committed(deletion, &statements, 3).await;
    other_comes_first(&feed, &parent);
}
