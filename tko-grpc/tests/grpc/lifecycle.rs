//! Disconnected clients, deadlines and shutdown.

use crate::endless::Endless;
use crate::serving::{Serving, fleet};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    ClaimRequest, DataApi, Error, Event, Kind, Revision, Select, Stage, Watch, WorkerApi,
};
use tko_grpc::proto;
use tko_grpc::server::{Access, ServerSettings};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn endless() -> (Endless, Serving) {
    let data = Endless::default();
    let serving = Serving::over(
        Arc::new(data.clone()),
        ServerSettings::default(),
        Access::default(),
    )
    .await;
    (data, serving)
}

fn all() -> Watch {
    Watch::new(Select::all(Kind::Template), Revision(0))
}

#[tokio::test]
async fn a_slow_client_slows_the_listing_and_a_disconnected_one_ends_it() {
    let (data, serving) = endless().await;
    let mut client = serving.existing();
    let mut listing = client
        .list_templates(proto::ListTemplates::default())
        .await
        .expect("a listing")
        .into_inner();
    for _ in 0..1_000 {
        listing.message().await.expect("a message").expect("no end");
    }
    let read = data.state().pages;
    // Windows and buffers hold a few megabytes. Pages of 400 KiB beyond that are not read.
    assert!((10..100).contains(&read), "{read} pages for 1,000 records");
    drop(listing);
    drop(client);
    serving.stop().await.expect("it stops, as nothing goes on");
    assert!(data.state().pages < 200);
}

#[tokio::test]
async fn dropping_a_watch_drops_it_in_the_server() {
    let (data, serving) = endless().await;
    let mut events = serving.client().watch(all());
    let first = events.next().await.expect("an event").expect("no error");
    assert!(matches!(
        first,
        Event::Bookmark {
            revision: Revision(7)
        }
    ));
    assert_eq!(data.state().waiting, 1);
    drop(events);
    data.until(|state| state.waiting == 0).await;
}

#[tokio::test]
async fn a_claim_of_a_disconnected_worker_stops_waiting() {
    let (data, serving) = endless().await;
    let client = serving.client();
    let claim = tokio::spawn(async move {
        let request = ClaimRequest::new(Stage::Prepare, "a")
            .lease(Duration::from_secs(10))
            .wait(Duration::from_secs(50));
        client.claim(&request).await.map(|claims| claims.len())
    });
    data.until(|state| state.waiting == 1).await;
    claim.abort();
    data.until(|state| state.waiting == 0).await;
}

#[tokio::test]
async fn a_deadline_ends_a_stream() {
    let (data, serving) = endless().await;
    let mut request = tonic::Request::new(proto::v1alpha2::WatchRequest {
        select: Some(proto::v1alpha2::Select {
            kind: proto::v1alpha2::Kind::Template.into(),
            ..Default::default()
        }),
        ..Default::default()
    });
    // The client sends a deadline that it does not enforce itself.
    request
        .metadata_mut()
        .insert("grpc-timeout", "200m".parse().expect("a value"));
    let mut client = proto::v1alpha2::data_client::DataClient::new(serving.channel());
    let mut events = client.watch(request).await.expect("a stream").into_inner();
    events.message().await.expect("a bookmark").expect("no end");
    let status = events.message().await.expect_err("the deadline");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    data.until(|state| state.waiting == 0).await;
}

#[tokio::test]
async fn shutdown_ends_watches_and_waiting_claims_with_unavailable() {
    let (data, serving) = endless().await;
    let client = serving.client();
    let mut events = client.watch(all());
    events.next().await.expect("an event").expect("no error");
    let claiming = client.clone();
    let claim = tokio::spawn(async move {
        let request = ClaimRequest::new(Stage::Prepare, "a")
            .lease(Duration::from_secs(10))
            .wait(Duration::from_secs(50));
        claiming.claim(&request).await.map(|claims| claims.len())
    });
    data.until(|state| state.waiting == 2).await;
    serving.stop().await.expect("it stops");
    let last = events.next().await.expect("an item");
    assert!(matches!(last, Err(Error::Unavailable { .. })), "{last:?}");
    assert!(events.next().await.is_none());
    let claimed = claim.await.expect("no panic");
    assert!(
        matches!(claimed, Err(Error::Unavailable { .. })),
        "{claimed:?}"
    );
    assert_eq!(data.state().waiting, 0);
}

