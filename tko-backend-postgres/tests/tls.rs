//! The way to the database with TLS: whom it is believed, and what is said when it is not.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Backend, Error, Result};
use tko_postgres_server::{Loopback, Server};

/// Who signs certificates.
fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a CA")
}

/// A server, and the CAs of its clients: its own and another.
struct Secured {
    server: Server,
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
        let mut settings = tko_postgres_server::Settings {
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
            server: Server::start(settings).expect("it starts"),
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

/// How many sessions of clients are encrypted, and how many are not.
fn encrypted(server: &Server) -> String {
    let sql = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl) \
               FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'tko'";
    server.psql("postgres", sql).expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signed_the_servers_certificate_is_believed_alone() {
    let secured = Secured::named("127.0.0.1");
    let (trusted, foreign) = (secured.trusted.display(), secured.foreign.display());
    let full = format!("sslmode=verify-full&sslrootcert={trusted}");
    let store = secured.connect(&full).await.expect("it is trusted");
    store.feed_position().await.expect("it is used");
    // Those that listen and number are secured as those that read are.
    let encrypted = encrypted(&secured.server);
    let (with, without) = encrypted.split_once('|').expect("two numbers");
    assert!(with.parse::<u32>().expect("a number") >= 2, "{encrypted}");
    assert_eq!(without, "0", "{encrypted}");
    drop(store);

    let other = format!("sslmode=verify-full&sslrootcert={foreign}");
    let error = secured
        .connect(&other)
        .await
        .expect_err("signed by another");
    said(&error, "certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_host_is_refused_unless_asked_not_to_look() {
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
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let plain = Secured::with("127.0.0.1", false);
    let error = plain.connect("sslmode=require").await;
    let error = error.expect_err("no TLS there");
    said(&error, "TLS");
}

/// No waiting would have helped, and this is why.
fn said(error: &Error, what: &str) {
    assert!(matches!(error, Error::BadArgument { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(what), "{message}");
    assert!(message.contains("sslrootcert"), "{message}");
}
