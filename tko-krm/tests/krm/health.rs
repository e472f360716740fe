//! Probes, which have no credentials.

use crate::serving::Serving;
use std::sync::Arc;
use tko_krm::KrmSettings;
use tko_serve::{Access, BearerTokens};

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
