//! One deployment after the other while nothing else is to do: how long a change takes at rest.

use super::backend::World;
use super::fleet::{function_package, register};
use super::report::Report;
use super::role::{Process, Role};
use futures_util::{Stream, StreamExt};
use serde_json::json;
use std::time::{Duration, Instant};
use tko_benches::progress;
use tko_benches::speed::Speed;
use tko_core::{
    DataApi, Entity, Event, Key, Kind, NewDeployment, NewSite, Package, Pattern, Result, Select,
    TemplateId, Watch,
};
use tko_grpc::client::{Client, ClientSettings};
use tko_postgres_server::PostgresServer;

/// The steps of a deployment, in their order.
const STEPS: [&str; 4] = [
    "at rest: create",
    "at rest: from its creation until it is prepared",
    "at rest: approve",
    "at rest: from its approval until it is on its site",
];

/// Measures each step of so many deployments, with one preparer and one scheduler.
pub(crate) async fn measure(
    server: &PostgresServer,
    sizes: &[usize],
    latency: Duration,
    report: &mut Report,
) {
    for &size in sizes {
        report.begin(size);
        let world = World::new(server).await;
        let data = Process::start(Role::Data, &world.url, latency, false).await;
        let client = Client::new(ClientSettings::new(&data.told)).expect("a client");
        let approval = json!({
            "apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment",
            "metadata": {"name": "deployment", "annotations": {"nephio.org/approve": "Manual"}},
        });
        let approval = Package::from_values([approval]).expect("a resource");
        let package = function_package().with(approval.resources()[0].clone());
        register(&client, "upf", package).await;
        let site = NewSite::new("edge".parse().expect("an id"), Package::default());
        client.register_site(site).await.expect("valid");
        let _workers = [
            Process::start(Role::Preparer, &data.told, latency, false).await,
            Process::start(Role::Scheduler, &data.told, latency, false).await,
        ];
        let bar = progress("deployments, one by one", size);
        let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
        for _ in 0..size {
            for (times, time) in times.iter_mut().zip(deploy(&client).await) {
                times.push(time);
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        for (step, times) in STEPS.into_iter().zip(times) {
            report.speed(step, &Speed::timed(times), None);
        }
    }
}

/// Deploys one, and takes it away again. Returns the time of each step.
async fn deploy(client: &Client) -> [Duration; STEPS.len()] {
    let head = client.feed_position().await.expect("the head");
    let mut events = client.watch(Watch::new(Select::all(Kind::Deployment), head.revision));
    let template: TemplateId = "upf".parse().expect("an id");
    let new = NewDeployment::new()
        .template(template)
        .site("edge".parse::<tko_core::SiteId>().expect("an id"));
    let started = Instant::now();
    let key = Key::from(&client.create_deployment(new).await.expect("created"));
    let created = Instant::now();
    let is_prepared = |entity: &Entity| entity.deployment().is_some_and(|d| d.prepared);
    until(&mut events, &key, is_prepared).await;
    let prepared = Instant::now();
    let id = Pattern::id(key.id()).expect("a pattern");
    let select = Select::all(Kind::Deployment).id(id);
    let approved = client.approve(&select);
    assert_eq!(approved.await.expect("approved").done, 1);
    let approved = Instant::now();
    let is_placed = |entity: &Entity| entity.deployment().is_some_and(|d| d.placed.is_some());
    until(&mut events, &key, is_placed).await;
    let placed = Instant::now();
    drop(events);
    remove(client, &key).await;
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
    loop {
        let event = events.next().await.expect("no end").expect("it goes on");
        if let Event::Put { record, .. } = event
            && record.entity.key == *key
            && is(&record.entity)
        {
            return;
        }
    }
}

/// Deletes a deployment and waits until it is off its site: each is deployed to an empty site.
async fn remove(client: &Client, key: &Key) {
    let head = client.feed_position().await.expect("the head");
    let mut all = Select::all(Kind::Deployment);
    all.deleting = true;
    let mut events = client.watch(Watch::new(all, head.revision));
    client.delete(key).await.expect("deleted");
    loop {
        match events.next().await.expect("no end").expect("it goes on") {
            Event::Gone { before, .. } if before.entity.key == *key => return,
            _ => {}
        }
    }
}
