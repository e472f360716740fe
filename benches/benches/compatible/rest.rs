//! Deployments one after the other while nothing else is to do: how long each step takes at rest.

use crate::service::{Counters, Service};
use crate::table::Figures;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use tko_benches::{deployment, example, site};
use tko_core::{
    DataApi, Entity, Event, Key, Kind, NewDeployment, NewSite, NewTemplate, Package, Pattern,
    Result, Select, SiteId, TemplateId, Watch,
};
use tko_grpc::client::Client;
use tko_postgres_server::PostgresServer;

/// The limit of waiting for one step.
const PATIENCE: Duration = Duration::from_mins(1);

/// The steps of a deployment, in their order.
const STEPS: [&str; 4] = [
    "at rest: create",
    "at rest: from its creation until it is prepared",
    "at rest: approve",
    "at rest: from its approval until it is on its site",
];

/// Deploys `count`, each on its own site, by a `tko up`. Returns the times of each step; what the
/// database server counts is not told apart by step, and is left out.
pub(crate) async fn measure(
    server: &PostgresServer,
    tko: &Path,
    count: usize,
) -> Vec<(&'static str, Figures)> {
    let database = server.create_database().expect("a database");
    let manifests = tempfile::tempdir().expect("a folder");
    let service = Service::up(tko, &server.url(&database), manifests.path()).await;
    let client = service.client();
    let template = deployment(0).template.expect("it has one");
    let approval = json!({
        "apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment",
        "metadata": {"name": "deployment", "annotations": {"nephio.org/approve": "Manual"}},
    });
    let approval = Package::from_values([approval]).expect("a resource");
    let package = example("upf").with(approval.resources()[0].clone());
    let new = NewTemplate::new(template.clone(), package);
    client.register_template(new).await.expect("valid");
    for number in 0..count {
        let new = NewSite::new(site(number), Package::default());
        client.register_site(new).await.expect("valid");
    }
    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    for number in 0..count {
        let took = deploy(&client, template.clone(), site(number)).await;
        for (times, time) in times.iter_mut().zip(took) {
            times.push(time);
        }
    }
    service.stop(server, &database).await;
    server.drop_database(&database).expect("it goes");
    let figures = times.map(|times| Figures::of(times, Counters::default()));
    STEPS.into_iter().zip(figures).collect()
}

/// Deploys one. Returns the time of each step.
async fn deploy(client: &Client, template: TemplateId, site: SiteId) -> [Duration; STEPS.len()] {
    let head = client.feed_position().await.expect("the head");
    let mut events = client.watch(Watch::new(Select::all(Kind::Deployment), head.revision));
    let new = NewDeployment::new().template(template).site(site);
    let started = Instant::now();
    let key = Key::from(&client.create_deployment(new).await.expect("created"));
    let created = Instant::now();
    let is_prepared = |entity: &Entity| entity.deployment().is_some_and(|d| d.prepared);
    until(&mut events, &key, is_prepared).await;
    let prepared = Instant::now();
    let id = Pattern::id(key.id()).expect("a pattern");
    let select = Select::all(Kind::Deployment).id(id);
    let bulk = client.approve(&select).await.expect("approved");
    let approved = Instant::now();
    assert_eq!(bulk.done, 1, "{:?}", bulk.skipped);
    let is_placed = |entity: &Entity| entity.is_scheduled();
    until(&mut events, &key, is_placed).await;
    let placed = Instant::now();
    [
        created - started,
        prepared - created,
        approved - prepared,
        placed - approved,
    ]
}

/// Reads events until the entity is so.
async fn until(
    events: &mut (impl Stream<Item = Result<Event>> + Unpin),
    key: &Key,
    is: impl Fn(&Entity) -> bool,
) {
    let reached = async {
        loop {
            let event = events.next().await.expect("no end").expect("it goes on");
            if let Event::Put { record, .. } = event
                && record.entity.key == *key
                && is(&record.entity)
            {
                return;
            }
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("{key} is not so after {PATIENCE:?}"));
}
