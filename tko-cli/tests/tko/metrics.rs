//! Metrics as Prometheus reads them.

use crate::harness::{Server, Service, TIME, example, plugin, tko};
use std::time::Duration;
use tko_core::entity::SCHEDULED;
use tko_core::{DeploymentId, Entity};
use tko_postgres_server::shared;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The address at which metrics are served.
pub(crate) async fn address(service: &Service) -> String {
    let serving = service.event("serving metrics").await;
    serving["address"].as_str().expect("a text").to_owned()
}

/// The whole response to a request.
pub(crate) async fn asked(address: &str, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        // The server may answer and close the connection before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("text")
    };
    let answer = tokio::time::timeout(TIME, exchange).await;
    answer.expect("an answer in time")
}

pub(crate) async fn scraped(address: &str) -> String {
    let answer = asked(address, "GET /metrics HTTP/1.1\r\nhost: tko\r\n\r\n").await;
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.lines().any(|line| line == kind), "{head}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.to_owned()
}

#[tokio::test]
async fn a_data_service_in_memory_exports_its_version_only() {
    let server = Server::start("data start --metrics 127.0.0.1:0").await;
    let address = address(&server.service).await;
    let text = scraped(&address).await;
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("tko_build_info{{version=\"{version}\",backend=\"memory\"}} 1");
    assert!(text.lines().any(|line| line == info), "{text}");
    assert!(!text.contains("postgres"), "{text}");
    for request in [
        "GET / HTTP/1.1\r\nhost: tko\r\n\r\n",
        "GET /metrics/ HTTP/1.1\r\nhost: tko\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nhost: tko\r\ncontent-length: 0\r\n\r\n",
    ] {
        let answer = asked(&address, request).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 Not Found\r\n"),
            "{request}: {answer}"
        );
    }
    let large = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let answer = asked(&address, &large).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    // A silent connection does not keep others from being served, nor the server from stopping.
    let _silent = TcpStream::connect(&address).await.expect("a connection");
    scraped(&address).await;
    server.service.stop().await;
    let refused = TcpStream::connect(&address).await;
    refused.expect_err("nobody listens any more");
}

