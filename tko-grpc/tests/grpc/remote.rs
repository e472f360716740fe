//! The client as an API: properties of the wire that the conformance suite does not check.

use crate::serving::{Serving, fleet, from_template};
use futures_util::StreamExt;
use prost::Message;
use std::sync::Arc;
use tko_core::{
    Cursor, DataApi, Error, Event, Key, Kind, List, Record, Revision, Select, Version, Want, Watch,
};
use tko_grpc::client::{Client, ClientSettings};
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::data_client::DataClient;
use tko_grpc::server::{Access, ServerSettings};
use tonic::Code;

/// A record as text, without the times of conditions.
fn text(record: &Record) -> String {
    format!("{record:?}")
}

#[tokio::test]
async fn records_survive_a_round_trip() {
    let serving = Serving::start().await;
    let client = serving.client();
    let ids = fleet(&client, "a", 2).await;
    let key = Key::new(Kind::Deployment, &ids[1]).expect("an id");
    let want = Want::ROW.with_package().with_revision().with_work();
    let read = client.get(&key, want).await.expect("it is there");
    assert!(read.revision.is_some());
    assert_eq!(read.work.len(), 1, "it is to be prepared");
    let page = client
        .list(
            &List::new(Select::all(Kind::Deployment))
                .after(Cursor(Key::new(Kind::Deployment, &ids[0]).expect("an id")))
                .limit(1)
                .want(want),
        )
        .await
        .expect("a page");
    assert_eq!(page.items.len(), 1);
    assert_eq!(text(&page.items[0]), text(&read));
    let history = client.history(&key, None, 10).await.expect("a history");
    assert_eq!(history.len(), 1);
    assert!(history[0].before.is_none());
    let changed = history[0].after.as_ref().expect("it was made");
    assert_eq!(changed.entity.version, read.entity.version);
    let package = read.package.expect("wanted");
    let deployment = read.entity.deployment().expect("it is one");
    let split = tko_core::deployment_resource::split(&package).expect("it is whole");
    assert_eq!(split.resource, deployment.resource);
    assert_eq!(split.body.hash(), read.entity.body);
}

