//! Probes, which have no credentials.

use crate::serving::Serving;

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
