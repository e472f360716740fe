//! A whole fleet: a data server, preparers and schedulers, each a process, deploy one topology to
//! as many sites as it has deployments.

use super::backend::World;
use super::profile;
use super::report::{Bar, Moment, Report};
use super::role::{Process, Role, prepared_by_plugin};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tko_benches::example;
use tko_benches::progress;
use tko_benches::speed::Speed;
use tko_core::{
    DataApi, Event, Expect, Key, Kind, Metadata, NewDeployment, NewSite, NewTemplate, Package,
    Pattern, Select, TemplateId, Watch,
};
use tko_grpc::client::{Client, ClientSettings};
use tko_postgres_server::PostgresServer;

/// The job's name in the report.
const JOB: &str = "fleet: prepared and scheduled";

/// The job of purging all of them from their sites.
const PURGE: &str = "fleet: purged from their sites";

/// Time between two points of the plot.
const MOMENT: Duration = Duration::from_millis(500);

/// How a fleet is measured.
pub(crate) struct Fleet {
    /// Number of preparers, and of schedulers.
    pub(crate) workers: usize,
    /// Time that a simulated plugin takes.
    pub(crate) latency: Duration,
    /// Whether to print where the time goes.
    pub(crate) profile: bool,
}

impl Fleet {
    /// Measures one size after the other, each in a separate database.
    pub(crate) async fn measure(
        &self,
        server: &PostgresServer,
        sizes: &[usize],
        report: &mut Report,
    ) {
        let mut least = None;
        for &size in sizes {
            report.begin(size);
            let world = World::new(server).await;
            let data = Process::start(Role::Data, &world.url, self.latency, self.profile).await;
            let client = Client::new(ClientSettings::new(&data.told)).expect("a client");
            let top = registered(&client, size).await;
            let started = self.profile(&world).await;
            let mut workers = Vec::new();
            for _ in 0..self.workers {
                for role in [Role::Preparer, Role::Scheduler] {
                    workers.push(Process::start(role, &data.told, self.latency, false).await);
                }
            }
            let (took, moments) = run(&client, top, size).await;
            if let Some(started) = started {
                println!("{}", started.table(&world, size).await);
            }
            let started = self.profile(&world).await;
            let purged = purge(&client, size).await;
            if let Some(started) = started {
                println!("\nPurged:\n{}", started.table(&world, size).await);
            }
            report.speed(JOB, &Speed::of(size, took), None);
            report.speed(PURGE, &Speed::of(size, purged), None);
            report.growth(JOB, 0.8);
            report.moments(moments);
            let buffers = buffers_of_claims(&world).await;
            let bar = least.map(|least| Bar::most("of the smallest fleet's", least, 1.5));
            report.number("fleet: buffers of a claim, each", buffers, bar);
            least = least.or(Some(buffers));
            drop(workers);
            if self.profile {
                println!("{}", profile::calls(&data.end().await));
            }
        }
    }

    /// The counts of the server as they are now, if they are asked for.
    async fn profile(&self, world: &World) -> Option<profile::ProfileStart> {
        if self.profile {
            Some(profile::start(world).await)
        } else {
            None
        }
    }
}

/// Registers sites and the template of a topology that places a deployment on each.
async fn registered(client: &Client, size: usize) -> NewDeployment {
    let bar = &progress("sites registered", size);
    stream::iter(0..size)
        .map(|number| async move {
            let site = NewSite::new(
                format!("edge/{number:07}").parse().expect("an id"),
                Package::default(),
            )
            .metadata(Metadata::from_iter([("Site.fleet", "all")]))
            .expect(Expect::Absent);
            bar.inc(1);
            client.register_site(site).await
        })
        .buffer_unordered(64)
        .try_for_each(async |_| Ok(()))
        .await
        .expect("registered");
    bar.finish_and_clear();
    let api = "topology.nephio.org/v1alpha1";
    let topology = Package::from_values([
        json!({"apiVersion": api, "kind": "Template", "metadata": {"name": "upf"},
            "spec": {"templateId": "upf"}}),
        json!({"apiVersion": api, "kind": "Sites", "metadata": {"name": "all"},
            "spec": {"select": {"metadata": {"Site.fleet": "all"}}}}),
        json!({"apiVersion": api, "kind": "Placement", "metadata": {"name": "everywhere"},
            "spec": {"templates": [{"template": "upf", "sites": ["all"]}]}}),
    ]);
    register(client, "upf", function_package()).await;
    register(client, "topology", topology.expect("resources")).await;
    let topology: TemplateId = "topology".parse().expect("an id");
    NewDeployment::new().template(topology)
}