#[tokio::test]
async fn a_listing_streams_all_pages_with_the_revision_first() {
    let serving = Serving::start().await;
    let ids = fleet(&serving.client(), "a", 2_345).await;
    let mut client = DataClient::new(serving.channel());
    let request = wire::ListRequest {
        select: Some(wire::Select {
            kind: wire::Kind::Deployment.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut stream = client
        .list(request.clone())
        .await
        .expect("a listing")
        .into_inner();
    let mut listed = Vec::new();
    let mut messages = 0;
    while let Some(message) = stream.message().await.expect("no error") {
        assert_eq!(message.revision.is_some(), messages == 0);
        messages += 1;
        listed.extend(message.records.into_iter().filter_map(|r| {
            let entity = wire::Entity::decode(r.entity).expect("an entity");
            entity.key.map(|key| key.id)
        }));
    }
    assert!(messages > 2, "{messages} messages");
    assert_eq!(listed, ids);

    let mut stream = client
        .list(wire::ListRequest {
            limit: 1_500,
            ..request
        })
        .await
        .expect("a listing")
        .into_inner();
    let mut count = 0;
    let mut next = None;
    while let Some(message) = stream.message().await.expect("no error") {
        count += message.records.len();
        next = message.next;
    }
    assert_eq!(count, 1_500);
    assert_eq!(next.expect("there is more").id, ids[1_499]);
}

#[tokio::test]
async fn a_watch_reports_later_changes() {
    let serving = Serving::start().await;
    let client = serving.client();
    fleet(&client, "a", 1).await;
    let mut events =
        client.watch(Watch::new(Select::all(Kind::Deployment), Revision(0)).package(true));
    let id = client
        .create_deployment(from_template("a"))
        .await
        .expect("sound");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match events.next().await.expect("no end").expect("no error") {
            Event::Put {
                record, entered, ..
            } => {
                assert!(entered);
                assert!(record.package.is_some());
                seen.push(record.entity.key.clone());
            }
            gone @ Event::Gone { .. } => panic!("{gone:?}"),
            _ => {}
        }
    }
    assert_eq!(seen[1], Key::from(id));
}

#[tokio::test]
async fn creating_again_with_one_idempotency_key_returns_the_same_deployment() {
    let serving = Serving::start().await;
    let client = serving.client();
    fleet(&client, "a", 0).await;
    let mut new = from_template("a");
    new.idempotency_key = Some("k".into());
    let first = client.create_deployment(new.clone()).await.expect("sound");
    let second = client.create_deployment(new).await.expect("sound");
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_deletion_requires_the_expected_version_if_there_is_one() {
    let serving = Serving::start().await;
    let client = serving.client();
    fleet(&client, "a", 0).await;
    let key = Key::new(Kind::Template, "a").expect("an id");
    let record = client.get(&key, Want::ROW).await.expect("it is there");
    let read = record.entity.version;
    let other = Version(read.0 + 1);
    let refused = client.delete_at(&key, other).await;
    let error = refused.expect_err("it has another version");
    let named = matches!(&error, Error::Conflict(keys) if keys[..] == [key.clone()]);
    assert!(named, "{error:?}");
    let deleted = client.delete_at(&key, read).await;
    deleted.expect("it has this version");
    fleet(&client, "a", 0).await;
    client.delete(&key).await.expect("any version will do");
}

#[tokio::test]
async fn the_server_describes_itself() {
    let serving = Serving::start().await;
    let about = serving.client().server().await.expect("an answer");
    assert_eq!(
        (about.name.as_str(), about.backend.as_str(), about.insecure),
        ("tko", "memory", false)
    );
    assert_eq!(about.addresses.len(), 2);
    assert_eq!(about.addresses[0], serving.address.to_string());
}

#[tokio::test]
async fn a_server_on_loopback_reports_another_interface_that_is_open() {
    let mut settings = ServerSettings::default();
    settings.reports_insecure = true;
    let serving = Serving::with(settings, Access::default()).await;
    let about = serving.client().server().await.expect("an answer");
    assert!(about.insecure);
}

#[tokio::test]
async fn invalid_server_addresses_are_bad_arguments() {
    for server in ["", "http://", "ftp://a:1", "a b", "http:///x"] {
        let error = Client::new(ClientSettings::new(server))
            .err()
            .expect(server);
        assert!(
            matches!(error, tko_core::Error::BadArgument { .. }),
            "{server:?}: {error:?}"
        );
    }
    for server in ["[::1]:1", "localhost:50050", "http://127.0.0.1:1"] {
        assert!(
            Client::new(ClientSettings::new(server)).is_ok(),
            "{server:?}"
        );
    }
}

#[tokio::test]
async fn a_streamed_listing_equals_one_read_page_by_page() {
    let serving = Serving::start().await;
    let client = Arc::new(serving.client());
    let ids = fleet(&*client, "a", 2_345).await;
    let list = |kind, after: Option<&String>, limit| {
        List::new(Select::all(kind))
            .after(after.map(|id| Cursor(Key::new(kind, id).expect("an id"))))
            .limit(limit)
    };
    for (after, limit, count) in [(None, 0, 3), (None, 100, 24), (Some(&ids[2_343]), 1, 1)] {
        let pages = client.clone().pages(list(Kind::Deployment, after, limit));
        let pages: Vec<_> = pages.collect().await;
        let pages: Vec<_> = pages.into_iter().map(|p| p.expect("a page")).collect();
        let read = pages.iter().flat_map(|page| &page.items);
        let read: Vec<_> = read.map(|r| r.entity.key.id().to_owned()).collect();
        let from = after.map_or(0, |_| 2_344);
        assert_eq!(read, ids[from..]);
        assert!(pages.len() >= count, "in pages of {limit}");
        let most = if limit == 0 { 1_000 } else { limit };
        assert!(pages.iter().all(|page| page.items.len() <= most));
        let ends = pages.iter().filter(|page| page.next.is_none());
        assert_eq!(ends.count(), 1, "the last alone is the end");
    }
    let nothing: Vec<_> = client
        .clone()
        .pages(list(Kind::Site, None, 0))
        .collect()
        .await;
    assert_eq!(nothing.len(), 1, "one page says that there is nothing");
    let page = nothing[0].as_ref().expect("a page");
    assert!(page.items.is_empty() && page.next.is_none());
    serving.stop().await.expect("it ends");
    let mut pages = client.pages(list(Kind::Deployment, None, 0));
    let refused = pages.next().await.expect("an answer");
    assert!(refused.is_err(), "nobody answers");
    assert!(pages.next().await.is_none(), "an error is the end");
}

/// O2: fields that a program forgot to set never mean everything. The client says so by itself.
#[tokio::test]
async fn o2_a_selection_without_filter_changes_nothing_unless_all_is_meant() {
    let serving = Serving::start().await;
    let client = serving.client();
    fleet(&client, "a", 2).await;
    let mut data = DataClient::new(serving.channel());
    // `deleting` only adds entities, so it is not a filter.
    for deleting in [false, true] {
        let select = wire::Select {
            kind: wire::Kind::Deployment.into(),
            deleting,
            ..Default::default()
        };
        let request = wire::PurgeRequest {
            select: Some(select.clone()),
            all: false,
        };
        let refused = data.purge(request).await.expect_err("no filter");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("delete every deployment"));
        let request = wire::ApproveRequest {
            select: Some(select),
            all: false,
        };
        let refused = data.approve(request).await.expect_err("no filter");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let all = Select::all(Kind::Deployment);
    let found = client.count(&all, 10, Want::ROW).await.expect("a count");
    assert_eq!(found.found, 2);
    client.approve(&all).await.expect("all are meant");
    let bulk = client.purge(&all).await.expect("all are meant");
    assert_eq!(bulk.done, 2);
}
