//! Access: loopback without further settings, the network only with TLS and authentication.

use crate::harness::{Server, Service, tko};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a CA certificate, a server certificate and its key to files.
fn certificates(folder: &Path) -> [PathBuf; 3] {
    until(folder, 4_000)
}

/// Writes the same, with a server certificate that is valid until this year.
fn until(folder: &Path, year: i32) -> [PathBuf; 3] {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &ca).expect("signed");
    let files = ["ca.pem", "server.pem", "key.pem"].map(|name| folder.join(name));
    for (file, text) in files
        .iter()
        .zip([ca.pem(), certificate.pem(), key.serialize_pem()])
    {
        fs::write(file, text).expect("a file");
    }
    files
}

#[tokio::test]
async fn the_network_requires_tls_and_authentication_or_insecure() {
    let refused = tko("data start --grpc-port 0 --grpc-address 0.0.0.0")
        .bad(2)
        .await;
    assert!(
        refused.contains("--insecure") && refused.contains("TLS"),
        "{refused}"
    );
    let server = Server::start("data start --grpc-address 0.0.0.0 --insecure").await;
    let about = server.tko("about -ojson").good().await.json();
    assert_eq!(about["insecure"], true);
    assert!(
        server.service.log().contains(r#""level":"WARN""#),
        "there is no warning"
    );
    server.service.stop().await;
}

#[tokio::test]
async fn about_shows_that_any_interface_is_open_to_the_network() {
    for (flags, is_open) in [
        (
            "--metrics 127.0.0.1:0 --kubernetes --kubernetes-port 0",
            false,
        ),
        // Probes reveal nothing.
        ("--probe-address 0.0.0.0:0", false),
        ("--metrics 0.0.0.0:0", true),
        ("--web-ip-stack ipv4 --web-address 0.0.0.0", true),
        (
            "--kubernetes --kubernetes-port 0 --kubernetes-ip-stack ipv4 --kubernetes-address 0.0.0.0",
            true,
        ),
    ] {
        let server = Server::start(&format!("data start --insecure {flags}")).await;
        let about = server.tko("about -ojson").good().await.json();
        assert_eq!(about["insecure"], is_open, "{flags}");
        server.service.stop().await;
    }
}

#[tokio::test]
async fn with_tls_and_tokens_a_client_needs_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let [ca, certificate, key] = certificates(folder.path()).map(|p| p.display().to_string());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (tokens, token, other) = (
        file("tokens", "open-sesame-to-all\nanother-one-for-some\n"),
        file("token", "open-sesame-to-all\n"),
        file("other", "open-barley-to-all\n"),
    );
    let server = Server::start(&format!(
        "data start --grpc-certificate {certificate} --grpc-key {key} --grpc-tokens {tokens}"
    ))
    .await;
    let list =
        |flags: String| server.tko(&format!("template list --grpc-address localhost {flags}"));
    list(format!("--grpc-ca {ca} --grpc-token {token}"))
        .good()
        .await;
    list(format!("--grpc-ca {ca} --grpc-token {other}"))
        .bad(6)
        .await;
    list(format!("--grpc-ca {ca}")).bad(6).await;
    list(format!("--grpc-token {token} --grpc-timeout 2s"))
        .bad(5)
        .await;
    list(format!("--grpc-tls --grpc-token {token} --grpc-timeout 2s"))
        .bad(5)
        .await;
    let missing = list(format!("--grpc-ca {ca} --grpc-token /nowhere"))
        .bad(2)
        .await;
    assert!(missing.contains("/nowhere"), "{missing}");
}

#[tokio::test]
async fn s13_an_expired_certificate_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let [_, certificate, key] = until(folder.path(), 2_020).map(|p| p.display().to_string());
    let flags = format!("data start --grpc-certificate {certificate} --grpc-key {key}");
    let server = Server::start(&flags).await;
    let message = "the server's certificate has expired: clients refuse it; replace its file";
    let reported = server.service.event(message).await;
    assert!(reported["days_ago"].as_i64().is_some_and(|days| days > 365));
    server.service.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_with_advice() {
    let server = Server::data().await;
    let flags = server.flags();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let demo = format!("demo --serve --out {}", out.display());
    for command in ["data start", "up", &demo] {
        let error = tko(&format!("{command} {flags}")).bad(2).await;
        let address = format!("127.0.0.1:{}", server.port);
        assert!(
            error.contains(&address) && error.contains("another port"),
            "{error}"
        );
    }
    assert!(!out.exists(), "the demo has begun");
}

#[tokio::test]
async fn both_ip_versions_are_served() {
    let service = Service::start("data start --grpc-port 0");
    let serving = service.event("serving gRPC").await;
    let addresses = serving["addresses"].as_str().expect("a text").to_owned();
    let port = addresses
        .trim_end_matches(']')
        .rsplit_once(':')
        .expect("a port")
        .1;
    tko(&format!("about --grpc-port {port}")).good().await;
    for (address, stack) in [("127.0.0.1:", "ipv4"), ("[::1]:", "ipv6")] {
        if addresses.contains(address) {
            let flags = format!("--grpc-ip-stack {stack} --grpc-port {port}");
            tko(&format!("about {flags}")).good().await;
        }
    }
    service.stop().await;
}
