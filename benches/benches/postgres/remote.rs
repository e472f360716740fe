//! The same jobs through a gRPC server with a real client, both on loopback.

use super::fleet::{metadata, own, template};
use super::jobs::{ROUNDS, fresh};
use super::raw::{CALLERS, TIME, rate};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Backend, Data, Event, Kind, List, NewDeployment, Package, Pattern, Select, Store, Want, Watch,
};
use tko_grpc::client::{Client, Settings};
use tko_grpc::server::{Listen, Server, Sockets};
use tko_validate::{SchemaValidator, Validation};
use tokio_util::sync::CancellationToken;

/// Validates, as that of `tko data start`.
pub(crate) fn store(backend: &Arc<dyn Backend>) -> Store<dyn Backend> {
    let schemas = SchemaValidator::builder().build().expect("built in");
    let validation = Validation::new(Arc::new(schemas));
    Store::new(
        backend.clone(),
        Arc::new(validation),
        Arc::new(TimeOrderedIds),
    )
}

/// What is listed.
pub(crate) fn selects() -> [(&'static str, Select); 2] {
    let all = Select::all(Kind::Deployment);
    let mut label = all.clone();
    let value = Pattern::value("r007").expect("a pattern");
    label.metadata.insert("rack".to_owned(), value);
    [
        ("gRPC: page of 100, first", all),
        ("gRPC: page of 100, label, 1 of 1,000", label),
    ]
}

/// A server until the token is cancelled; a client.
pub(crate) async fn serve(backend: &Arc<dyn Backend>) -> (Arc<Client>, CancellationToken) {
    let store = store(backend);
    let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
    let settings = Settings::new(sockets.addresses()[0].to_string());
    let shutdown = CancellationToken::new();
    tokio::spawn(Server::new(Arc::new(store)).serve(sockets, shutdown.clone()));
    (Arc::new(Client::new(settings).expect("a client")), shutdown)
}

/// As people ask for it: what is its own is merged into the template's package.
pub(crate) fn new(number: usize) -> NewDeployment {
    NewDeployment {
        template: Some(template(number)),
        metadata: metadata(number),
        merge: Package::from_values([own(number)]).expect("a package"),
        ..NewDeployment::default()
    }
}

/// One at a time.
pub(crate) async fn create(client: &Arc<Client>) -> f64 {
    rate(CALLERS, 1, |_, _| async move {
        for number in fresh(1) {
            let made = client.create_deployment(new(number)).await;
            made.expect("created");
        }
    })
    .await
}

/// A hundred at a time.
pub(crate) async fn create_in_batches(client: &Arc<Client>) -> f64 {
    let batch = |numbers: Range<usize>| numbers.map(new).collect::<Vec<_>>();
    let batches: Vec<_> = (0..500).map(|_| batch(fresh(100))).collect();
    let start = Instant::now();
    let mut count = 0.0;
    for batch in batches {
        for made in client.create_deployments(batch).await {
            made.expect("created");
            count += 1.0;
        }
        if start.elapsed() > TIME {
            break;
        }
    }
    count / start.elapsed().as_secs_f64()
}

/// The median of a page of a hundred, of this.
pub(crate) async fn page<D: Data + ?Sized>(data: &D, select: Select) -> Duration {
    let list = List {
        select,
        after: None,
        limit: 100,
        want: Want::ROW,
    };
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        data.list(&list).await.expect("a page");
        times.push(start.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// Ids of deployments that are new, as a watcher is told.
pub(crate) async fn news(client: &Arc<Client>) -> BoxStream<'static, String> {
    let head = client.head().await.expect("the head");
    let watch = Watch {
        select: Select::all(Kind::Deployment),
        after: head.revision,
        package: false,
    };
    let put = |event| async {
        match event {
            Ok(Event::Put { record, .. }) => Some(record.entity.key.id().to_owned()),
            Ok(_) => None,
            Err(error) => panic!("the watch goes on: {error}"),
        }
    };
    client.watch(watch).filter_map(put).boxed()
}
