//! The implementations of `Authenticate`.

use std::net::SocketAddr;
use std::sync::Arc;
use tko_core::{Caller, Error, ErrorKind, Result};
use tko_serve::{
    Anyone, Authenticate, BearerTokens, ClientCertificates, Credentials, FirstOf, Peer,
    async_trait, authenticate,
};

fn credentials() -> Credentials {
    Credentials::new("test")
}

fn certificate(common_name: &str) -> Peer {
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Peer::new(SocketAddr::from(([127, 0, 0, 1], 1))).with_certificates([certificate.der().to_vec()])
}

fn tokens() -> Arc<dyn Authenticate> {
    let file = "# the lab\n0123456789abcdef\nfedcba9876543210\n";
    Arc::new(BearerTokens::parse(file).expect("tokens"))
}

#[tokio::test]
async fn the_caller_of_a_token_is_named_after_its_position() {
    for (token, name) in [
        ("0123456789abcdef", "token-1"),
        ("fedcba9876543210", "token-2"),
    ] {
        let caller = authenticate(&*tokens(), &credentials().with_bearer(token)).await;
        let caller = caller.expect("a known token");
        assert_eq!(
            (caller.name(), caller.via()),
            (name, Some("test")),
            "{token}"
        );
    }
    for refused in [
        credentials(),
        credentials().with_bearer(""),
        credentials().with_bearer("0123456789abcdee"),
        credentials().with_bearer("0123456789abcdef0"),
    ] {
        let error = tokens().authenticate(&refused).await;
        let error = error.expect_err("an unknown token");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!error.to_string().contains("0123456789"), "{error}");
    }
}

#[tokio::test]
async fn the_caller_of_a_certificate_has_its_common_name() {
    let certificates = ClientCertificates::new();
    let known = credentials().with_peer(certificate("alice"));
    let caller = certificates.authenticate(&known).await.expect("a name");
    assert_eq!(caller.name(), "alice");
    for (peer, reason) in [
        (
            Peer::new(SocketAddr::from(([127, 0, 0, 1], 1))),
            "no certificate",
        ),
        (certificate("a\nb"), "a line break in the name"),
    ] {
        let refused = credentials().with_peer(peer);
        let error = certificates.authenticate(&refused).await;
        let kind = error.expect_err(reason).kind();
        assert_eq!(kind, ErrorKind::Unauthenticated, "{reason}");
    }
}

/// Refuses everyone for good.
struct Closed;

#[async_trait]
impl Authenticate for Closed {
    async fn authenticate(&self, _: &Credentials) -> Result<Caller> {
        Err(Error::Forbidden("closed for maintenance".to_owned()))
    }
}

#[tokio::test]
async fn the_first_that_accepts_names_the_caller() {
    let either = FirstOf::new([tokens(), Arc::new(ClientCertificates::new()) as _]);
    for (credentials, name) in [
        (credentials().with_bearer("0123456789abcdef"), "token-1"),
        (credentials().with_peer(certificate("alice")), "alice"),
    ] {
        let caller = either.authenticate(&credentials).await.expect(name);
        assert_eq!(caller.name(), name);
    }
    let error = either.authenticate(&credentials()).await;
    let kind = error.expect_err("no credentials").kind();
    assert_eq!(kind, ErrorKind::Unauthenticated);
    assert!(!either.admits_anyone());

    let closed = FirstOf::new([Arc::new(Closed) as _, Arc::new(Anyone::new()) as _]);
    let error = closed.authenticate(&credentials()).await;
    let kind = error.expect_err("a refusal ends the attempt").kind();
    assert_eq!(kind, ErrorKind::Forbidden);
    assert!(closed.admits_anyone());
}

/// Never answers.
struct Stuck;

#[async_trait]
impl Authenticate for Stuck {
    async fn authenticate(&self, _: &Credentials) -> Result<Caller> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_provider_that_does_not_answer_is_unavailable() {
    let error = authenticate(&Stuck, &credentials()).await;
    let kind = error.expect_err("no answer").kind();
    assert_eq!(kind, ErrorKind::Unavailable);
}
