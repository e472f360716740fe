//! Purging deployments that are placed, each on its own site: from the call until the last one is
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

/// The interval of looks.
const POLL: Duration = Duration::from_millis(100);

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
    until_placed(&client, count).await;
    until_no_lease(server, &database).await;
    service.stop(server, &database).await;
    let start = Counters::read(server, &database);
    let service = Service::up(tko, &url, manifests.path()).await;
    let client = service.client();
    let begun = Instant::now();
    let select = Select::all(Kind::Deployment);
    let purged = client.purge(&select).await.expect("it goes on");
    assert!(purged.skipped.is_empty(), "{:?}", purged.skipped);
    until_gone(server, &database, count).await;
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

/// Waits until all deployments are placed.
async fn until_placed(client: &Client, count: usize) {
    let start = Instant::now();
    loop {
        let mut placed = 0;
        let mut list = List::new(Select::all(Kind::Deployment)).limit(1_000);
        loop {
            let page = client.list(&list).await.expect("listed");
            let deployments = page.items.iter().filter_map(|r| r.entity.deployment());
            placed += deployments.filter(|one| one.placed.is_some()).count();
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        if placed == count {
            return;
        }
        let (took, all) = (start.elapsed(), count);
        assert!(took < PATIENCE, "{placed} of {all} are placed");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until no work is leased. A deployment is recorded as placed before the work on its site
/// ends. The leases of a killed process would hold up the purge until they expire.
async fn until_no_lease(server: &PostgresServer, database: &str) {
    let start = Instant::now();
    let leased = "SELECT count(*) FROM work WHERE token IS NOT NULL";
    while server.psql(database, leased).expect("it runs").trim() != "0" {
        assert!(start.elapsed() < PATIENCE, "work is leased");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until only the sites and their template are left. It looks into the database, because the
/// first versions do not list what is being deleted.
async fn until_gone(server: &PostgresServer, database: &str, sites: usize) {
    let start = Instant::now();
    loop {
        let rows = server.psql(database, "SELECT count(*) FROM entity");
        let rows = rows.expect("it runs");
        let rows: usize = rows.trim().parse().expect("a number");
        if rows == sites + 1 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{rows} entities are left");
        tokio::time::sleep(POLL).await;
    }
}
