//! Every kind of statement is counted with its failures, and the status of the database is shown.

use crate::scrape::{self, Scrape};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{
    Ack, Backend, ChangeSet, ClaimRequest, ContentHash, Deployment, DeploymentId, Enqueue,
    ErrorKind, Facts, Key, Kind, Lane, List, Metadata, Outcome, Package, Pattern, Put, Require,
    Resource, Revision, Select, SharedLimits, Stage, TemplateId, Token, Want, deployment_resource,
};
use tko_postgres_server::shared;

/// Statements that an undisturbed test does not send: joins with more than some thousand templates,
/// and the search after a lost reply.
const RARE: [&str; 2] = ["read_named", "find_lost"];

/// Creates a separate database.
fn database() -> String {
    shared().create_database().expect("a database is made")
}

fn settings(database: &str) -> PostgresSettings {
    let mut settings = PostgresSettings::new(shared().url(database));
    settings.connections = 8;
    settings
}

async fn open(settings: PostgresSettings) -> Arc<Postgres> {
    Arc::new(Postgres::connect(settings).await.expect("a store"))
}

/// A connection outside the pool of the store.
async fn beside(database: &str) -> sqlx::PgPool {
    let pool = sqlx::PgPool::connect(&shared().url(database)).await;
    pool.expect("a connection")
}

fn site(id: &str) -> Key {
    Key::new(Kind::Site, id).expect("an id")
}

fn put(key: &Key, facts: Facts, body: Package) -> Put {
    Put::new(key.clone())
        .metadata(Metadata::from_iter([("one", "1"), ("two", "2")]))
        .facts(facts)
        .body(body)
}

fn a_site(key: &Key) -> Put {
    let facts = Facts::Site {
        template: None,
        origin: None,
    };
    put(key, facts, Package::default())
}

fn new(put: Put) -> ChangeSet {
    ChangeSet::new()
        .require(Require::Absent(put.key.clone()))
        .put(put)
}

fn again(put: Put) -> ChangeSet {
    ChangeSet::new()
        .require(Require::Exists(put.key.clone()))
        .put(put)
}

fn deleted(key: &Key) -> ChangeSet {
    ChangeSet::new()
        .require(Require::Exists(key.clone()))
        .require(Require::Unreferenced(key.clone()))
        .delete(key.clone())
}

fn package(text: &str) -> Package {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a"}, "data": {"text": text.repeat(200)}});
    Package::new(vec![Arc::new(Resource::new(value).expect("a resource"))]).expect("a package")
}

/// A deployment of this template with a unique idempotency key.
fn deployment(id: &str, template: &TemplateId, once: &str) -> Put {
    let asked = deployment_resource::asked(Some(template), None, false, false);
    let asked = Package::new(vec![Arc::new(asked)]).expect("a package");
    let deployment = Deployment::new(
        deployment_resource::split(&asked)
            .expect("it has one")
            .resource,
    )
    .template(template.clone())
    .idempotency_key(Arc::<str>::from(once));
    let key = Key::from(DeploymentId::new(id).expect("an id"));
    put(
        &key,
        Facts::Deployment(Box::new(deployment)),
        package("own "),
    )
}

fn claim(wait: Duration) -> ClaimRequest {
    ClaimRequest::new(Stage::Schedule, "w")
        .lease(Duration::from_mins(1))
        .wait(wait)
}

fn labelled(kind: Kind, labels: &[(&str, &str)]) -> Select {
    let mut select = Select::all(kind);
    for (key, pattern) in labels {
        let pattern = Pattern::value(pattern).expect("a pattern");
        select.metadata.insert((*key).to_owned(), pattern);
    }
    select
}

/// Commits, and waits for the revision.
async fn commit(store: &Postgres, set: ChangeSet) {
    let done = store.commit(set, Ack::Numbered).await;
    done.expect("it is committed");
}

