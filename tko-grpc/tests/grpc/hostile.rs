//! Clients that attack: what they send ends, and the others are served.

use crate::serving::{Serving, package, template};
use crate::tls::settings;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_memory::Memory;
use tko_conformance::{CountedIds, ManualClock, Strict};
use tko_core::{
    DataApi, ErrorKind, Key, Kind, NewSite, NewTemplate, Package, SiteId, Store, TemplateId, Want,
};
use tko_grpc::proto;
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::data_client::DataClient;
use tko_grpc::server::{Access, BearerTokens, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Code;

const TOKEN: &str = "0123456789abcdef";

fn closed() -> Access {
    let tokens = BearerTokens::parse(TOKEN).expect("a token");
    Access::new().authentication(Arc::new(tokens))
}

#[tokio::test]
async fn s1_metadata_that_no_client_could_read_are_refused_through_every_interface() {
    let serving = Serving::start().await;
    let client = serving.client();
    let huge = "v".repeat(34 << 20);
    let site = NewSite::new(SiteId::new("a").expect("an id"), Package::default())
        .metadata([("k", &huge)].into_iter().collect::<tko_core::Metadata>());
    let error = client.register_site(site).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::BadArgument);
    assert!(error.to_string().contains("35651584 bytes"), "{error}");

    let refused = serving.existing().max_encoding_message_size(64 << 20);
    let refused = { refused }
        .register_site(proto::Site {
            site_id: "a".to_owned(),
            metadata: [("k".to_owned(), huge)].into(),
            ..Default::default()
        })
        .await;
    assert!(refused.is_err(), "{refused:?}");
    let site = Key::new(Kind::Site, "a").expect("an id");
    let kind = client
        .get(&site, Want::ROW)
        .await
        .expect_err("refused")
        .kind();
    assert_eq!(kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn s2_metadata_of_a_template_are_limited_before_deployments_multiply_them() {
    let serving = Serving::start().await;
    let text = format!(
        "apiVersion: metadata.nephio.org/v1\nkind: Big\nmetadata:\n  name: big\nspec:\n  k: {}\n",
        "v".repeat(15 << 20)
    );
    let new = NewTemplate::new(TemplateId::new("t").expect("an id"), package(&text));
    let error = serving.client().register_template(new).await;
    let error = error.expect_err("too large");
    assert!(error.to_string().contains("at most 16384"), "{error}");
}

/// Whether the server closes the connection within some seconds.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
    end.await.is_ok()
}

#[tokio::test]
async fn s3_connections_that_make_no_request_are_closed() {
    let mut limits = ServerSettings::default();
    limits.first_request = Duration::from_millis(300);
    let serving = Serving::with(limits, closed()).await;
    for sent in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(serving.address)
            .await
            .expect("it listens");
        stream.write_all(sent).await.expect("it is open");
        assert!(is_closed(&mut stream).await, "after {sent:?}");
    }
}

#[tokio::test]
async fn s3_unauthenticated_connections_do_not_shut_out_clients_with_credentials() {
    let mut limits = ServerSettings::default();
    limits.max_connections = 16;
    let serving = Serving::with(limits, closed()).await;
    let client = serving.client_with(settings(None, Some(TOKEN)));
    client
        .register_template(template("a"))
        .await
        .expect("known");
    let mut unauthenticated = Vec::new();
    for _ in 0..64 {
        let stream = TcpStream::connect(serving.address)
            .await
            .expect("it listens");
        unauthenticated.push(stream);
    }
    let late = serving.client_with(settings(None, Some(TOKEN)));
    late.register_template(template("b")).await.expect("known");
    // The first client's connection was never closed.
    client
        .register_template(template("c"))
        .await
        .expect("known");
    assert!(is_closed(&mut unauthenticated[0]).await);
}

#[tokio::test]
async fn s3_refused_requests_that_wait_on_one_connection_are_limited() {
    let serving = Serving::with(ServerSettings::default(), closed()).await;
    // Time does not advance while this task runs, so refused requests wait until the end of the
    // test.
    let (_end, ended) = std::sync::mpsc::channel::<()>();
    tokio::time::pause();
    tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_mins(1)));
    let unauthenticated = DataClient::new(serving.channel());
    let mut calls = JoinSet::new();
    for _ in 0..17 {
        let mut unauthenticated = unauthenticated.clone();
        calls.spawn(async move {
            let answer = unauthenticated.about(wire::AboutRequest::default()).await;
            answer.expect_err("no credentials").code()
        });
    }
    let first = calls.join_next().await.expect("an answer");
    assert_eq!(first.expect("no panic"), Code::Unavailable);
    let known = serving.client_with(settings(None, Some(TOKEN)));
    known.feed_position().await.expect("another connection");
}

/// A server that checks packages, with its data in memory.
async fn in_memory() -> Serving {
    let backend = Memory::new(
        Arc::new(ManualClock::new()),
        tko_backend_memory::MemorySettings::default(),
    );
    let store = Store::new(
        Arc::new(backend),
        Arc::new(Strict),
        Arc::new(CountedIds::default()),
    );
    let (settings, access) = (ServerSettings::default(), Access::default());
    Serving::over(Arc::new(store), settings, access).await
}

/// A template with this many empty lists, of five bytes each.
fn lists(count: usize) -> proto::Template {
    let mut text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\nx:\n".to_vec();
    text.extend(b"- []\n".repeat(count));
    proto::Template {
        template_id: "large".to_owned(),
        package_format: "yaml".to_owned(),
        package: text.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s7_a_large_request_does_not_hold_up_the_others() {
    let serving = in_memory().await;
    let client = serving.client();
    client
        .register_template(template("small"))
        .await
        .expect("valid");
    let key = Key::new(Kind::Template, "small").expect("an id");

    // A list of a million empty lists takes long to decode.
    let large = lists(1_000_000);
    let mut attacker = serving.existing().max_encoding_message_size(64 << 20);
    let attack = tokio::spawn(async move {
        let start = Instant::now();
        let _ = attacker.register_template(large).await;
        start.elapsed()
    });
    let mut longest = Duration::ZERO;
    let mut answers = 0;
    while !attack.is_finished() {
        let start = Instant::now();
        client.get(&key, Want::ROW).await.expect("it exists");
        longest = longest.max(start.elapsed());
        answers += 1;
    }
    let took = attack.await.expect("no panic");
    println!("the attack took {took:?}; of {answers} answers the longest took {longest:?}");
    assert!(
        answers > 20 && longest < took / 2,
        "{answers} answers, the longest after {longest:?}, while the attack took {took:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_what_has_passed_its_deadline_stops() {
    let serving = in_memory().await;
    let mut client = serving.existing().max_encoding_message_size(64 << 20);
    let start = Instant::now();
    let _ = client.register_template(lists(200_000)).await;
    let took = start.elapsed();

    let late = (0..12).map(|_| {
        let mut client = client.clone();
        async move {
            let mut request = tonic::Request::new(lists(200_000));
            // Too short, even if all of them run at once.
            request.set_timeout(took / 2);
            client.register_template(request).await
        }
    });
    let answers = futures_util::future::join_all(late).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(failed > 8, "{answers:?}");
    // Large enough to wait for its turn. It waits for at most one request that is late.
    let start = Instant::now();
    let _ = client.register_template(lists(7_000)).await;
    let waited = start.elapsed();
    assert!(
        waited < took * 4,
        "waited for {waited:?}, while one late request takes {took:?}"
    );
}
