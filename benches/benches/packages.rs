//! Packages alone: decoding and encoding each format, merging, validating.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tko_benches::example;
use tko_core::merge::merge;
use tko_core::{Admission, Dialect, Format, Limits, Package};
use tko_validate::{SchemaValidator, Validation};

fn encodings(c: &mut Criterion) {
    let package = example("upf");
    for (name, format) in [
        ("yaml", Format::Yaml),
        ("json", Format::Json),
        ("cbor", Format::Cbor),
    ] {
        let bytes = package.encode(format);
        let mut group = c.benchmark_group(format!("package/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("decode", |b| {
            b.iter(|| {
                Package::decode(
                    black_box(&bytes),
                    format,
                    Dialect::Programs,
                    &Limits::default(),
                )
                .expect("just encoded")
            });
        });
        group.bench_function("encode", |b| b.iter(|| black_box(&package).encode(format)));
        group.finish();
    }
}

fn merging(c: &mut Criterion) {
    let (template, over) = (example("upf"), example("smf"));
    c.bench_function("package/merge", |b| {
        b.iter(|| merge(black_box(&template), black_box(&over)).expect("merges"));
    });
}

fn validating(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let validation = Validation::new(Arc::new(
        SchemaValidator::builder().build().expect("built in"),
    ));
    let bytes = example("upf").encode(Format::Cbor);
    let decode = || {
        Package::decode(&bytes, Format::Cbor, Dialect::Programs, &Limits::default())
            .expect("just encoded")
    };
    let mut group = c.benchmark_group("validate");
    group.bench_function("seen before", |b| {
        let package = decode();
        b.to_async(&runtime).iter(|| async {
            let found = validation.admit(&package, false).await.expect("judged");
            assert!(found.is_empty());
        });
    });
    group.bench_function("new content", |b| {
        let mut number = 0_u64;
        b.to_async(&runtime).iter_batched(
            || {
                number += 1;
                let number = number.to_string();
                let package = decode();
                let changed = package
                    .iter()
                    .map(|resource| Arc::new(resource.annotated("example.com/number", &number)));
                Package::new(changed.collect()).expect("as many")
            },
            |package| {
                let validation = &validation;
                async move {
                    let found = validation.admit(&package, false).await.expect("judged");
                    assert!(found.is_empty());
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = encodings, merging, validating
}
criterion_main!(benches);