#[tokio::test]
async fn a_listing_in_flight_has_the_grace_period_and_no_more() {
    let data = Endless::default();
    let mut settings = ServerSettings::default();
    settings.grace = Duration::from_millis(300);
    let serving = Serving::over(Arc::new(data.clone()), settings, Access::default()).await;
    let mut client = serving.existing();
    let mut listing = client
        .list_templates(proto::ListTemplates::default())
        .await
        .expect("a listing")
        .into_inner();
    listing.message().await.expect("a message").expect("no end");
    serving.shutdown.cancel();
    // The listing continues during the grace period.
    listing.message().await.expect("a message").expect("no end");
    serving
        .ended
        .await
        .expect("no panic")
        .expect("ends although the listing has not");
    let broken = loop {
        match listing.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(broken.is_err(), "{broken:?}");
}

#[tokio::test]
async fn health_covers_each_service_and_ends_with_the_server() {
    let serving = Serving::start().await;
    let mut health = HealthClient::new(serving.channel());
    for service in [
        "",
        "tko.Data",
        "tko.v1alpha2.Data",
        "tko.v1alpha2.Controller",
    ] {
        let answer = health
            .check(HealthCheckRequest {
                service: service.to_owned(),
            })
            .await
            .expect("an answer")
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let mut told = health
        .watch(HealthCheckRequest::default())
        .await
        .expect("a stream")
        .into_inner();
    let first = told.message().await.expect("a message").expect("no end");
    assert_eq!(first.status(), ServingStatus::Serving);
    serving.shutdown.cancel();
    let second = told.message().await.expect("a message").expect("no end");
    assert_eq!(second.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn a_client_connects_to_a_server_that_starts_later_and_reconnects_after_a_restart() {
    let first = Serving::start().await;
    let client = first.client();
    fleet(&client, "a", 1).await;
    let address = first.address;
    first.stop().await.expect("it stops");
    let failed = client.feed_position().await;
    assert!(
        matches!(failed, Err(Error::Unavailable { .. })),
        "{failed:?}"
    );
    let listen = tko_grpc::server::Listen {
        port: address.port(),
        ..Default::default()
    };
    let sockets = tko_grpc::server::Sockets::bind(&listen)
        .await
        .expect("its port is free again");
    let server = tko_grpc::server::Server::new(Arc::new(Endless::default()));
    let shutdown = tokio_util::sync::CancellationToken::new();
    let again = tokio::spawn(server.serve(sockets, shutdown.clone()));
    let refused = client.feed_position().await;
    assert!(
        matches!(refused, Err(Error::NotImplemented(_))),
        "{refused:?}"
    );
    shutdown.cancel();
    again.await.expect("no panic").expect("it stops");
}

#[tokio::test]
async fn reflection_describes_all_services_and_their_messages() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let serving = Serving::start().await;
    let mut client = ServerReflectionClient::new(serving.channel());
    let ask = |request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let requests = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "tko.SelectDeployments".to_owned(),
        )),
        ask(MessageRequest::FileContainingSymbol(
            "tko.v1alpha2.CommitPreparedRequest".to_owned(),
        )),
    ]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .expect("a stream")
        .into_inner();
    let mut next = async || {
        let answer = answers.message().await.expect("no error");
        answer.and_then(|answer| answer.message_response)
    };
    let Some(MessageResponse::ListServicesResponse(services)) = next().await else {
        panic!("it does not list services");
    };
    let name = |service: ServiceResponse| service.name;
    let names: Vec<_> = services.service.into_iter().map(name).collect();
    for expected in [
        "tko.Data",
        "tko.v1alpha2.Data",
        "tko.v1alpha2.Controller",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    for _ in 0..2 {
        let answer = next().await;
        assert!(
            matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_until_another_ends() {
    let mut settings = ServerSettings::default();
    settings.max_connections = 1;
    let serving = Serving::with(settings, Access::default()).await;
    let first = serving.client();
    first.feed_position().await.expect("there is room");
    let mut hasty = tko_grpc::client::ClientSettings::default();
    hasty.timeout = Duration::from_millis(200);
    hasty.tries = 1;
    let error = serving.client_with(hasty).feed_position().await;
    assert!(matches!(error, Err(Error::Unavailable { .. })), "{error:?}");
    let second = serving.client();
    let waiting =
        tokio::spawn(async move { second.feed_position().await.map(|head| head.revision) });
    drop(first);
    let answered = waiting.await.expect("no panic").expect("room at last");
    assert_eq!(answered, Revision(0));
}
