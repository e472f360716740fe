//! Malformed, hostile and oversized requests.

use crate::serving::{Serving, fleet};
use prost_types::Duration;
use tko_core::{DataApi, Key, Kind, List, Select, TemplateId, Want, WorkerApi};
use tko_grpc::client;
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::controller_client::ControllerClient;
use tko_grpc::proto::v1alpha2::data_client::DataClient;
use tko_grpc::proto::{self};
use tko_grpc::server::{Access, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};

/// Time limit for something that ends at once.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>) {
    let status = answer.expect_err(what);
    assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
    assert!(!status.message().is_empty(), "{what}");
}

#[tokio::test]
async fn malformed_requests_are_bad_arguments() {
    let serving = Serving::start().await;
    let mut data = DataClient::new(serving.channel());
    let mut controller = ControllerClient::new(serving.channel());
    let ids = fleet(&serving.client(), "a", 1).await;

    refused("no key", data.get(wire::GetRequest::default()).await);
    let strange = wire::Key {
        kind: 77,
        id: "a".to_owned(),
    };
    let request = wire::GetRequest {
        key: Some(strange),
        want: None,
    };
    refused("an unknown kind", data.get(request).await);
    let select = wire::Select {
        kind: wire::Kind::Site.into(),
        plugin_type: -3,
        ..Default::default()
    };
    let request = wire::CountRequest {
        select: Some(select.clone()),
        bound: u64::MAX,
        want: None,
    };
    refused("an unknown plugin type", data.count(request).await);
    let request = wire::ListRequest {
        select: Some(wire::Select {
            plugin_type: 0,
            ids: vec!["x\\".to_owned()],
            ..select
        }),
        ..Default::default()
    };
    refused("a broken pattern", data.list(request).await);
    let template = wire::NewTemplate {
        id: "b".to_owned(),
        package: Some(u32::MAX),
        ..Default::default()
    };
    let request = wire::RegisterTemplateRequest {
        packages: Vec::new(),
        template: Some(template),
    };
    refused(
        "a place beyond the table",
        data.register_template(request).await,
    );
    for (ttl, what) in [
        (
            Duration {
                seconds: i64::MAX,
                nanos: 0,
            },
            "an endless ttl",
        ),
        (
            Duration {
                seconds: -1,
                nanos: 0,
            },
            "a negative ttl",
        ),
        (
            Duration {
                seconds: 1,
                nanos: i32::MAX,
            },
            "an odd ttl",
        ),
        (
            Duration {
                seconds: 0,
                nanos: 0,
            },
            "no ttl",
        ),
        (
            Duration {
                seconds: 7_200,
                nanos: 0,
            },
            "a ttl over the limit",
        ),
    ] {
        let request = wire::StartModificationRequest {
            deployment: ids[0].clone(),
            ttl: Some(ttl),
        };
        refused(what, data.start_modification(request).await);
    }
    let request = wire::ClaimRequest {
        stage: 9,
        lease: Some(Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..Default::default()
    };
    refused("an unknown stage", controller.claim(request.clone()).await);
    let request = wire::ClaimRequest {
        stage: wire::Stage::Prepare.into(),
        lease: None,
        ..request
    };
    refused("no lease", controller.claim(request).await);
    let request = wire::RenewRequest {
        tokens: vec!["rubbish".to_owned()],
        ttl: Some(Duration {
            seconds: 1,
            nanos: 0,
        }),
    };
    refused("no token", controller.renew(request).await);
    let request = wire::WakeRequest {
        marks: vec![wire::Mark {
            stage: wire::Stage::Prepare.into(),
            key: None,
            lane: 99,
            after: None,
        }],
    };
    refused("a mark of nothing", controller.wake(request).await);
    let request = wire::CommitPreparedRequest {
        effects: vec![wire::Effect::default(); 501],
        ..Default::default()
    };
    refused(
        "too many effects",
        controller.commit_prepared(request).await,
    );
    let request = wire::CommitPreparedRequest {
        token: "deployment|a|b".to_owned(),
        deployment: ids[0].clone(),
        progress: Some("{".to_owned()),
        ..Default::default()
    };
    refused(
        "progress that is no JSON",
        controller.commit_prepared(request).await,
    );
    let request = tokio_stream::iter([wire::CreateDeploymentsRequest {
        packages: Vec::new(),
        deployments: vec![wire::NewDeployment::default(); 1_001],
    }]);
    let mut answers = data
        .create_deployments(request)
        .await
        .expect("a stream")
        .into_inner();
    refused("too large a batch", answers.message().await);
}

#[tokio::test]
async fn malformed_packages_are_bad_arguments() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    let deep = "[".repeat(100_000);
    for (format, bytes) in [
        ("", &b"kind: A"[..]),
        ("toml", b"a = 1"),
        ("YAML", b"a: 1"),
        ("yaml", b"a: [1"),
        ("yaml", b"\xff\xfe"),
        ("json", b"{}{}"),
        ("json", deep.as_bytes()),
        ("cbor", b"\x9a\xff\xff\xff\xff"),
        ("cbor", b"\x81"),
    ] {
        let request = proto::Template {
            template_id: "a".to_owned(),
            package_format: format.to_owned(),
            package: bytes.to_vec().into(),
            ..Default::default()
        };
        refused(format, client.register_template(request).await);
    }
    let found = client
        .get_template(proto::GetTemplate {
            template_id: "a".to_owned(),
            preferred_package_format: String::new(),
        })
        .await
        .expect_err("nothing was stored");
    assert_eq!(found.code(), Code::NotFound);
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_and_name_it() {
    let mut settings = ServerSettings::default();
    settings.max_message = 100_000;
    let serving = Serving::with(settings, Access::default()).await;
    let mut new = crate::serving::template("a");
    new.metadata.insert("ballast", "x".repeat(200_000));
    let error = serving
        .client()
        .register_template(new)
        .await
        .expect_err("too large");
    assert!(
        matches!(error, tko_core::Error::BadArgument { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("100000"), "{error}");
}

/// A server and a client whose messages have at most 1.5 MB, and templates of 1 MB.
async fn serving_large_templates(count: usize) -> (Serving, client::Client) {
    let mut settings = ServerSettings::default();
    settings.max_message = 1_500_000;
    let serving = Serving::with(settings, Access::default()).await;
    let mut mine = client::ClientSettings::default();
    mine.max_message = 1_500_000;
    let client = serving.client_with(mine);
    for number in 0..count {
        let mut new = crate::serving::template(&format!("t{number}"));
        new.package = crate::serving::package(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{n: '{number}', x: {}}}\n",
            "x".repeat(1_000_000)
        ));
        client
            .register_template(new)
            .await
            .expect("below the limit");
    }
    (serving, client)
}

#[tokio::test]
async fn a_page_of_packages_may_be_larger_than_any_message() {
    let (_serving, client) = serving_large_templates(5).await;
    let list = List::new(Select::all(Kind::Template)).limit(0);
    let page = client.list(&list.want(Want::PACKAGE)).await;
    let page = page.expect("a page of 5 MB");
    assert_eq!(page.items.len(), 5);
    assert!(page.items.iter().all(|record| record.package.is_some()));
}

#[tokio::test]
async fn several_pages_of_packages_may_be_larger_than_any_message() {
    let (_serving, client) = serving_large_templates(2).await;
    let all = List::new(Select::all(Kind::Template)).want(Want::PACKAGE);
    let second = all.clone().after(tko_core::Cursor(template_key("t0")));
    let pages = client.list_all(&[second.clone(), all, second]).await;
    let pages = pages.expect("each page is read");
    let sizes: Vec<usize> = pages.iter().map(|page| page.items.len()).collect();
    assert_eq!(sizes, [1, 2, 1]);
}

#[tokio::test]
async fn a_page_with_packages_has_at_most_a_hundred_records() {
    let serving = Serving::start().await;
    let client = serving.client();
    fleet(&client, "a", 101).await;
    let rows = List::new(Select::all(Kind::Deployment)).limit(0);
    let packages = rows.clone().want(Want::PACKAGE);
    let page = client.list(&rows).await.expect("a page");
    assert_eq!((page.items.len(), page.next), (101, None));
    let page = client.list(&packages).await.expect("a page");
    assert_eq!(page.items.len(), 100);
    assert!(page.next.is_some());
    let rest = client.list(&packages.after(page.next)).await;
    let rest = rest.expect("the last page");
    assert_eq!((rest.items.len(), rest.next), (1, None));
}

/// The server may have to clear the relations of very many entities.
#[tokio::test]
async fn a_deletion_has_the_time_of_a_bulk_call() {
    let serving = Serving::start().await;
    let registered = crate::serving::template("a");
    let client = serving.client();
    client.register_template(registered).await.expect("sound");
    let mut settings = client::ClientSettings::default();
    settings.timeout = std::time::Duration::ZERO;
    settings.tries = 1;
    let hasty = serving.client_with(settings);
    let key = template_key("a");
    let read = hasty.get(&key, Want::ROW).await;
    assert!(read.is_err(), "it has no time: {read:?}");
    hasty.delete(&key).await.expect("it has an hour");
}

fn template_key(id: &str) -> Key {
    Key::from(TemplateId::new(id).expect("an id"))
}

#[tokio::test]
async fn bytes_that_are_not_grpc_end_only_their_connection() {
    let serving = Serving::start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut frame_of_16_mib = preface.to_vec();
    frame_of_16_mib.extend([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);
    let mut no_settings = preface.to_vec();
    no_settings.extend([0x41; 4_096]);
    let mut noise = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..8_192 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        frame_of_16_mib,
        no_settings,
        noise,
    ] {
        let mut stream = TcpStream::connect(serving.address).await.expect("a server");
        // The server may close it before everything is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "it stays open after {:?}", &bytes[..4]);
    }
    serving
        .client()
        .feed_position()
        .await
        .expect("it still serves");
}
