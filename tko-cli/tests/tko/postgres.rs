//! Data in PostgreSQL: shared by several processes, there after each of them has died.

use crate::harness::core5g::{created, is_whole, registered, total};
use crate::harness::{Dice, Feed, Server, Service, tko};
use std::time::Duration;
use tko_postgres_server::shared;
use tko_scheduler::Manifests;

/// Edges, beside the three control sites: 24, or what `TKO_FLEET_EDGES` says. So many more than
/// that become deployments.
fn edges() -> usize {
    match std::env::var("TKO_FLEET_EDGES") {
        Ok(text) => text.parse().expect("TKO_FLEET_EDGES is a number"),
        Err(_) => 24,
    }
}

/// An empty database: its URL.
fn database() -> String {
    let server = shared();
    server.url(&server.create_database().expect("a database is made"))
}

fn data(url: &str) -> String {
    format!("data start --backend postgres --backend-connections 6 --backend-connection {url}")
}

/// A process of the fleet, and how another takes its place.
enum Member {
    Data(Server),
    Controller(Service, String),
}

impl Member {
    fn controller(arguments: String) -> Self {
        Self::Controller(Service::start(&arguments), arguments)
    }

    async fn die_and_rise(self, url: &str) -> Self {
        match self {
            Self::Data(server) => {
                let port = server.port;
                server.service.kill().await;
                Self::Data(Server::on(&data(url), port).await)
            }
            Self::Controller(service, arguments) => {
                service.kill().await;
                Self::controller(arguments)
            }
        }
    }
}

/// Two data services, two preparers and two schedulers on one database; one after the other is
/// killed and started again while a nation is taken apart and put onto its sites.
#[tokio::test]
async fn a_whole_fleet_dies_in_turn() {
    let url = database();
    let mut dice = Dice::new();
    let edges = edges();
    // Processes that are killed, at most.
    let most = 15 + edges / 50;
    let manifests = tempfile::tempdir().expect("a folder");
    // One that lives, to look at it all.
    let observer = Server::start(&data(&url)).await;
    registered(&observer, edges).await;
    let client = observer.client();
    let (national, whole) = (created(&observer).await, total(edges));
    let feed = Feed::of(&client);
    let mut fleet = Vec::new();
    for _ in 0..2 {
        let server = Server::start(&data(&url)).await;
        let (flags, folder) = (server.flags(), manifests.path().display());
        let lease = "--lease 1s";
        fleet.push(Member::controller(format!(
            "preparer start {flags} {lease} --preparer-workers 4 --auto-approve"
        )));
        fleet.push(Member::controller(format!(
            "scheduler start {flags} {lease} --manifests {folder}"
        )));
        fleet.push(Member::Data(server));
    }
    let mut deaths = 0;
    let is_done = |done: usize| done >= whole - 1;
    while deaths < most && !is_done(feed.now().prepared) {
        let point = feed.now().changes + 1 + dice.below(whole.min(2_000) as u64 / 4);
        feed.until("further", |told| {
            told.changes >= point || is_done(told.prepared)
        })
        .await;
        // And not always right after a change.
        tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
        let victim = usize::try_from(dice.below(fleet.len() as u64)).expect("few");
        let member = fleet.remove(victim);
        fleet.push(member.die_and_rise(&url).await);
        deaths += 1;
    }
    assert!(deaths >= 5, "only {deaths} were killed");
    feed.until("prepared", |told| told.prepared == whole - 1)
        .await;
    is_whole(&client, &national, edges).await;
    let told = feed.until("scheduled", |told| told.placed == told.wanted);
    let wanted = told.await.wanted;
    assert!(wanted > edges, "{wanted} are wanted");
    // Every file of every site, and nothing else.
    let files = Manifests::verify(&client, manifests.path()).await;
    let files = files.expect("all is as it should be");
    assert!(files > wanted, "{files} files of {wanted} deployments");
    eprintln!("{deaths} deaths, {wanted} deployments on their sites, {files} files");
    let check = format!("backend check --backend-connection {url}");
    tko(&check).good().await;
}

