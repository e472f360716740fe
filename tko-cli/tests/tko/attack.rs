//! Attacks on a running server: what another client notices of them, and what is left afterwards.

use crate::harness::Server;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tko_core::{
    DataApi, Deployment, Key, Metadata, NewDeployment, NewSite, NewTemplate, Package, SiteId,
    TemplateId, Want,
};
use tko_grpc::proto;
use tko_grpc::proto::data_client::DataClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// How long each attack lasts, and the measurement without one.
const LONG: Duration = Duration::from_secs(15);

/// How much memory may stay in use after an attack.
const MOST_LEFT: u64 = 100 << 20;

type Attack = fn(u16, CancellationToken) -> BoxFuture<'static, ()>;

const ATTACKS: [(&str, Attack); 9] = [
    ("S1  34 MiB of metadata", |port, stop| {
        Box::pin(metadata(port, stop))
    }),
    ("S3  800 connections without a request", |port, stop| {
        Box::pin(silence(port, stop))
    }),
    ("S5  60 unfinished messages of 63 MiB", |port, stop| {
        Box::pin(unfinished(port, stop, 1, 60, 63 << 20))
    }),
    ("S6  900 heads that claim 64 MiB", |port, stop| {
        Box::pin(unfinished(port, stop, 9, 100, 0))
    }),
    ("S7  merge keys, 23 KB", |port, stop| {
        Box::pin(packages(port, stop, merge_keys()))
    }),
    ("S7  a million empty lists", |port, stop| {
        Box::pin(packages(port, stop, empty_lists()))
    }),
    ("S7  60,000 tiny resources", |port, stop| {
        Box::pin(packages(port, stop, tiny_resources()))
    }),
    ("S8  deadlines of 50 ms", |port, stop| {
        Box::pin(deadlines(port, stop))
    }),
    ("S15 200,000 metadata keys", |port, stop| {
        Box::pin(keys(port, stop))
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; the recipe `attack` of .ci/long runs it"]
async fn other_clients_are_served_under_every_attack() {
    let mut server = Server::start("up").await;
    let client = server.client();
    let package = Package::from_values([serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
    })]);
    let template = TemplateId::new("served").expect("an id");
    let new = NewTemplate::new(template.clone(), package.expect("a package"));
    client.register_template(new).await.expect("valid");

    // Without an attack, before each one: the machine is not equally fast all the time.
    let mut faults = String::new();
    println!(
        "{:42} {:>9} {:>9} {:>6} {:>9}",
        "attack", "p99", "under it", "ratio", "MB left"
    );
    for (name, attack) in ATTACKS {
        let alone = p99(&server, &template, LONG).await;
        let before = memory(&server);
        let stop = CancellationToken::new();
        let attackers = tokio::spawn(attack(server.port, stop.clone()));
        let attacked = p99(&server, &template, LONG).await;
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(90), attackers).await;
        ended.expect("the attack ends").expect("no panic");
        let left = memory_left(&server, before).await;
        let ratio = attacked.as_secs_f64() / alone.as_secs_f64();
        println!(
            "{name:42} {:>6.1} ms {:>6.1} ms {ratio:>6.1} {:>9}",
            alone.as_secs_f64() * 1e3,
            attacked.as_secs_f64() * 1e3,
            left >> 20
        );
        if ratio > 5.0 {
            let _ = writeln!(faults, "{name}: p99 is {ratio:.1} times as long");
        }
        if left > MOST_LEFT {
            let _ = writeln!(faults, "{name}: {} MB are left", left >> 20);
        }
        // The controllers go on.
        let id = client.create_deployment(NewDeployment::new().template(template.clone()));
        let key = Key::from(id.await.expect("valid"));
        let is_prepared = |deployment: &Deployment| deployment.prepared;
        let prepared = server.until(&key, "prepared", |entity| {
            entity.deployment().is_some_and(is_prepared)
        });
        prepared.await;
    }
    server.service.signal(rustix::process::Signal::TERM);
    let ended = server.service.ended().await;
    assert!(ended.success(), "{ended}");
    assert!(faults.is_empty(), "{faults}");
}

/// The duration that 99 of 100 requests of a client do not exceed: reads, and one creation in ten.
async fn p99(server: &Server, template: &TemplateId, time: Duration) -> Duration {
    let client = server.client();
    let key = Key::from(template);
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        if took.len() % 10 == 9 {
            let new = NewDeployment::new().template(template.clone());
            client.create_deployment(new).await.expect("valid");
        } else {
            client.get(&key, Want::ROW).await.expect("it exists");
        }
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// The resident memory of the server, in bytes.
fn memory(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.service.id());
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes
        .and_then(|text| text.parse::<u64>().ok())
        .expect("a number")
        << 10
}

/// How much more memory than before is in use, after some time to give it back.
async fn memory_left(server: &Server, before: u64) -> u64 {
    let mut left = 0;
    for _ in 0..60 {
        left = memory(server).saturating_sub(before);
        if left <= MOST_LEFT / 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    left
}

fn channel(port: u16) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
    endpoint.expect("an address").connect_lazy()
}

