//! The limit of the lists and watches that the server sends at once.

use crate::serving::Serving;
use crate::tls::settings;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Caller, DataApi, ErrorKind, Kind, List, Result, Select};
use tko_grpc::proto;
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::data_client::DataClient;
use tko_grpc::server::{Access, Authenticate, Credentials, ServerSettings};
use tonic::{Code, Request};

/// The bearer token is the caller's name and role.
struct TokenRoles;

#[tonic::async_trait]
impl Authenticate for TokenRoles {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        let role = credentials.bearer().unwrap_or("viewer");
        Caller::new(role)?.role(role)
    }
}

/// A request of a caller with this role.
fn by<Q>(role: &str, message: Q) -> Request<Q> {
    let mut request = Request::new(message);
    let value = format!("Bearer {role}").parse().expect("ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

fn sites() -> wire::Select {
    wire::Select {
        kind: wire::Kind::Site.into(),
        ..Default::default()
    }
}

fn watch(role: &str) -> Request<wire::WatchRequest> {
    let request = wire::WatchRequest {
        select: Some(sites()),
        ..Default::default()
    };
    by(role, request)
}

fn list(role: &str) -> Request<wire::ListRequest> {
    let request = wire::ListRequest {
        select: Some(sites()),
        ..Default::default()
    };
    by(role, request)
}

#[tokio::test]
async fn lists_and_watches_beyond_the_limit_are_refused_but_not_those_of_workers() {
    let mut limits = ServerSettings::default();
    limits.max_streams = 2;
    let access = Access::new().authentication(Arc::new(TokenRoles));
    let serving = Serving::with(limits, access).await;
    let mut data = DataClient::new(serving.channel());
    let first = data.watch(watch("viewer")).await.expect("one");
    let _second = data.watch(watch("admin")).await.expect("two");

    let changes = by("admin", wire::ChangesRequest::default());
    let sites = by("admin", proto::ListSites::default());
    let mut existing = serving.existing();
    let refused = [
        data.watch(watch("admin")).await.expect_err("a watch"),
        data.list(list("admin")).await.expect_err("a list"),
        data.changes(changes).await.expect_err("an audit"),
        existing.list_sites(sites).await.expect_err("a window"),
    ];
    for status in refused {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.message().contains("too many lists"), "{status}");
    }
    // The client's own error is one after which it retries.
    let client = serving.client_with(settings(None, Some("admin")));
    let page = client.list(&List::new(Select::all(Kind::Site))).await;
    assert_eq!(page.expect_err("a page").kind(), ErrorKind::Unavailable);

    // Other calls have no such limit, and workers keep their watches.
    client.feed_position().await.expect("a call");
    let _third = data.watch(watch("worker")).await.expect("a worker's watch");
    data.list(list("worker")).await.expect("a worker's list");

    drop(first);
    let attempts = async {
        while data.list(list("viewer")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), attempts).await;
    waited.expect("a permit comes back");
}
