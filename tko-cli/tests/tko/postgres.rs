//! Data in PostgreSQL are shared by several processes and survive each of them.

use crate::harness::core5g::{created, is_whole, registered, total};
use crate::harness::{Dice, Feed, Server, Service, tko};
use std::time::Duration;
use tko_postgres_server::shared;
use tko_scheduler::Manifests;

/// The number of edges besides the three control sites: 24, or `TKO_FLEET_EDGES`. The number of
/// deployments grows with it.
fn edges() -> usize {
    match std::env::var("TKO_FLEET_EDGES") {
        Ok(text) => text.parse().expect("TKO_FLEET_EDGES is a number"),
        Err(_) => 24,
    }
}

/// The URL of an empty database.
fn database() -> String {
    let server = shared();
    server.url(&server.create_database().expect("a database is made"))
}

fn data(url: &str) -> String {
    format!("data start --backend postgres --backend-connections 6 --backend-connection {url}")
}

/// A process of the fleet, which is restarted after it is killed.
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

/// Two data services, two preparers and two schedulers share a database. One after the other is
/// killed and restarted while a nation is prepared and placed.
#[tokio::test]
async fn every_process_of_a_fleet_is_killed_in_turn() {
    let url = database();
    let mut dice = Dice::new();
    let edges = edges();
    // Maximum number of processes to kill.
    let most = 15 + edges / 50;
    let manifests = tempfile::tempdir().expect("a folder");
    // A data service that is not killed, to observe the others.
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
        feed.until("further", |counts| {
            counts.changes >= point || is_done(counts.prepared)
        })
        .await;
        // Also kill at points that do not directly follow a change.
        tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
        let victim = usize::try_from(dice.below(fleet.len() as u64)).expect("few");
        let member = fleet.remove(victim);
        fleet.push(member.die_and_rise(&url).await);
        deaths += 1;
    }
    assert!(deaths >= 5, "only {deaths} were killed");
    feed.until("prepared", |counts| counts.prepared == whole - 1)
        .await;
    is_whole(&client, &national, edges).await;
    let counts = feed.until("scheduled", |counts| counts.placed == counts.wanted);
    let wanted = counts.await.wanted;
    assert!(wanted > edges, "{wanted} are wanted");
    // Every file of every site exists, and no other file.
    let files = Manifests::verify(&client, manifests.path()).await;
    let files = files.expect("all files are as expected");
    assert!(files > wanted, "{files} files of {wanted} deployments");
    eprintln!("{deaths} deaths, {wanted} deployments on their sites, {files} files");
    let check = format!("backend check --backend postgresql --backend-connection {url}");
    tko(&check).good().await;
}

#[tokio::test]
async fn processes_share_a_database() {
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
    // O17: nobody deletes the data under a live process.
    let clean = format!("{} --grpc-port 0 --backend-clean", data(&url));
    let refused = tko(&clean).bad(2).await;
    assert!(refused.contains("other processes use"), "{refused}");
    assert_eq!(again.tko(list).good().await.column("templateId"), ids);
    again.service.stop().await;
    let clean = Server::start(&format!("{} --backend-clean", data(&url))).await;
    let none = clean.tko(list).good().await.column("templateId");
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test]
async fn unusable_databases_are_clear_errors() {
    let server = shared();
    let check = |url: &str| {
        let timeout = "--backend-connection-timeout 1s";
        tko(&format!(
            "backend check {timeout} --backend postgresql --backend-connection {url}"
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
    assert!(said.contains("use a separate database"), "{said}");
    let poor = "CREATE ROLE poor LOGIN";
    let name = server.create_database().expect("a database");
    server.psql(&name, poor).expect("a role");
    let url = server.url(&name).replace("user=tko", "user=poor");
    let said = check(&url).bad(2).await;
    assert!(said.contains("may not create tables"), "{said}");
}

#[tokio::test]
async fn damage_is_found_and_repaired() {
    let server = shared();
    let name = server.create_database().expect("a database");
    let url = server.url(&name);
    let store = Server::start(&data(&url)).await;
    registered(&store, 4).await;
    let check = format!("backend check -o json --backend postgresql --backend-connection {url}");
    let healthy = tko(&check).good().await.json();
    assert_eq!(healthy["findings"].as_array().map(Vec::len), Some(0));
    for damage in [
        "DELETE FROM facet WHERE key = 'Site.role' AND id = 'india/north/control'",
        "INSERT INTO facet VALUES (1, 'ghost', 'boo', 'nobody')",
        "INSERT INTO work (stage, kind, id, lane, at, due) VALUES (1, 1, 'nobody', 0, now_us() + 3600000000, 0)",
        "INSERT INTO body VALUES (7, 0, NULL, '')",
        "UPDATE entity SET template = 'gone' WHERE kind = 1 AND id = 'india/south/control'",
    ] {
        server.psql(&name, damage).expect("the statement works");
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
    server.psql(&name, junk).expect("the statement works");
    let found = tko(&format!("{check} --repair")).run().await;
    assert_eq!(found.code(), Some(1), "{found}");
    assert!(found.stderr.contains("backup"), "{found}");
}
