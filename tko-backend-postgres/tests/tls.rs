//! TLS to the database: which certificates are trusted, and the errors otherwise.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Backend, Error, Result};
use tko_postgres_server::{Loopback, PostgresServer};

/// A certificate authority.
fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a CA")
}

/// A server, and the authorities that clients trust: its own, and another.
struct Secured {
    server: PostgresServer,
    trusted: PathBuf,
    foreign: PathBuf,
    _folder: TempDir,
}

impl Secured {
    /// A server whose certificate has this name.
    fn named(name: &str) -> Self {
        Self::with(name, true)
    }

    fn with(name: &str, tls: bool) -> Self {
        let (issuer, other) = (issuer(), issuer());
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        let mut settings = tko_postgres_server::PostgresServerSettings {
            loopback: Some(Loopback {
                port: free_port(),
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            }),
            ..Default::default()
        };
        if !tls {
            settings.options.push(("ssl".to_owned(), "off".to_owned()));
        }
        let folder = TempDir::new().expect("a folder");
        let (trusted, foreign) = (folder.path().join("ca.pem"), folder.path().join("no.pem"));
        std::fs::write(&trusted, issuer.pem()).expect("written");
        std::fs::write(&foreign, other.pem()).expect("written");
        Self {
            server: PostgresServer::start(settings).expect("it starts"),
            trusted,
            foreign,
            _folder: folder,
        }
    }

    async fn connect(&self, parameters: &str) -> Result<Postgres> {
        let url = format!("{}?{parameters}", self.server.loopback_url("postgres"));
        let mut settings = PostgresSettings::new(url);
        settings.connection_timeout = Duration::from_secs(5);
        Postgres::connect(settings).await
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("an address").port()
}

/// Counts the encrypted and the unencrypted sessions.
fn encrypted(server: &PostgresServer) -> String {
    let sql = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl) \
               FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'tko'";
    server.psql("postgres", sql).expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_issuer_of_the_certificate_is_trusted() {
    let secured = Secured::named("127.0.0.1");
    let (trusted, foreign) = (secured.trusted.display(), secured.foreign.display());
    let full = format!("sslmode=verify-full&sslrootcert={trusted}");
    let store = secured.connect(&full).await.expect("it is trusted");
    store.feed_position().await.expect("it is used");
    // All connections are encrypted, also those that listen and number, which are opened later.
    let begun = Instant::now();
    loop {
        let encrypted = encrypted(&secured.server);
        let (with, without) = encrypted.split_once('|').expect("two numbers");
        assert_eq!(without, "0", "{encrypted}");
        if with.parse::<u32>().expect("a number") >= 2 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{encrypted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(store);

    let other = format!("sslmode=verify-full&sslrootcert={foreign}");
    let error = secured
        .connect(&other)
        .await
        .expect_err("signed by another");
    said(&error, "certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_host_is_rejected_with_verify_full() {
    let secured = Secured::named("elsewhere.example");
    let trusted = secured.trusted.display();
    let full = format!("sslmode=verify-full&sslrootcert={trusted}");
    let error = secured.connect(&full).await.expect_err("another host's");
    said(&error, "certificate");
    let signed = format!("sslmode=verify-ca&sslrootcert={trusted}");
    let store = secured
        .connect(&signed)
        .await
        .expect("its signature is right");
    store.feed_position().await.expect("it is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_rejected_if_tls_is_required() {
    let plain = Secured::with("127.0.0.1", false);
    let error = plain.connect("sslmode=require").await;
    let error = error.expect_err("no TLS there");
    said(&error, "TLS");
}

/// The error is permanent, and gives this reason.
fn said(error: &Error, what: &str) {
    assert!(matches!(error, Error::BadArgument { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(what), "{message}");
    assert!(message.contains("sslrootcert"), "{message}");
}
