//! Listings from a replica of the database, and the revision that the command prints.

use crate::harness::{Server, tko};
use tko_postgres_server::PostgresServer as Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_listing_prints_its_revision() {
    let primary = Postgres::start(tko_postgres_server::PostgresServerSettings::default());
    let primary = primary.expect("a server");
    let standby = primary.standby().expect("a server");
    let database = primary.create_database().expect("a database");
    let (url, replica) = (primary.url(&database), standby.url(&database));
    tko(&format!(
        "backend check --backend postgresql --backend-connection {url}"
    ))
    .good()
    .await;
    standby.catch_up(&primary).expect("the standby catches up");
    let server = format!(
        "data start --backend postgresql --backend-connection {url} --backend-replica {replica}"
    );
    let server = Server::start(&server).await;
    server.tko("template register one").good().await;
    standby.catch_up(&primary).expect("the standby catches up");
    standby.pause_replay().expect("replay pauses");
    server.tko("template register two").good().await;
    server.tko("deployment create one").good().await;

    let latest = server.tko("template list -o json").good().await;
    assert_eq!(latest.column("templateId"), ["one", "two"]);
    assert_eq!(latest.stderr, "");
    let list = "template list --allow-stale -o json";
    let older = server.tko(list).good().await;
    assert_eq!(older.column("templateId"), ["one"]);
    assert_eq!(older.json()[0].get("deploymentIds"), None, "it is empty");
    assert_eq!(older.stderr, "shows revision 1; the latest is 3\n");

    standby.resume_replay().expect("replay resumes");
    standby.catch_up(&primary).expect("the standby catches up");
    let caught_up = server.tko(list).good().await;
    assert_eq!(caught_up.column("templateId"), ["one", "two"]);
    assert_eq!(caught_up.stderr, "shows revision 3, the latest\n");
    let deployments = "deployment list --allow-stale -o json";
    let deployments = server.tko(deployments).good().await;
    assert_eq!(deployments.column("templateId"), ["one"]);
    server.service.stop().await;
}

#[tokio::test]
async fn the_memory_backend_has_no_replicas() {
    let error = tko("data start --backend-replica postgresql://host/database")
        .bad(2)
        .await;
    assert!(error.contains("--backend postgresql"), "{error}");
    let server = Server::data().await;
    server.tko("template register one").good().await;
    let list = server.tko("template list --allow-stale").good().await;
    assert_eq!(list.stderr, "shows revision 1, the latest\n");
}
