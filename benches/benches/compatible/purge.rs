//! Purging deployments that are placed, each on a site of its own: from the call until the last one is
//! off its site and gone.

use crate::service::{Counters, Service};
use crate::table::Figures;
use std::path::Path;
use std::time::{Duration, Instant};
use tko_benches::{deployment, example, site};
use tko_core::{DataApi, Expect, Kind, List, NewTemplate, Select};
use tko_grpc::client::Client;
use tko_postgres_server::PostgresServer;

/// The limit of waiting for the scheduler.
const PATIENCE: Duration = Duration::from_mins(30);

/// Deployments that are created in one call.
const BATCH: usize = 500;

/// Measures a purge of `count` deployments. Times are those of one deployment.
pub(crate) async fn measure(server: &PostgresServer, tko: &Path, count: usize) -> Figures {
    let database = server.create_database().expect("a database");
    let manifests = tempfile::tempdir().expect("a folder");
    let url = server.url(&database);
    let service = Service::up(tko, &url, manifests.path()).await;
    let client = service.client();
    place(&client, count).await;
    until(&client, "placed", |placed, _| placed == count).await;
    service.stop(server, &database).await;
    let start = Counters::read(server, &database);
    let service = Service::up(tko, &url, manifests.path()).await;
    let client = service.client();
    let begun = Instant::now();
    let select = Select::all(Kind::Deployment);
    let purged = client.purge(&select).await.expect("it goes on");
    assert!(purged.skipped.is_empty(), "{:?}", purged.skipped);
    until(&client, "gone", |_, there| there == 0).await;
    let took = begun.elapsed();
    service.stop(server, &database).await;
    let end = Counters::read(server, &database);
    server.drop_database(&database).expect("it goes");
    let each = took / u32::try_from(count).expect("small");
    Figures::of(vec![each; count], end - start)
}

/// Creates sites, and a prepared and approved deployment for each.
async fn place(client: &Client, count: usize) {
    let template = deployment(0).template.expect("it has one");
    let new = NewTemplate::new(template.clone(), example("upf")).expect(Expect::Absent);
    client.register_template(new).await.expect("valid");
    for number in 0..count {
        let new = tko_core::NewSite::new(site(number), tko_core::Package::default());
        client.register_site(new).await.expect("valid");
    }
    for start in (0..count).step_by(BATCH) {
        let new = |number: usize| {
            deployment(number)
                .template(template.clone())
                .site(site(number))
                .prepared(true)
                .approved(true)
        };
        let all = (start..count.min(start + BATCH)).map(new).collect();
        for created in client.create_deployments(all).await {
            created.expect("valid");
        }
    }
}

/// Waits for a state: how many deployments are placed, and how many are there, those that are being
/// deleted included.
async fn until(client: &Client, what: &str, is: impl Fn(usize, usize) -> bool) {
    let start = Instant::now();
    loop {
        let (mut placed, mut there) = (0, 0);
        let mut list = List::new(Select::all(Kind::Deployment).deleting(true)).limit(1_000);
        loop {
            let page = client.list(&list).await.expect("listed");
            there += page.items.len();
            let deployments = page.items.iter().filter_map(|r| r.entity.deployment());
            placed += deployments.filter(|one| one.placed.is_some()).count();
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        if is(placed, there) {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{there} there, {placed} placed, not {what}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
