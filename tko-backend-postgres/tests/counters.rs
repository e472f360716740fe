//! What one client alone costs the server: transactions and WAL syncs of each call, by the server's
//! own counters.
//!
//! Everything that a store does counts, in the background too. What an idle store does in the same
//! time is subtracted. Sessions report their counts when they end, so every figure is read after the
//! store is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_conformance::AdmitAll;
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Backend, DataApi, DeploymentId, Key, Metadata, NewDeployment, NewSite, NewTemplate, Package,
    SiteId, Store, TemplateId, Want,
};
use tko_postgres_server::{PostgresServer, PostgresServerSettings};

/// Calls of each kind.
const CALLS: usize = 100;

/// The counters of a server that syncs every commit.
struct World {
    server: PostgresServer,
    database: String,
}

/// Transactions and WAL syncs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    transactions: f64,
    syncs: f64,
}

impl World {
    fn new() -> Self {
        // Only syncs of commits count, and none of the server's own housekeeping.
        let options = [("autovacuum", "off"), ("checkpoint_timeout", "1d")];
        let server = PostgresServer::start(PostgresServerSettings {
            durable: true,
            options: options
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..PostgresServerSettings::default()
        });
        let server = server.expect("a server of its own");
        let database = server.create_database().expect("a database");
        Self { server, database }
    }

    /// Opens a store.
    async fn open(&self) -> Store<dyn Backend> {
        let settings = PostgresSettings::new(self.server.url(&self.database));
        let backend = Postgres::connect(settings).await.expect("a store");
        let backend: Arc<dyn Backend> = Arc::new(backend);
        Store::new(backend, Arc::new(AdmitAll), Arc::new(TimeOrderedIds))
    }

    /// Closes a store, and reads all counters once its sessions have ended.
    async fn close(&self, store: Store<dyn Backend>) -> Cost {
        drop(store);
        let start = Instant::now();
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'",
            self.database
        );
        while self
            .server
            .psql("postgres", &sessions)
            .expect("it runs")
            .trim()
            != "0"
        {
            assert!(start.elapsed() < Duration::from_mins(1), "sessions end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // PostgreSQL 18 counts them with other input and output.
        let version = "SHOW server_version_num";
        let version = self.server.psql("postgres", version).expect("it runs");
        let version: u32 = version.trim().parse().expect("a number");
        let syncs = if version < 180_000 {
            "SELECT wal_sync FROM pg_stat_wal"
        } else {
            "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
        };
        let counters = format!(
            "SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{}'), \
             ({syncs})",
            self.database
        );
        let counters = self.server.psql("postgres", &counters).expect("it runs");
        let (transactions, syncs) = counters.trim().split_once('|').expect("two numbers");
        Cost {
            transactions: transactions.parse().expect("a number"),
            syncs: syncs.parse().expect("a number"),
        }
    }

    /// Returns the cost of one call: of `calls`, less that of an idle store in the same time.
    async fn cost<T>(
        &self,
        name: &str,
        calls: impl AsyncFn(&Store<dyn Backend>) -> T,
    ) -> (Cost, T) {
        let store = self.open().await;
        warm(&store).await;
        let before = self.close(store).await;
        let store = self.open().await;
        warm(&store).await;
        let start = Instant::now();
        let result = calls(&store).await;
        let time = start.elapsed();
        let busy = self.close(store).await;
        let store = self.open().await;
        warm(&store).await;
        tokio::time::sleep(time).await;
        let idle = self.close(store).await;
        let of = |one: fn(&Cost) -> f64| {
            let (before, busy, idle) = (one(&before), one(&busy), one(&idle));
            #[allow(clippy::cast_precision_loss)] // Few.
            let calls = CALLS as f64;
            ((busy - before) - (idle - busy)) / calls
        };
        let cost = Cost {
            transactions: of(|cost| cost.transactions),
            syncs: of(|cost| cost.syncs),
        };
        eprintln!(
            "{name}: {:.2} transactions, {:.2} WAL syncs, {:.2} ms each",
            cost.transactions,
            cost.syncs,
            time.as_secs_f64() * 1_000.0 / 100.0
        );
        (cost, result)
    }
}

fn template() -> TemplateId {
    TemplateId::new("nf/upf:v1").expect("an id")
}

fn site() -> SiteId {
    SiteId::new("edge/1").expect("an id")
}

fn config(name: &str, text: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"text": text},
    })
}

fn new(number: usize) -> NewDeployment {
    let package = Package::from_values([config("own", &format!("number {number}"))]);
    let new = NewDeployment::new().template(template()).site(site());
    new.metadata(Metadata::from_iter([("number", number.to_string())]))
        .merge(package.expect("a package"))
}

/// Fills the caches of a process: each call once.
async fn warm(store: &Store<dyn Backend>) {
    let id = store.create_deployment(new(0)).await.expect("created");
    modify(store, &id, 0).await;
    store.delete(&Key::from(&id)).await.expect("deleted");
}

async fn modify(store: &Store<dyn Backend>, id: &DeploymentId, number: usize) {
    let modification = store.start_modification(id, Duration::from_mins(1)).await;
    let modification = modification.expect("started");
    end(store, &modification, number).await;
}

async fn end(store: &Store<dyn Backend>, started: &tko_core::Modification, number: usize) {
    let package = started.record.package.clone().expect("a package");
    let own = config("own", &format!("again {number}"));
    let own = Arc::new(tko_core::Resource::new(own).expect("a resource"));
    let ended = store.end_modification(&started.token, package.with(own));
    ended.await.expect("ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_alone_costs_few_transactions_and_syncs() {
    let world = World::new();
    let store = world.open().await;
    let package = Package::from_values([config("shared", "a"), config("own", "b")]);
    let registered = NewTemplate::new(template(), package.expect("a package"));
    store.register_template(registered).await.expect("valid");
    let registered = NewSite::new(site(), Package::default());
    store.register_site(registered).await.expect("valid");
    world.close(store).await;

    let create = world.cost("create", async |store| {
        let mut ids = Vec::new();
        for number in 0..CALLS {
            ids.push(store.create_deployment(new(number)).await.expect("created"));
        }
        ids
    });
    let (create, ids) = create.await;
    let get = world.cost("get", async |store| {
        for id in &ids {
            store
                .get(&Key::from(id), Want::PACKAGE)
                .await
                .expect("there");
        }
    });
    let (get, ()) = get.await;
    let store = world.open().await;
    let mut started = Vec::new();
    for id in &ids {
        let one = store.start_modification(id, Duration::from_hours(1)).await;
        started.push(one.expect("started"));
    }
    world.close(store).await;
    let end = world.cost("end of a modification", async |store| {
        for (number, started) in started.iter().enumerate() {
            end(store, started, number).await;
        }
    });
    let (end, ()) = end.await;
    let delete = world.cost("delete", async |store| {
        for id in &ids {
            store.delete(&Key::from(id)).await.expect("deleted");
        }
    });
    let (delete, ()) = delete.await;

    // One transaction is one round trip. A cache that was dropped may be filled now and then.
    assert!(get.transactions <= 1.1 && get.syncs <= 0.1, "{get:?}");
    for (name, cost) in [("create", create), ("end", end), ("delete", delete)] {
        assert!(
            cost.transactions <= 5.0 && cost.syncs <= 2.0,
            "{name}: {cost:?}"
        );
    }
}