/// The package of a network function, with a resource that a plugin prepares.
fn function_package() -> Package {
    let gvk = prepared_by_plugin();
    let by_plugin = json!({
        "apiVersion": gvk.api_version(), "kind": &*gvk.kind, "metadata": {"name": "it"},
    });
    let by_plugin = Package::from_values([by_plugin]).expect("a resource");
    example("upf").with(by_plugin.resources()[0].clone())
}

/// Registers a template.
async fn register(client: &Client, id: &str, package: Package) {
    let new = NewTemplate::new(id.parse().expect("an id"), package);
    client.register_template(new).await.expect("valid");
}

/// Measures from the creation of the topology until every deployment is on its site.
async fn run(client: &Client, top: NewDeployment, size: usize) -> (Duration, Vec<Moment>) {
    let head = client.feed_position().await.expect("the head");
    let mut events = client.watch(Watch::new(Select::all(Kind::Deployment), head.revision));
    let bar: ProgressBar = progress("deployments on their sites", size);
    let start = Instant::now();
    let top = Key::from(&client.create_deployment(top).await.expect("created"));
    let (mut prepared, mut placed) = (HashSet::new(), HashSet::new());
    let mut moments: Vec<Moment> = Vec::new();
    while placed.len() < size {
        let event = events.next().await.expect("no end").expect("it goes on");
        if let Event::Put { record, .. } = event
            && record.entity.key != top
            && let Some(deployment) = record.entity.deployment()
        {
            if deployment.prepared {
                prepared.insert(record.entity.key.clone());
            }
            if record.entity.is_scheduled() && placed.insert(record.entity.key.clone()) {
                bar.inc(1);
            }
        }
        let at = start.elapsed();
        if moments.last().is_none_or(|last| at > last.at + MOMENT) {
            moments.push(Moment {
                at,
                prepared: prepared.len(),
                placed: placed.len(),
            });
        }
    }
    let took = start.elapsed();
    moments.push(Moment {
        at: took,
        prepared: prepared.len(),
        placed: placed.len(),
    });
    bar.finish_and_clear();
    (took, moments)
}

/// Measures from the call that purges all deployments on sites until every one is off its site and
/// gone.
async fn purge(client: &Client, size: usize) -> Duration {
    let head = client.feed_position().await.expect("the head");
    // Those that are being deleted are still there.
    let mut all = Select::all(Kind::Deployment);
    all.deleting = true;
    let mut events = client.watch(Watch::new(all, head.revision));
    let bar: ProgressBar = progress("deployments purged", size);
    let start = Instant::now();
    let mut select = Select::all(Kind::Deployment);
    select.template_ids = vec![Pattern::id("upf").expect("a pattern")];
    let mut gone = 0;
    let purged = async {
        let purged = client.purge(&select).await.expect("it goes on");
        assert!(purged.skipped.is_empty(), "{:?}", purged.skipped);
    };
    let watched = async {
        while gone < size {
            let event = events.next().await.expect("no end").expect("it goes on");
            if let Event::Gone { .. } = event {
                gone += 1;
                bar.inc(1);
            }
        }
    };
    tokio::join!(purged, watched);
    bar.finish_and_clear();
    start.elapsed()
}

/// Pages of the server's memory that a claim touches for each item. Work that is not due must not
/// increase them.
async fn buffers_of_claims(world: &World) -> f64 {
    sqlx::query_scalar(
        "SELECT sum(shared_blks_hit + shared_blks_read)::float8 / greatest(sum(rows), 1)::float8 \
         FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
         WHERE d.datname = current_database() AND query LIKE '%FOR UPDATE SKIP LOCKED%'",
    )
    .fetch_one(&world.pool)
    .await
    .expect("claims were counted")
}
