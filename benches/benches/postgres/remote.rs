//! The same jobs through a gRPC server, a separate process on loopback, with a real client.

use super::backend::World;
use super::jobs;
use super::pages::ROUNDS;
use super::raw::{self, TIME};
use super::report::{Bar, Report};
use super::role::{self, Process, Role};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_benches::sample::{fresh, metadata, own, template};
use tko_benches::speed::{CALLERS, Inputs, Speed, in_turn, speed};
use tko_core::{DataApi, Event, Kind, List, NewDeployment, Package, Pattern, Select, Watch};
use tko_grpc::client::{Client, ClientSettings};

const CREATE: &str = "gRPC: create, 8 callers";

/// The selections that are listed.
fn selects() -> [(&'static str, Select); 2] {
    let all = Select::all(Kind::Deployment);
    let mut label = all.clone();
    let value = Pattern::value("r007").expect("a pattern");
    label.metadata.insert("rack".to_owned(), value);
    [
        ("gRPC: page of 100, first", all),
        ("gRPC: page of 100, label, 1 of 1,000", label),
    ]
}

/// Measures the jobs of the backend through gRPC, and the backend again for comparison.
pub(crate) async fn measure(world: &World, report: &mut Report) {
    let server = Process::start(Role::Data, &world.url, Duration::ZERO, false).await;
    let client = Client::new(ClientSettings::new(&server.told)).expect("a client");
    let client = Arc::new(client);
    let World { backend, pool, .. } = world;
    let of_backend = |alone: &Speed, least| Bar::least("of the backend's", alone.rate(), least);
    let (alone, through) =
        in_turn(raw::CREATES, || jobs::create(backend), || create(&client)).await;
    report.speed(CREATE, &through, Some(of_backend(&alone, 0.5)));
    report.growth(CREATE, 0.8);
    let alone = || jobs::create_in_batches(backend);
    let through = || create_in_batches(&client);
    let (alone, through) = in_turn(raw::CREATES, alone, through).await;
    let bar = of_backend(&alone, 0.5);
    report.speed(
        "gRPC: create in batches of 100, 1 caller",
        &through,
        Some(bar),
    );
    let store = role::store(backend.clone());
    for (name, select) in selects() {
        let alone = page(&store, select.clone()).await;
        let through = page(&*client, select).await;
        report.times(name, through, alone, 3.0);
    }
    let through = || jobs::stream(|list| client.clone().pages(list));
    let (out, stream) = in_turn(raw::STREAMS, || raw::copy_out(pool), through).await;
    let bar = Bar::least("of COPY BINARY", out.rate(), 0.35);
    report.speed("gRPC: stream of all", &stream, Some(bar));
    let news = news(&client).await;
    let through = jobs::lag(backend, news).await;
    let more = Duration::from_millis(10);
    report.lag("gRPC: commit to watcher, 1,000 writes/s", &through, more);
}

/// A creation as users request it: what differs is merged into the template's package.
fn new(number: usize) -> NewDeployment {
    NewDeployment::new()
        .template(template(number))
        .metadata(metadata(number))
        .merge(Package::from_values([own(number)]).expect("a package"))
}

/// Creates one deployment at a time, with several callers.
async fn create(client: &Arc<Client>) -> Speed {
    let prepared = Inputs::new(20_000, || new(fresh(1).start));
    let prepared = &prepared;
    speed(CALLERS, TIME, |_, _| async move {
        let Some(new) = prepared.next() else {
            return 0;
        };
        client.create_deployment(new).await.expect("created");
        1
    })
    .await
}

/// Creates a hundred deployments at a time, with one caller.
async fn create_in_batches(client: &Arc<Client>) -> Speed {
    let prepared = Inputs::new(500, || fresh(100).map(new).collect::<Vec<_>>());
    let prepared = &prepared;
    speed(1, TIME, |_, _| async move {
        let Some(news) = prepared.next() else {
            return 0;
        };
        for made in client.create_deployments(news).await {
            made.expect("created");
        }
        100
    })
    .await
}

/// The median time of a page of a hundred.
async fn page<D: DataApi + ?Sized>(data: &D, select: Select) -> Duration {
    let list = List::new(select).limit(100);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        data.list(&list).await.expect("a page");
        times.push(start.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// Ids of new deployments, from a watch.
async fn news(client: &Arc<Client>) -> BoxStream<'static, String> {
    let head = client.feed_position().await.expect("the head");
    let watch = Watch::new(Select::all(Kind::Deployment), head.revision);
    let put = |event| async {
        match event {
            Ok(Event::Put { record, .. }) => Some(record.entity.key.id().to_owned()),
            Ok(_) => None,
            Err(error) => panic!("the watch goes on: {error}"),
        }
    };
    client.watch(watch).filter_map(put).boxed()
}