#[tokio::test]
async fn what_one_process_stores_another_has() {
    let url = database();
    let one = Server::start(&data(&url)).await;
    let other = Server::start(&data(&url)).await;
    registered(&one, 1).await;
    let list = "template list -o json";
    let ids = other.tko(list).good().await.column("templateId");
    assert_eq!(ids.len(), 7, "{ids:?}");
    one.service.kill().await;
    other.service.stop().await;
    let again = Server::start(&data(&url)).await;
    assert_eq!(again.tko(list).good().await.column("templateId"), ids);
    again.service.stop().await;
    let clean = Server::start(&format!("{} --backend-clean", data(&url))).await;
    let none = clean.tko(list).good().await.column("templateId");
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test]
async fn what_cannot_be_used_is_said() {
    let server = shared();
    let check = |url: &str| {
        let timeout = "--backend-connection-timeout 1s";
        tko(&format!(
            "backend check {timeout} --backend-connection {url}"
        ))
    };
    let said = check(&server.url("nowhere")).bad(2).await;
    assert!(
        said.contains("nowhere") && said.contains("createdb"),
        "{said}"
    );
    let said = check("postgresql://localhost:1/tko").bad(5).await;
    assert!(
        said.contains("localhost:1") && said.contains("within 1 s"),
        "{said}"
    );
    let said = check("http://localhost/tko").bad(2).await;
    assert!(said.contains("postgresql://user@host/database"), "{said}");
    let taken = server.create_database().expect("a database");
    let table = "CREATE TABLE entity (name text)";
    server.psql(&taken, table).expect("a table");
    let said = check(&server.url(&taken)).bad(2).await;
    assert!(said.contains("a database of its own"), "{said}");
    let poor = "CREATE ROLE poor LOGIN";
    let name = server.create_database().expect("a database");
    server.psql(&name, poor).expect("a role");
    let url = server.url(&name).replace("user=tko", "user=poor");
    let said = check(&url).bad(2).await;
    assert!(said.contains("may not create tables"), "{said}");
}

#[tokio::test]
async fn damage_is_found_and_mended() {
    let server = shared();
    let name = server.create_database().expect("a database");
    let url = server.url(&name);
    let store = Server::start(&data(&url)).await;
    registered(&store, 4).await;
    let check = format!("backend check -o json --backend-connection {url}");
    let healthy = tko(&check).good().await.json();
    assert_eq!(healthy["findings"].as_array().map(Vec::len), Some(0));
    for damage in [
        "DELETE FROM facet WHERE key = 'Site.role' AND id = 'india/north/control'",
        "INSERT INTO facet VALUES (1, 'ghost', 'boo', 'nobody')",
        "INSERT INTO work (stage, kind, id, lane, at, due) VALUES (1, 1, 'nobody', 0, now_us() + 3600000000, 0)",
        "INSERT INTO body VALUES (7, 0, NULL, '')",
        "UPDATE entity SET template = 'gone' WHERE kind = 1 AND id = 'india/south/control'",
    ] {
        server.psql(&name, damage).expect("it is done");
    }
    let found = tko(&check).run().await;
    assert_eq!(found.code(), Some(1), "{found}");
    let text = found.text();
    for named in [
        "india/north/control",
        "ghost",
        "site nobody",
        "body 7",
        "template gone",
    ] {
        assert!(text.contains(named), "no {named} in {text}");
    }
    tko(&format!("{check} --repair")).good().await;
    tko(&check).good().await;
    let junk = "UPDATE body SET data = '\\x0400000001020304' WHERE at = \
         (SELECT body_at FROM entity WHERE kind = 0 ORDER BY id LIMIT 1)";
    server.psql(&name, junk).expect("it is done");
    let found = tko(&format!("{check} --repair")).run().await;
    assert_eq!(found.code(), Some(1), "{found}");
    assert!(found.stderr.contains("backup"), "{found}");
}
