//! Probes, which have no credentials.

use crate::serving::Serving;
use std::sync::Arc;
use std::time::Duration;
use tko_krm::KrmSettings;
use tko_serve::{Access, BearerTokens};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_alive_and_ready_for_those_without_credentials() {
    let serving = Serving::start().await;
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (path, expected) in [
        ("healthz", "ok"),
        ("livez", "ok"),
        ("readyz", "ok"),
        ("readyz/data", "ok"),
        (
            "readyz?verbose",
            "[+]ping ok\n[+]shutdown ok\n[+]data ok\ncheck passed\n",
        ),
    ] {
        let answer = reqwest::get(format!("http://{}/{path}", serving.address)).await;
        let answer = answer.expect("it is there");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.text().await.expect("text"), expected, "{path}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_probes_is_answered_without_credentials() {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tokens = BearerTokens::parse("0123456789abcdef").expect("a token");
    let access = Access::new().authentication(Arc::new(tokens));
    let serving = Serving::with(KrmSettings::default(), access).await;
    for (path, expected) in [
        ("livez", 200_u16),
        ("readyz", 200),
        ("version", 401),
        ("apis", 401),
        ("apis/tko.nephio.org/v1alpha1/templates", 401),
    ] {
        let answer = reqwest::get(format!("http://{}/{path}", serving.address)).await;
        assert_eq!(answer.expect("it is there").status(), expected, "{path}");
    }
    serving.stop().await;
}

/// The status of a request with a body of 16,000 bytes; `None` if the server closed the connection
/// before it had read all of them.
async fn posted(serving: &Serving) -> Option<u16> {
    let url = format!(
        "http://{}/apis/tko.nephio.org/v1alpha1/sites",
        serving.address
    );
    let post = reqwest::Client::new().post(url);
    let post = post.header("content-type", "application/yaml");
    let answer = post.body(" ".repeat(16_000)).send().await;
    answer.ok().map(|answer| answer.status().as_u16())
}

/// Posts until the answer has this status.
async fn until_posted(serving: &Serving, status: u16) {
    let attempts = async {
        while posted(serving).await != Some(status) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), attempts).await;
    waited.unwrap_or_else(|_| panic!("no answer with status {status}"));
}

#[tokio::test]
async fn s5_unfinished_bodies_share_a_budget_that_comes_back() {
    let mut settings = KrmSettings::default();
    settings.max_bytes = 64 << 10;
    let serving = Serving::with(settings, Access::new()).await;
    // No object.
    until_posted(&serving, 400).await;
    let mut first = TcpStream::connect(serving.address)
        .await
        .expect("it listens");
    let head = "POST /apis/tko.nephio.org/v1alpha1/sites HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/yaml\r\ncontent-length: 9000000\r\n\r\n";
    first.write_all(head.as_bytes()).await.expect("it is open");
    first
        .write_all(&vec![b' '; 60_000])
        .await
        .expect("it is open");
    until_posted(&serving, 429).await;
    drop(first);
    until_posted(&serving, 400).await;
    serving.stop().await;
}