/// Reads by key, and in lists.
async fn read(store: &Arc<Postgres>, key: &Key) {
    store
        .get(std::slice::from_ref(key), Want::ROW)
        .await
        .expect("it is read");
    let list = |select: Select| List::new(select).limit(10);
    let both = labelled(Kind::Deployment, &[("one", "1"), ("two", "2")]);
    store.list(&list(both.clone())).await.expect("a page");
    let mut joined = Select::all(Kind::Deployment);
    joined.template_metadata = both.metadata.clone();
    store.list(&list(joined)).await.expect("a page");
    let all: Vec<_> = store
        .clone()
        .pages(list(Select::all(Kind::Deployment)))
        .try_collect()
        .await
        .expect("all pages");
    assert_eq!(all.len(), 1);
    let judged = labelled(Kind::Deployment, &[("one", "*1")]);
    for select in [both, judged] {
        let count = store.count(&select, 10, Want::ROW).await.expect("a count");
        assert_eq!(count.found, 2);
    }
}

/// Uses leases and modifications.
async fn work(store: &Postgres, key: &Key) {
    let nothing = store.claim(&claim(Duration::from_millis(1))).await;
    assert!(nothing.expect("it was looked").is_empty());
    let mut due = again(a_site(key));
    due.enqueue = vec![Enqueue::now(
        Stage::Schedule,
        key.clone(),
        Lane::of(key.id()),
    )];
    commit(store, due.clone()).await;
    let lease = store.claim(&claim(Duration::ZERO)).await;
    let lease = lease.expect("it was looked").remove(0).token;
    let edit = store
        .start_modification(key, Duration::from_mins(1), Want::ROW)
        .await
        .expect("an edit")
        .token;
    let tokens = [lease.clone(), edit.clone()];
    let renewed = store.renew(&tokens, Duration::from_mins(1)).await;
    assert_eq!(renewed.expect("renewed"), [true, true]);
    let outcome = Outcome::Yield {
        after: Duration::from_mins(1),
    };
    let ended = store.settle(&[(edit, outcome.clone())]).await;
    assert_eq!(ended.expect("given up"), [true]);
    let mut under = again(a_site(key));
    under.under = Some(lease.clone());
    commit(store, under.clone()).await;
    let ended = store.settle(&[(lease, outcome)]).await;
    assert_eq!(ended.expect("settled"), [true]);
    under.under = Some(Token::new(
        key.clone(),
        "edit.00000000000000000000000000000000",
    ));
    let refused = store.commit(under, Ack::Durable).await;
    refused.expect_err("there is no such edit");
}