fn existing(port: u16) -> DataClient<Channel> {
    DataClient::new(channel(port)).max_encoding_message_size(64 << 20)
}

/// Repeats a request in four clients until it is stopped. Every one is refused, or fails.
async fn repeatedly<F: Future<Output = ()> + Send + 'static>(
    stop: CancellationToken,
    request: impl Fn() -> F + Send + Sync + 'static + Clone,
) {
    let clients = (0..4).map(|_| {
        let (stop, request) = (stop.clone(), request.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                request().await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no panic");
    }
}

async fn metadata(port: u16, stop: CancellationToken) {
    let huge: std::sync::Arc<str> = "v".repeat(34 << 20).into();
    repeatedly(stop, move || {
        let (mut client, huge) = (existing(port), huge.clone());
        async move {
            let _ = client
                .register_site(proto::Site {
                    site_id: "huge".to_owned(),
                    metadata: [("k".to_owned(), huge.to_string())].into(),
                    ..Default::default()
                })
                .await;
        }
    })
    .await;
}

async fn keys(port: u16, stop: CancellationToken) {
    let metadata: Metadata = (0..200_000).map(|n| (format!("key{n}"), "v")).collect();
    let server = format!("127.0.0.1:{port}");
    repeatedly(stop, move || {
        let settings = tko_grpc::client::ClientSettings::new(server.clone());
        let client = tko_grpc::client::Client::new(settings).expect("an address");
        let site = NewSite::new(SiteId::new("many").expect("an id"), Package::default());
        let site = site.metadata(metadata.clone());
        async move {
            client.register_site(site).await.expect_err("too many");
        }
    })
    .await;
}

async fn silence(port: u16, stop: CancellationToken) {
    let mut open = Vec::new();
    let mut turns = tokio::time::interval(Duration::from_millis(5));
    while !stop.is_cancelled() {
        turns.tick().await;
        if open.len() >= 800 {
            open.remove(0);
        }
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
            let _ = stream.write_all(b"P").await;
            open.push(stream);
        }
    }
}

/// Sends requests whose message claims 63 MiB or more, sends this many bytes of each, and then
/// nothing.
async fn unfinished(
    port: u16,
    stop: CancellationToken,
    connections: usize,
    streams: usize,
    bytes: usize,
) {
    let chunk = Bytes::from(vec![0; 16 << 10]);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = TokioIo::new(stream.expect("it listens"));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
        let (sender, connection) = handshake.await.expect("HTTP/2");
        requests.spawn(async move { drop(connection.await) });
        for _ in 0..streams {
            let mut head = vec![0];
            head.extend(u32::to_be_bytes(64 << 20));
            let first = futures_util::stream::iter([Bytes::from(head)]);
            let rest = futures_util::stream::repeat(chunk.clone()).take(bytes / chunk.len());
            let frames = first.chain(rest).chain(futures_util::stream::pending());
            let body =
                StreamBody::new(frames.map(|bytes| Ok::<_, std::io::Error>(Frame::data(bytes))));
            let request =
                hyper::Request::post(format!("http://127.0.0.1:{port}/tko.Data/registerTemplate"))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Box::pin(body))
                    .expect("a request");
            let mut sender = sender.clone();
            requests.spawn(async move { drop(sender.send_request(request).await) });
        }
    }
    stop.cancelled().await;
    requests.shutdown().await;
}

/// Registers a template of this package again and again.
async fn packages(port: u16, stop: CancellationToken, text: Vec<u8>) {
    let text: std::sync::Arc<[u8]> = text.into();
    repeatedly(stop, move || {
        let (mut client, text) = (existing(port), text.clone());
        async move {
            let _ = client.register_template(large(&text)).await;
        }
    })
    .await;
}

fn large(text: &[u8]) -> proto::Template {
    proto::Template {
        template_id: "large".to_owned(),
        package_format: "yaml".to_owned(),
        package: text.to_vec().into(),
        ..Default::default()
    }
}

/// Requests that take long, whose caller does not wait.
async fn deadlines(port: u16, stop: CancellationToken) {
    let text: std::sync::Arc<[u8]> = empty_lists().into();
    let client = existing(port);
    repeatedly(stop, move || {
        let (mut client, text) = (client.clone(), text.clone());
        async move {
            let mut request = tonic::Request::new(large(&text));
            request.set_timeout(Duration::from_millis(50));
            let _ = client.register_template(request).await;
        }
    })
    .await;
}

/// A map that many others merge.
fn merge_keys() -> Vec<u8> {
    let mut text = String::from("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\nx: &a\n");
    for n in 0..1_000 {
        let _ = writeln!(text, "  k{n}: 1");
    }
    text.push_str("y:\n");
    for _ in 0..900 {
        text.push_str("- <<: *a\n");
    }
    text.into_bytes()
}

fn empty_lists() -> Vec<u8> {
    let mut text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\nx:\n".to_vec();
    text.extend(b"- []\n".repeat(1_000_000));
    text
}

fn tiny_resources() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..60_000 {
        let _ = writeln!(
            text,
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{n}}}}}\n---"
        );
    }
    text.into_bytes()
}
