//! Preparing a placement of ten thousand sites: one deployment becomes ten thousand.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tko_benches::{clock, example, fill_sites};
use tko_core::{
    Backend, DataApi, Dialect, Event, Expect, Format, Key, Kind, Limits, Metadata, NewDeployment,
    NewTemplate, Package, Revision, Select, Store, Want, Watch,
};
use tko_preparer::PrepareController;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const SITES: usize = 10_000;

const TOPOLOGY: &str = "
apiVersion: topology.nephio.org/v1alpha1
kind: Template
metadata: {name: upf}
spec: {templateId: upf}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Sites
metadata: {name: all}
spec: {select: {metadata: {Site.region: '*'}}}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Placement
metadata: {name: placement}
spec: {templates: [{template: upf, sites: [all]}]}
";

async fn prepared_fleet() -> Store<dyn Backend> {
    let store = tko_benches::store(&clock());
    fill_sites(&store, SITES).await;
    let topology = Package::decode(
        TOPOLOGY.as_bytes(),
        Format::Yaml,
        Dialect::People,
        &Limits::default(),
    );
    for (id, package) in [
        ("upf", example("upf")),
        ("topology", topology.expect("YAML")),
    ] {
        let new = NewTemplate::new(id.parse().expect("an id"), package).expect(Expect::Absent);
        store.register_template(new).await.expect("valid");
    }
    store
}

/// Measures from the creation of the topology until it is prepared, when all children exist.
async fn place(store: Store<dyn Backend>) {
    let new = NewDeployment::new().template("topology".parse().expect("an id"));
    let id = store.create_deployment(new).await.expect("valid");
    let mut events = store.watch(Watch::new(
        Select::all(Kind::Deployment).prepared(true),
        Revision::default(),
    ));
    let stop = CancellationToken::new();
    let preparing = PrepareController::new(Arc::new(store.clone())).with_clock(clock());
    let running = tokio::spawn(preparing.run(stop.clone()));
    let key = Key::from(&id);
    while let Some(event) = events.next().await {
        if let Event::Put { record, .. } = event.expect("the feed goes on")
            && record.entity.key == key
        {
            break;
        }
    }
    stop.cancel();
    running.await.expect("no panic").expect("ends well");
    let children = Select::all(Kind::Deployment).parent(id);
    let count = store
        .count(&children, 2 * SITES as u64, Want::ROW)
        .await
        .expect("a count");
    assert_eq!(count.found, SITES as u64);
}

fn placement(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    c.bench_function("placement/10000 sites", |b| {
        b.to_async(&runtime).iter_batched(
            || {
                std::thread::scope(|scope| {
                    // This thread has already entered the runtime of the measurement.
                    let made = scope.spawn(|| {
                        Runtime::new()
                            .expect("a runtime")
                            .block_on(prepared_fleet())
                    });
                    made.join().expect("made")
                })
            },
            place,
            BatchSize::PerIteration,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(10));
    targets = placement
}
criterion_main!(benches);
