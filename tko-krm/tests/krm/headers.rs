//! Headers of answers: caches, compression, and the ids of requests. Heads of requests that are too
//! large.

use crate::serving::{Serving, config_map};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tko_core::{DataApi, NewTemplate, Package, TemplateId};

/// Gets a path of the server, with these headers. Follows no redirects, and decompresses nothing.
async fn get(serving: &Serving, path: &str, headers: &[(&str, &str)]) -> Response {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().redirect(Policy::none()).no_gzip();
    let client = builder.build().expect("a client");
    let mut request = client.get(format!("http://{}{path}", serving.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("it answers")
}

/// A header that the response must have.
fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    let value = value.unwrap_or_else(|| panic!("{name}: {response:?}"));
    value.to_str().expect("ASCII").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_has_its_own_content_type_and_a_tag() {
    let serving = Serving::start().await;
    let form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let discovery = get(&serving, "/apis", &[("accept", form)]).await;
    assert_eq!(discovery.status(), 200);
    assert_eq!(header(&discovery, "content-type"), form);
    assert_eq!(header(&discovery, "vary"), "Accept");
    let tag = header(&discovery, "etag");
    let headers = [("accept", form), ("if-none-match", tag.as_str())];
    let known = get(&serving, "/apis", &headers).await;
    assert_eq!(known.status(), 304);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_openapi_is_cached_by_its_hash() {
    let serving = Serving::start().await;
    let index = get(&serving, "/openapi/v3", &[]).await;
    let index: Value = index.json().await.expect("JSON");
    let url = &index["paths"]["apis/tko.nephio.org/v1alpha1"]["serverRelativeURL"];
    let url = url.as_str().expect("a URL");
    let document = get(&serving, url, &[]).await;
    assert_eq!(document.status(), 200);
    let cached = header(&document, "cache-control");
    assert!(cached.contains("immutable"), "{cached}");
    let tag = header(&document, "etag");
    let known = get(&serving, url, &[("if-none-match", tag.as_str())]).await;
    assert_eq!(known.status(), 304);
    let (path, _) = url.split_once('?').expect("a hash");
    let outdated = get(&serving, &format!("{path}?hash=0"), &[]).await;
    assert_eq!(outdated.status(), 301);
    assert_eq!(header(&outdated, "location"), url);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_large_answers_that_are_no_watch_are_compressed() {
    let serving = Serving::start().await;
    let mut resource = config_map("a");
    resource["data"]["greeting"] = "x".repeat(256 << 10).into();
    let package = Package::from_values([resource]).expect("a resource");
    let id = TemplateId::new("large").expect("an id");
    let new = NewTemplate::new(id, package);
    serving.data.register_template(new).await.expect("valid");
    for (rest, accepted, is_compressed) in [
        ("templates", "gzip", true),
        ("templates?limit=1", "gzip", true),
        ("templates/large", "gzip", true),
        ("templates", "identity", false),
        ("templates?watch=1", "gzip", false),
        ("sites", "gzip", false),
        ("sites?limit=1", "gzip", false),
    ] {
        let path = format!("/apis/tko.nephio.org/v1alpha1/{rest}");
        let answer = get(&serving, &path, &[("accept-encoding", accepted)]).await;
        assert_eq!(answer.status(), 200, "{rest}");
        let encoding = answer.headers().get("content-encoding");
        assert_eq!(encoding.is_some(), is_compressed, "{rest}: {answer:?}");
        if is_compressed {
            let body = answer.bytes().await.expect("a body");
            assert!(body.starts_with(&[0x1f, 0x8b]), "{rest} is in gzip");
            assert!(body.len() < 128 << 10, "{rest}: {} bytes", body.len());
        }
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_for_logs() {
    let serving = Serving::start().await;
    let missing = "/apis/tko.nephio.org/v1alpha1/sites/none";
    let mut made = Vec::new();
    for path in ["/livez", "/apis", missing] {
        made.push(header(&get(&serving, path, &[]).await, "audit-id"));
    }
    assert!(made.iter().all(|id| id.len() == 36), "UUIDs: {made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 3, "{made:?}");
    let sent = get(&serving, missing, &[("audit-id", "mine")]).await;
    assert_eq!(header(&sent, "audit-id"), "mine");
    serving.stop().await;
}

/// The answer to a request that other clients would not send.
fn raw(serving: &Serving, head: &str) -> String {
    tokio::task::block_in_place(|| {
        let mut stream = TcpStream::connect(serving.address).expect("it listens");
        let patience = Some(Duration::from_mins(1));
        stream.set_read_timeout(patience).expect("a timeout");
        stream.write_all(head.as_bytes()).expect("it is open");
        let mut answer = Vec::new();
        // The server closes the connection.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused_without_a_body() {
    let serving = Serving::start().await;
    let sites = "/apis/tko.nephio.org/v1alpha1/sites";
    let (long, many) = ("x".repeat(70_000), "x: y\r\n".repeat(200));
    for (query, headers, status) in [
        (format!("labelSelector={long}"), String::new(), 414),
        (String::new(), many, 431),
    ] {
        let head = format!("GET {sites}?{query} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let answer = raw(&serving, &head);
        let begins = answer.starts_with(&format!("HTTP/1.1 {status}"));
        assert!(begins && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    serving.stop().await;
}
