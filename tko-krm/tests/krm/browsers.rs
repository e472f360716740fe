//! Requests that web pages make browsers send.

use crate::serving::Serving;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use std::sync::Arc;
use tko_krm::KrmSettings;
use tko_serve::{Access, BearerTokens};

const TOKEN: &str = "0123456789abcdef";

/// A request that creates or lists sites, as a page can make it: without a content type.
fn request(serving: &Serving, method: &Method) -> RequestBuilder {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let group = format!("http://{}/apis/tko.nephio.org/v1alpha1", serving.address);
    let request = Client::new().request(method.clone(), format!("{group}/sites?dryRun=All"));
    if *method == Method::POST {
        request.body(r#"{"metadata": {"name": "a"}}"#)
    } else {
        request
    }
}

/// The status of the answer, and the reason of a failure.
async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.expect("it answers");
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    let reason = body["reason"].as_str().unwrap_or_default();
    (status, reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_can_neither_write_nor_rebind_a_host_name() {
    let serving = Serving::start().await;
    let own = format!("http://{}", serving.address);
    for (name, value, read, written) in [
        ("accept", "*/*", 200, 201),
        ("host", "localhost:50052", 200, 201),
        ("origin", own.as_str(), 200, 201),
        ("sec-fetch-site", "same-origin", 200, 201),
        ("origin", "http://evil.example", 200, 403),
        ("sec-fetch-site", "cross-site", 200, 403),
        ("host", "evil.example", 421, 421),
    ] {
        for (method, expected) in [(Method::GET, read), (Method::POST, written)] {
            let request = request(&serving, &method).header(name, value);
            let (status, reason) = answer(request).await;
            assert_eq!(status, expected, "{method} with {name}: {value}");
            let expected = match status {
                403 => "Forbidden",
                421 => "MisdirectedRequest",
                _ => "",
            };
            assert_eq!(reason, expected, "{method} with {name}: {value}");
        }
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_checked_before_credentials_and_host_names_only_without_them() {
    let tokens = BearerTokens::parse(TOKEN).expect("a token");
    let access = Access::new().authentication(Arc::new(tokens));
    let serving = Serving::with(KrmSettings::default(), access).await;
    let post = || request(&serving, &Method::POST);
    assert_eq!(answer(post()).await.0, 401);
    let foreign = post().header("origin", "http://evil.example");
    assert_eq!(answer(foreign).await.0, 403);
    let foreign = post().header("origin", "http://evil.example");
    assert_eq!(answer(foreign.bearer_auth(TOKEN)).await.0, 403);
    let named = post().header("host", "tko.example");
    assert_eq!(answer(named.bearer_auth(TOKEN)).await.0, 201);
    serving.stop().await;
}
