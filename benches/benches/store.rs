//! The store at ten thousand, a hundred thousand and a million deployments. No call may cost more
//! because of entities that it does not return: `cargo xtask growth` compares the sizes.
//!
//! `TKO_BENCH_SIZES=10000` (a list with commas) selects other sizes.
#![allow(missing_docs)]

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_benches::{clock, deployment, example, fill, template};
use tko_core::{
    Ack, Backend, Change, ChangeSet, ClaimRequest, Condition, Cursor, DataApi, Dialect, Format,
    Generation, Key, Kind, Limits, List, Outcome, Package, Pattern, Select, Stage, Store, Want,
    WorkerApi,
};
use tokio::runtime::Runtime;

/// Number of records on a page.
const PAGE: usize = 100;

struct Fleet {
    store: Store<dyn Backend>,
    /// A deployment in the middle, in order of creation.
    middle: Key,
    next: AtomicUsize,
}

fn sizes() -> Vec<usize> {
    let given = std::env::var("TKO_BENCH_SIZES").unwrap_or_default();
    let sizes: Vec<usize> = given
        .split(',')
        .filter_map(|size| size.trim().parse().ok())
        .collect();
    if sizes.is_empty() {
        vec![10_000, 100_000, 1_000_000]
    } else {
        sizes
    }
}

fn list(select: Select, after: Option<Cursor>) -> List {
    List::new(select).after(after).limit(PAGE)
}

async fn fleet(size: usize) -> Fleet {
    let store = tko_benches::store(&clock());
    fill(&store, size).await;
    let middle = Select::all(Kind::Deployment).metadata_patterns(
        [(
            "serial".to_owned(),
            Pattern::literal(&(size / 2).to_string()),
        )]
        .into(),
    );
    let page = store.list(&list(middle, None)).await.expect("a page");
    Fleet {
        middle: page.items[0].entity.key.clone(),
        store,
        next: AtomicUsize::new(size),
    }
}

impl Fleet {
    fn page(&self, b: &mut Bencher<'_>, runtime: &Runtime, request: &List, expect: usize) {
        b.to_async(runtime).iter(|| async {
            let page = self.store.list(request).await.expect("a page");
            assert_eq!(page.items.len(), expect);
        });
    }
}

fn at_size(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for size in sizes() {
        let fleet = runtime.block_on(fleet(size));
        let mut group = c.benchmark_group(format!("store/{size}"));
        group.bench_function("create", |b| {
            b.to_async(&runtime).iter(|| async {
                let number = fleet.next.fetch_add(1, Ordering::Relaxed);
                fleet
                    .store
                    .create_deployment(deployment(number))
                    .await
                    .expect("valid");
            });
        });
        let all = || Select::all(Kind::Deployment);
        let middle = || Some(Cursor(fleet.middle.clone()));
        group.bench_function("first page", |b| {
            fleet.page(b, &runtime, &list(all(), None), PAGE);
        });
        group.bench_function("page in the middle", |b| {
            fleet.page(b, &runtime, &list(all(), middle()), PAGE);
        });
        let by = |key: &str, pattern: Pattern| {
            all().metadata_patterns([(key.to_owned(), pattern)].into())
        };
        group.bench_function("page by metadata, one in four", |b| {
            let select = by("region", Pattern::literal("south"));
            fleet.page(b, &runtime, &list(select, middle()), PAGE);
        });
        group.bench_function("page by metadata, one alone", |b| {
            let select = by("serial", Pattern::literal("4321"));
            fleet.page(b, &runtime, &list(select, None), 1);
        });
        group.bench_function("page by metadata, none", |b| {
            let select = by("region", Pattern::value("nowhere*").expect("a pattern"));
            fleet.page(b, &runtime, &list(select, None), 0);
        });
        group.bench_function("page by template", |b| {
            let select = all().template_id(Pattern::literal(template(7).as_str()));
            // At the smallest size each template has this many deployments.
            let request = list(select, None).limit(50);
            fleet.page(b, &runtime, &request, 50);
        });
        group.bench_function("claim and hand back", |b| {
            let request = ClaimRequest::new(Stage::Prepare, "bench").lease(Duration::from_secs(30));
            b.to_async(&runtime).iter(|| async {
                let claims = fleet.store.claim(&request).await.expect("claims");
                let token = claims.into_iter().next().expect("all are due").token;
                let back = Outcome::Yield {
                    after: Duration::ZERO,
                };
                fleet.store.settle(&[(token, back)]).await.expect("settles");
            });
        });
        group.finish();
    }
}

fn commits(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let clock = clock();
    let memory =
        tko_backend_memory::Memory::new(clock, tko_backend_memory::MemorySettings::default());
    let memory = std::sync::Arc::new(memory);
    let schemas = tko_validate::SchemaValidator::builder()
        .build()
        .expect("built in");
    let validation = tko_validate::Validation::new(std::sync::Arc::new(schemas));
    let store: Store<dyn Backend> = Store::new(
        memory.clone(),
        std::sync::Arc::new(validation),
        std::sync::Arc::new(tko_core::system::TimeOrderedIds),
    );
    runtime.block_on(fill(&store, 10_000));
    let page = runtime
        .block_on(store.list(&list(Select::all(Kind::Deployment), None)))
        .expect("a page");
    let keys: Vec<Key> = page.items.iter().map(|r| r.entity.key.clone()).collect();
    let number = AtomicUsize::new(0);
    c.bench_function("commit/100 conditions", |b| {
        b.to_async(&runtime).iter(|| async {
            let words = number.fetch_add(1, Ordering::Relaxed).to_string();
            let changes = keys.iter().map(|key| {
                let condition = Condition::new("Bench", true, "Bench", &words, Generation(1));
                Change::Conditions(key.clone(), vec![condition])
            });
            let set = ChangeSet::new().changes(changes.collect());
            memory.commit(set, Ack::Durable).await.expect("commits");
        });
    });
}

/// Creating a deployment must cost less than decoding its template's package once.
fn create_or_decode(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let store = tko_benches::store(&clock());
    runtime.block_on(fill(&store, 0));
    let bytes = example("upf").encode(Format::Cbor);
    let mut group = c.benchmark_group("template");
    group.bench_function("decode its package", |b| {
        b.iter(|| {
            Package::decode(&bytes, Format::Cbor, Dialect::Programs, &Limits::default())
                .expect("just encoded")
        });
    });
    let number = AtomicUsize::new(0);
    group.bench_function("create a deployment", |b| {
        b.to_async(&runtime).iter(|| async {
            let number = number.fetch_add(1, Ordering::Relaxed);
            store
                .create_deployment(deployment(number))
                .await
                .expect("valid");
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = create_or_decode, commits, at_size
}
criterion_main!(benches);