#[tokio::test]
async fn postgresql_statements_are_counted() {
    let database = shared().create_database().expect("a database");
    let url = shared().url(&database);
    let up = "up --backend postgresql --backend-connections 7 --metrics 127.0.0.1:0";
    let server = Server::start(&format!("{up} --backend-connection {url}")).await;
    let address = address(&server.service).await;
    server.tko("site register edge/1").good().await;
    let counted = async {
        loop {
            let text = scraped(&address).await;
            let revision = |line: &str| line.strip_prefix("tko_postgres_revision ")?.parse().ok();
            let revision: Option<u64> = text.lines().find_map(revision);
            // The metric shows the change a moment later.
            if revision > Some(0) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let text = tokio::time::timeout(TIME, counted).await;
    let text = text.expect("the revision is seen");
    for line in [
        "tko_postgres_statement_seconds_count{statement=\"commit\"} ",
        "tko_postgres_statement_seconds_bucket{le=\"0.0001\",statement=\"claim\"} ",
        "tko_postgres_failed_statements_total{statement=\"commit\",failure=\"broken\"} 0",
        "tko_postgres_connections_max 7",
        "tko_postgres_pending_changes ",
    ] {
        assert!(
            text.lines().any(|shown| shown.starts_with(line)),
            "{line}: {text}"
        );
    }
    let info = "backend=\"postgresql\"} 1";
    assert!(text.contains(info), "{text}");
    server.service.stop().await;
}

#[tokio::test]
async fn results_of_functions_are_counted_unless_they_are_off() {
    for (flags, is_used) in [("", true), ("--preparer-cache 0", false)] {
        let up = format!("up --backend memory --metrics 127.0.0.1:0 {flags}");
        let server = Server::start(&up).await;
        let address = address(&server.service).await;
        let register = server.tko("template register gateway --url");
        register.arg(example("kpt/gateway")).good().await;
        for _ in 0..2 {
            let created = server.tko("deployment create gateway").good().await;
            server
                .tko("deployment wait")
                .arg(created.line())
                .good()
                .await;
        }
        let text = scraped(&address).await;
        let count = |name: &str| -> u64 {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
            let count = lines.next().expect("it is exported");
            count.trim().parse().expect("a number")
        };
        let (hits, results) = (
            count("tko_preparer_results_hits_total "),
            count("tko_preparer_results "),
        );
        assert_eq!((hits > 0, results > 0), (is_used, is_used), "{text}");
        server.service.stop().await;
    }
}

/// A preparer and a scheduler in processes of their own count the calls that only they make.
#[tokio::test]
async fn controllers_alone_count_the_calls_of_their_plugins() {
    let server = Server::data().await;
    let start = |what: &str| {
        let flags = server.flags();
        Service::start(&format!("{what} start {flags} --metrics 127.0.0.1:0"))
    };
    let (preparer, scheduler) = (start("preparer"), start("scheduler"));
    let (prepared, scheduled) = (address(&preparer).await, address(&scheduler).await);
    let register = "plugin register prepare good -e worker -g example.org,v1,Good";
    server
        .tko(register)
        .arg(plugin("worker.py"))
        .arg("prepare")
        .good()
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let register = "plugin register schedule folders -g infra.nephio.org,v1alpha1,WorkloadCluster";
    server
        .tko(register)
        .arg(example("plugins/schedule_site.py"))
        .arg(folder.path())
        .good()
        .await;
    let cluster = "apiVersion: infra.nephio.org/v1alpha1\nkind: WorkloadCluster\n\
                   metadata: {name: c}\nspec: {clusterName: c}\n";
    let site = server.tko("site register lab/1 --stdin");
    site.stdin(cluster).good().await;
    let package = "apiVersion: example.org/v1\nkind: Good\nmetadata: {name: it}\n";
    let create = server.tko("deployment create --site lab/1 --stdin");
    let created = create.stdin(package).good().await;
    let id: DeploymentId = created.line().parse().expect("an id");
    let is_scheduled = |entity: &Entity| {
        let condition = entity.condition(SCHEDULED);
        condition.is_some_and(|condition| condition.status == Some(true))
    };
    server.until(&id.into(), "on its site", is_scheduled).await;
    let build = format!(
        "tko_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    for (address, called, other) in [
        (&prepared, "prepare|good", "schedule|folders"),
        (&scheduled, "schedule|folders", "prepare|good"),
    ] {
        let text = scraped(address).await;
        assert!(text.lines().any(|line| line == build), "{text}");
        let calls = format!("tko_plugin_call_seconds_count{{plugin=\"{called}\"}} ");
        let calls = text.lines().find_map(|line| line.strip_prefix(&calls));
        let calls = calls.and_then(|count| count.parse::<u64>().ok());
        assert!(calls.is_some_and(|count| count > 0), "{called}: {text}");
        assert!(!text.contains(other), "{text}");
    }
    // Preparers keep results of functions, and schedulers do not.
    let results = "tko_preparer_results_bytes ";
    assert!(scraped(&prepared).await.contains(results), "no results");
    assert!(!scraped(&scheduled).await.contains(results), "results");
    for service in [preparer, scheduler, server.service] {
        service.stop().await;
    }
}

#[tokio::test]
async fn metrics_on_the_network_require_insecure() {
    for command in [
        "data start --grpc-port 0",
        "up --grpc-port 0",
        "preparer start",
        "scheduler start",
        "catalog start",
    ] {
        let open = format!("{command} --metrics 0.0.0.0:0");
        let refused = tko(&open).bad(2).await;
        assert!(
            refused.contains("0.0.0.0:0 is open") && refused.contains("--insecure"),
            "{refused}"
        );
    }
    let server = Server::start("data start --metrics 0.0.0.0:0 --insecure").await;
    let address = address(&server.service).await;
    let port = address.rsplit_once(':').expect("a port").1;
    scraped(&format!("127.0.0.1:{port}")).await;
    assert!(
        server.service.log().contains(r#""level":"WARN""#),
        "there is no warning"
    );
    server.service.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_advice() {
    let server = Server::start("data start --metrics 127.0.0.1:0").await;
    let address = address(&server.service).await;
    for command in ["data start", "up"] {
        let taken = format!("{command} --grpc-port 0 --metrics {address}");
        let error = tko(&taken).bad(2).await;
        assert!(
            error.contains(&address) && error.contains("another port"),
            "{error}"
        );
    }
}
