//! Authentication of every method, and the caller in the history of what it changed.

use crate::serving::{Serving, from_template, template};
use crate::tls::{Issuer, settings, trusting};
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::FileDescriptorSet;
use std::sync::Arc;
use tko_core::{Caller, DataApi, Error, Key, Kind, Result};
use tko_grpc::proto::FILE_DESCRIPTOR_SET;
use tko_grpc::server::{
    Access, Authenticate, BearerTokens, Credentials, ServerSettings, ServerTls,
};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Knows two badges, one of which is revoked.
struct Badges;

#[tonic::async_trait]
impl Authenticate for Badges {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        assert_eq!(credentials.interface(), "grpc");
        assert!(
            credentials
                .peer()
                .is_some_and(|peer| peer.address().ip().is_loopback())
        );
        match credentials.bearer() {
            Some("badge-of-alice") => Caller::new("alice")?.role("operator"),
            Some("badge-of-bob") => Err(Error::Forbidden("bob's badge is revoked".to_owned())),
            _ => Err(Error::Unauthenticated("show a badge".to_owned())),
        }
    }
}

fn badges() -> Access {
    Access::new().authentication(Arc::new(Badges))
}

/// The causes of all changes of a template, newest first.
async fn causes(data: &impl DataApi, id: &str) -> Vec<String> {
    let key = Key::new(Kind::Template, id).expect("an id");
    let history = data.history(&key, None, 10).await.expect("a history");
    let causes = history.iter().map(|change| change.cause.as_deref());
    causes
        .map(|cause| cause.expect("a cause").to_owned())
        .collect()
}

#[tokio::test]
async fn history_names_the_caller_of_an_own_authentication() {
    let serving = Serving::with(ServerSettings::default(), badges()).await;
    let alice = serving.client_with(settings(None, Some("badge-of-alice")));
    alice
        .register_template(template("a"))
        .await
        .expect("alice may");
    assert_eq!(causes(&alice, "a").await, ["registered by alice via grpc"]);

    let created = alice.create_deployments(vec![from_template("a")]).await;
    let id = created.into_iter().next().expect("one").expect("valid");
    let history = alice.history(&Key::from(&id), None, 1).await.expect("one");
    assert_eq!(
        history[0].cause.as_deref(),
        Some("created by alice via grpc")
    );
}

#[tokio::test]
async fn history_names_the_position_of_a_bearer_token() {
    let tokens = BearerTokens::parse("0123456789abcdef\nfedcba9876543210").expect("tokens");
    let access = Access::new().authentication(Arc::new(tokens));
    let serving = Serving::with(ServerSettings::default(), access).await;
    let first = serving.client_with(settings(None, Some("0123456789abcdef")));
    first.register_template(template("a")).await.expect("known");
    let second = serving.client_with(settings(None, Some("fedcba9876543210")));
    let mut changed = template("a");
    changed.metadata.insert("colour", "red");
    second.register_template(changed).await.expect("known");
    assert_eq!(
        causes(&first, "a").await,
        [
            "registered by token-2 via grpc",
            "registered by token-1 via grpc"
        ]
    );
}

#[tokio::test]
async fn history_names_the_subject_of_a_client_certificate() {
    let (issuer, staff) = (Issuer::new(), Issuer::new());
    let (certificate, key) = issuer.issue("localhost");
    let tls = ServerTls::new(
        certificate.as_bytes(),
        key.as_bytes(),
        Some(staff.ca().as_bytes()),
    );
    let serving = Serving::with(ServerSettings::default(), Access::new().tls(tls)).await;
    let (certificate, key) = staff.issue("carol");
    let own = trusting(&issuer).with_identity(certificate.as_bytes(), key.as_bytes());
    let carol = serving.client_with(settings(Some(own), None));
    carol.register_template(template("a")).await.expect("known");
    assert_eq!(causes(&carol, "a").await, ["registered by carol via grpc"]);
}

#[tokio::test]
async fn without_authentication_the_caller_is_anonymous() {
    let serving = Serving::start().await;
    let client = serving.client();
    client.register_template(template("a")).await.expect("open");
    assert_eq!(
        causes(&client, "a").await,
        ["registered by anonymous via grpc"]
    );
}

/// The paths of all methods of all services but health.
fn methods() -> Vec<String> {
    let ours = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut paths = Vec::new();
    for file in &ours.file {
        for service in &file.service {
            for method in &service.method {
                let (package, service) = (file.package(), service.name());
                paths.push(format!("/{package}.{service}/{}", method.name()));
            }
        }
    }
    for version in ["v1", "v1alpha"] {
        paths.push(format!(
            "/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        ));
    }
    paths
}

/// Calls a method with an empty message.
async fn call(serving: &Serving, path: &str, token: Option<&str>) -> Result<(), tonic::Status> {
    let mut client = tonic::client::Grpc::new(serving.channel());
    client.ready().await.expect("a connection");
    let mut request = Request::new(());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    let path: PathAndQuery = path.parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(request, path, codec).await.map(|_| ())
}

#[tokio::test]
async fn every_method_but_health_refuses_unknown_and_forbidden_callers() {
    let serving = Serving::with(ServerSettings::default(), badges()).await;
    let methods = methods();
    assert!(methods.len() > 40, "{methods:?}");
    for path in &methods {
        for (token, code) in [
            (None, Code::Unauthenticated),
            (Some("badge-of-mallory"), Code::Unauthenticated),
            (Some("badge-of-bob"), Code::PermissionDenied),
        ] {
            let status = call(&serving, path, token).await.expect_err(path);
            assert_eq!(status.code(), code, "{path} with {token:?}: {status}");
        }
        let known = call(&serving, path, Some("badge-of-alice")).await;
        let code = known.map_or_else(|status| status.code(), |()| Code::Ok);
        assert!(
            !matches!(code, Code::Unauthenticated | Code::PermissionDenied),
            "{path}: {code:?}"
        );
    }
    HealthClient::new(serving.channel())
        .check(HealthCheckRequest::default())
        .await
        .expect("health needs no credentials");
}
