//! Preparing large topologies: a placement of ten thousand sites, which makes ten thousand
//! deployments of one; and packages with many resources to prepare, whose time must be proportional
//! to their number.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tko_benches::{clock, example, fill_sites, site};
use tko_core::{
    Backend, DataApi, Dialect, Event, Expect, Format, Key, Kind, Limits, NewDeployment,
    NewTemplate, Package, Revision, Select, Store, Want, Watch,
};
use tko_preparer::PrepareController;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const SITES: usize = 10_000;

/// Numbers of resources to prepare in one package, without deployments that they make.
const RESOURCES: [usize; 3] = [250, 1_000, 4_000];

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

fn topology() -> Package {
    let text = TOPOLOGY.as_bytes();
    let decoded = Package::decode(text, Format::Yaml, Dialect::People, &Limits::default());
    decoded.expect("YAML")
}

/// A resource `Site` for each of so many sites.
fn site_resources(count: usize) -> Package {
    let sites = (0..count).map(|number| {
        serde_json::json!({
            "apiVersion": "topology.nephio.org/v1alpha1",
            "kind": "Site",
            "metadata": {"name": format!("site-{number}")},
            "spec": {"siteId": site(number).as_str()},
        })
    });
    Package::from_values(sites).expect("a package")
}

/// A store with so many sites, and with this package as the template `topology`.
async fn prepared_store(sites: usize, topology: Package) -> Store<dyn Backend> {
    let store = tko_benches::store(&clock());
    fill_sites(&store, sites).await;
    for (id, package) in [("upf", example("upf")), ("topology", topology)] {
        let new = NewTemplate::new(id.parse().expect("an id"), package).expect(Expect::Absent);
        store.register_template(new).await.expect("valid");
    }
    store
}

/// Measures from the creation of the topology until it is prepared, when so many children exist.
async fn prepare(store: Store<dyn Backend>, children: usize) {
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
    let of_parent = Select::all(Kind::Deployment).parent(id);
    let count = store
        .count(&of_parent, 2 * SITES as u64, Want::ROW)
        .await
        .expect("a count");
    assert_eq!(count.found, children as u64);
}

fn measure(
    c: &mut Criterion,
    name: &str,
    sites: usize,
    topology: fn(usize) -> Package,
    children: usize,
) {
    let runtime = Runtime::new().expect("a runtime");
    c.bench_function(name, |b| {
        b.to_async(&runtime).iter_batched(
            || {
                std::thread::scope(|scope| {
                    // This thread has already entered the runtime of the measurement.
                    let made = scope.spawn(|| {
                        Runtime::new()
                            .expect("a runtime")
                            .block_on(prepared_store(sites, topology(sites)))
                    });
                    made.join().expect("made")
                })
            },
            |store| prepare(store, children),
            BatchSize::PerIteration,
        );
    });
}

fn placement(c: &mut Criterion) {
    measure(c, "placement/10000 sites", SITES, |_| topology(), SITES);
}

fn resources(c: &mut Criterion) {
    for count in RESOURCES {
        let name = format!("preparation/{count} resources");
        measure(c, &name, count, site_resources, 0);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(10));
    targets = placement, resources
}
criterion_main!(benches);
