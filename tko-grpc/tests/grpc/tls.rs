//! TLS, client certificates and bearer tokens.

use crate::serving::Serving;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use tko_core::{DataApi, Error};
use tko_grpc::client;
use tko_grpc::server::{Access, BearerTokens, ServerSettings, ServerTls};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    pub(crate) fn ca(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, in PEM.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }
}

async fn serving(issuer: &Issuer, clients: Option<&Issuer>, tokens: Option<&str>) -> Serving {
    let (certificate, key) = issuer.issue("localhost");
    let ca = clients.map(Issuer::ca);
    let mut access = Access::new().tls(ServerTls::new(
        certificate.as_bytes(),
        key.as_bytes(),
        ca.as_deref().map(str::as_bytes),
    ));
    if let Some(text) = tokens {
        access = access.authentication(Arc::new(BearerTokens::parse(text).expect("tokens")));
    }
    Serving::with(ServerSettings::default(), access).await
}

pub(crate) fn trusting(issuer: &Issuer) -> client::ClientTls {
    client::ClientTls::new(Some(issuer.ca().as_bytes())).with_name("localhost")
}

pub(crate) fn settings(
    tls: Option<client::ClientTls>,
    token: Option<&str>,
) -> client::ClientSettings {
    let mut settings = client::ClientSettings::default();
    settings.tls = tls;
    settings.token = token.map(str::to_owned);
    settings.tries = 1;
    settings
}

#[tokio::test]
async fn clients_that_trust_the_ca_connect_and_others_do_not() {
    let issuer = Issuer::new();
    let serving = serving(&issuer, None, None).await;
    let client = serving.client_with(settings(Some(trusting(&issuer)), None));
    client
        .feed_position()
        .await
        .expect("the client is accepted");

    for (tls, what) in [
        (Some(trusting(&Issuer::new())), "another CA"),
        (
            Some(client::ClientTls::new(Some(issuer.ca().as_bytes())).with_name("example.org")),
            "another name",
        ),
        (None, "plaintext"),
    ] {
        let client = serving.client_with(settings(tls, None));
        let error = client.feed_position().await.expect_err(what);
        assert!(
            matches!(error, Error::Unavailable { .. }),
            "{what}: {error:?}"
        );
    }
}

#[tokio::test]
async fn s13_a_client_ca_admits_only_its_clients_and_others_need_not_retry() {
    let issuer = Issuer::new();
    let staff = Issuer::new();
    let serving = serving(&issuer, Some(&staff), None).await;
    let (certificate, key) = staff.issue("worker");
    let known = trusting(&issuer).with_identity(certificate.as_bytes(), key.as_bytes());
    let client = serving.client_with(settings(Some(known), None));
    client
        .feed_position()
        .await
        .expect("the client is accepted");

    let (certificate, key) = issuer.issue("worker");
    let unknown = trusting(&issuer).with_identity(certificate.as_bytes(), key.as_bytes());
    for tls in [unknown, trusting(&issuer)] {
        let client = serving.client_with(settings(Some(tls), None));
        let error = client
            .feed_position()
            .await
            .expect_err("the client is unknown");
        // Not worth a retry: the program exits with 6.
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
    }
}

#[tokio::test]
async fn tokens_are_required_except_for_health() {
    let serving = Serving::with(
        ServerSettings::default(),
        Access::new().authentication(Arc::new(
            BearerTokens::parse("0123456789abcdef\nfedcba9876543210").expect("tokens"),
        )),
    )
    .await;
    for token in ["0123456789abcdef", "fedcba9876543210"] {
        let client = serving.client_with(settings(None, Some(token)));
        client
            .feed_position()
            .await
            .expect("the client is accepted");
    }
    for token in [None, Some("0123456789abcdee"), Some("0123")] {
        let client = serving.client_with(settings(None, token));
        let error = client
            .feed_position()
            .await
            .expect_err("the client is unknown");
        assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
    }
    let status = serving.existing().about(()).await;
    assert_eq!(status.expect_err("no token").code(), Code::Unauthenticated);
    HealthClient::new(serving.channel())
        .check(HealthCheckRequest::default())
        .await
        .expect("health is open");
}

#[tokio::test]
async fn an_invalid_key_is_a_bad_argument() {
    let access = Access::new().tls(ServerTls::new(b"no", b"no", None));
    let serving = Serving::with(ServerSettings::default(), access).await;
    let error = serving.ended.await.expect("no panic").expect_err("no key");
    assert!(error.to_string().contains("certificate and key"), "{error}");
}