/// Creates deployments of a template, and reads them with a store that has not cached them.
async fn deployments(store: &Postgres, other: &Postgres) -> TemplateId {
    let template = TemplateId::new("nf/a:v1").expect("an id");
    let key = Key::from(template.clone());
    commit(store, new(put(&key, Facts::Template, package("both ")))).await;
    for (id, once) in [("d1", "o1"), ("d2", "o2")] {
        let created = new(deployment(id, &template, once));
        commit(store, created).await;
    }
    let found = new(deployment("d3", &template, "o1"));
    commit(store, found).await;
    let want = Want::ROW.with_package();
    let id = Key::new(Kind::Deployment, "d1").expect("an id");
    other.get(&[id], want).await.expect("it is read");
    let refused = store.commit(deleted(&key), Ack::Durable).await;
    let refused = refused.expect_err("it is named");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused:?}");
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_counted() {
    let database = database();
    let store = open(settings(&database)).await;
    let other = open(settings(&database)).await;
    let mut scrapes = vec![Scrape::of(&store), Scrape::of(&other)];
    let key = site("a");
    commit(&store, new(a_site(&key))).await;
    work(&store, &key).await;
    let template = deployments(&store, &other).await;
    read(&store, &Key::from(template)).await;
    store.feed_position().await.expect("the head");
    let change = store.tail(Revision(0), Want::ROW).next().await;
    change.expect("no end").expect("a change");
    let d1 = Key::new(Kind::Deployment, "d1").expect("an id");
    let history = store.history(&d1, None, 10).await.expect("its history");
    assert_eq!(history.len(), 1);
    let result = ContentHash([1; 32]);
    let limits = SharedLimits::new();
    store
        .put_shared(result, b"value", limits)
        .await
        .expect("shared");
    let found = store
        .get_shared(result, limits.age)
        .await
        .expect("it is read");
    assert_eq!(found.as_deref(), Some(&b"value"[..]));
    commit(&store, deleted(&key)).await;
    let damage = "INSERT INTO work (stage, kind, id, lane, at, due) VALUES (1, 1, 'z', 0, 0, 0)";
    shared().psql(&database, damage).expect("damaged");
    let report = store.check(true).await.expect("it is looked at");
    assert_eq!(report.left(), 0, "{report:?}");
    let mut forgetful = settings(&database);
    (forgetful.history, forgetful.history_time) = (0, Duration::ZERO);
    let forgetful = open(forgetful).await;
    scrapes.push(Scrape::of(&forgetful));
    let by_chance = async {
        // Unless the other process holds the lock of the housekeeping.
        while !scrapes[2].names().contains("forget") {
            forgetful.trim().await.expect("what is old goes");
        }
        // Either process numbers them; the process that committed them asks for the revision.
        let mut round = 0;
        while !scrapes[0].names().contains("find_revision") {
            let [one, two] =
                ["one", "two"].map(|who| new(a_site(&site(&format!("{who}/{round}")))));
            tokio::join!(commit(&store, one), commit(&other, two));
            round += 1;
        }
    };
    let limit = Duration::from_mins(1);
    let by_chance = tokio::time::timeout(limit, by_chance).await;
    by_chance.expect("it happens now and then");
    let others = store.other_processes().await.expect("they are found");
    assert!(others.len() <= scrapes.len(), "{others:?}");
    store.clear().await.expect("it is deleted");
    let known: BTreeSet<String> = scrape::known();
    assert!(known.len() > 40, "{known:?}");
    let wanted = |name: &&String| !RARE.contains(&name.as_str());
    let counted = || -> BTreeSet<String> { scrapes.iter().flat_map(Scrape::names).collect() };
    let missing = || -> Vec<String> {
        let counted = counted();
        let missing = known.iter().filter(wanted);
        missing.filter(|n| !counted.contains(*n)).cloned().collect()
    };
    // Background tasks send the rest.
    scrape::until(|| missing().is_empty(), || format!("{:?}", missing())).await;
    assert!(counted().is_subset(&known), "{:?}", &counted() - &known);
    for scrape in &scrapes {
        scrape.is_sound();
        assert_eq!(scrape.value("tko_postgres_connections_max"), Some(8.0));
        assert!(scrape.value(r#"tko_postgres_connections{state="idle"}"#) > Some(0.0));
    }
    drop((store, other, forgetful));
    // Background tasks may hold it for a moment longer.
    let gone = || scrapes.iter().all(|scrape| scrape.text() == "# EOF\n");
    scrape::until(gone, || scrapes[0].text()).await;
    shared().drop_database(&database).expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_is_counted_once() {
    let database = database();
    let store = open(settings(&database)).await;
    let scrape = Scrape::of(&store);
    let key = site("a");
    commit(&store, new(a_site(&key))).await;
    for _ in 0..3 {
        store
            .get(std::slice::from_ref(&key), Want::ROW)
            .await
            .expect("it is read");
    }
    let count = store.count(&Select::all(Kind::Site), 10, Want::ROW).await;
    assert_eq!(count.expect("a count").found, 1);
    for (name, count) in [("get", 3), ("count", 1), ("commit", 1), ("lend", 4)] {
        assert_eq!(scrape.count(name), Some(count), "{name}");
        let sum = format!("tko_postgres_statement_seconds_sum{{statement=\"{name}\"}}");
        let sum = scrape.value(&sum).expect("a sum");
        assert!(sum > 0.0 && sum < 60.0, "{name}: {sum} s");
        assert_eq!(scrape.failures(name), [0; 5], "{name}");
    }
    assert_eq!(scrape.count("claim"), None, "nobody claimed");
    drop(store);
    shared().drop_database(&database).expect("it goes");
}

/// Waits until a read waits for a lock.
async fn is_asked(pool: &sqlx::PgPool) {
    let asked = async {
        let waiting = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND datname = current_database() AND query LIKE 'SELECT 1::bigint%')";
        while !sqlx::query_scalar::<_, bool>(waiting)
            .fetch_one(pool)
            .await
            .expect("sessions are listed")
        {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_mins(1);
    tokio::time::timeout(limit, asked)
        .await
        .expect("a read that waits");
}

/// A session keeps a row locked, and a client cancels its read.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_kind() {
    let database = database();
    let mut hasty = settings(&database);
    hasty.statement_timeout = Duration::from_millis(500);
    let store = open(hasty).await;
    let patient = open(settings(&database)).await;
    let scrapes = [Scrape::of(&store), Scrape::of(&patient)];
    let key = site("a");
    commit(&store, new(a_site(&key))).await;
    let pool = beside(&database).await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE entity IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *other)
        .await
        .expect("a lock");
    let refused = store.commit(new(a_site(&site("b"))), Ack::Durable).await;
    let refused = refused.expect_err("it is locked");
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    let [retry, taken, unavailable, broken, given_up] = scrapes[0].failures("commit");
    assert!(unavailable > 0, "{unavailable} commits were stopped");
    assert_eq!([retry, taken, broken, given_up], [0; 4]);
    let asking = tokio::spawn({
        let (patient, key) = (patient.clone(), key.clone());
        async move { patient.get(&[key], Want::ROW).await }
    });
    is_asked(&pool).await;
    asking.abort();
    asking.await.expect_err("it was given up");
    assert_eq!(scrapes[1].failures("get"), [0, 0, 0, 0, 1]);
    other.rollback().await.expect("it ends");
    let taken = store.commit(new(a_site(&key)), Ack::Durable).await;
    taken.expect_err("it is there");
    assert_eq!(scrapes[0].failures("commit")[1], 1, "it was taken");
    pool.close().await;
    drop((store, patient));
    shared().drop_database(&database).expect("it goes");
}

/// A session holds the lock of numbering passes, and a snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn pending_changes_are_shown() {
    let database = database();
    let store = open(settings(&database)).await;
    let scrape = Scrape::of(&store);
    let value = |name: &str| scrape.value(&format!("tko_postgres_{name}"));
    commit(&store, new(a_site(&site("a")))).await;
    let numbered = || value("revision") == Some(1.0) && value("pending_changes") == Some(0.0);
    scrape::until(numbered, || scrape.text()).await;
    assert_eq!(value("pending_age_seconds"), Some(0.0));
    let pool = beside(&database).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    let mut other = pool.begin_with(begin).await.expect("a transaction");
    sqlx::query("SELECT FROM head FOR UPDATE")
        .execute(&mut *other)
        .await
        .expect("the lock");
    for id in ["b", "c"] {
        let done = store.commit(new(a_site(&site(id))), Ack::Durable).await;
        done.expect("it is committed");
    }
    let waiting = || {
        value("pending_changes") == Some(2.0)
            && value("pending_age_seconds") > Some(1.0)
            && value("oldest_transaction_seconds") > value("pending_age_seconds")
            && value("horizon_transactions") > Some(0.0)
    };
    scrape::until(waiting, || scrape.text()).await;
    assert_eq!(value("revision"), Some(1.0));
    other.rollback().await.expect("it ends");
    let numbered = || value("revision") == Some(3.0) && value("pending_changes") == Some(0.0);
    scrape::until(numbered, || scrape.text()).await;
    assert_eq!(value("oldest_revision"), Some(0.0));
    pool.close().await;
    drop(store);
    shared().drop_database(&database).expect("it goes");
}
