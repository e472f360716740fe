//! Deployments as a store keeps them: five metadata, one of them unique, and a package of 2 KB, a
//! twentieth of it unique.

use crate::progress;
use futures_util::StreamExt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Ack, Backend, Change, ChangeSet, Enqueue, Facts, Generation, Ids, Key, Lane, Metadata, Package,
    Put, Require, Stage, TemplateId, deployment_resource,
};

/// Number of templates; each has the same share of the deployments.
pub const TEMPLATES: usize = 200;

/// Number of deployments in each change set of `load`.
const BATCH: usize = 500;

/// The id of a deployment's template, by the number of the deployment.
///
/// # Panics
/// Never: the id is well formed.
pub fn template(number: usize) -> TemplateId {
    format!("nf/upf:v{:03}", number % TEMPLATES)
        .parse()
        .expect("an id")
}

/// The metadata of a deployment: five keys, of which `serial` is unique.
pub fn metadata(number: usize) -> Metadata {
    Metadata::from_iter([
        ("serial", number.to_string()),
        ("rack", format!("r{:03}", number % 1_000)),
        ("slot", format!("s{:03}", number % 200)),
        ("tier", (number % 3).to_string()),
        ("region", format!("GDC-{:02}", number % 50)),
    ])
}

/// The next unused number of a deployment; those that [`load`] creates are far below.
static NEXT: AtomicUsize = AtomicUsize::new(100_000_000);

/// Numbers of deployments that nothing has used yet.
pub fn fresh(count: usize) -> Range<usize> {
    let start = NEXT.fetch_add(count, Ordering::Relaxed);
    start..start + count
}

fn config(name: &str, text: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "core"},
        "data": {"config": text},
    })
}

/// A resource that differs between any two deployments.
pub fn own(number: usize) -> serde_json::Value {
    let filler = "x".repeat(60);
    let text = format!("serial-{number:08}; node-{}; {filler}", number * 7);
    config("own", &text)
}

fn package(number: usize) -> Package {
    let shared = |name: &str, part: usize| {
        let line = |line: usize| format!("option-{part}-{line}: value {}", part * 31 + line * 17);
        config(name, &(0..12).map(line).collect::<Vec<_>>().join("\n"))
    };
    Package::from_values([
        shared("first", number % TEMPLATES),
        shared("second", 2),
        shared("third", 3),
        shared("fourth", 4),
        own(number),
    ])
    .expect("a package")
}

/// The templates.
///
/// # Panics
/// If the backend refuses them.
pub async fn templates(backend: &Arc<dyn Backend>) {
    for number in 0..TEMPLATES {
        let put = Put::new(Key::Template(template(number)))
            .facts(Facts::Template)
            .body(package(number));
        let set = ChangeSet::new()
            .require(Require::Absent(put.key.clone()))
            .put(put);
        backend.commit(set, Ack::Durable).await.expect("a template");
    }
}

/// A set that creates these, as `Store` makes it: of a template, due to be prepared.
///
/// # Panics
/// Never: the packages are well formed.
pub fn creations(numbers: Range<usize>) -> ChangeSet {
    let mut set = ChangeSet::default();
    let mut templates = std::collections::BTreeSet::new();
    for number in numbers {
        let id = TimeOrderedIds.next();
        let template = template(number);
        let asked = deployment_resource::asked(Some(&template), None, false, false);
        let whole = package(number).with(Arc::new(asked));
        let split = deployment_resource::split(&whole).expect("it has a Deployment resource");
        let key = Key::Deployment(id);
        set.require.push(Require::Absent(key.clone()));
        if templates.insert(template.clone()) {
            let key = Key::Template(template.clone());
            set.require.push(Require::Generation(key, Generation(1)));
        }
        set.enqueue.push(Enqueue::now(
            Stage::Prepare,
            key.clone(),
            Lane::of(template.as_str()),
        ));
        set.changes.push(Change::Put(
            Put::new(key)
                .metadata(metadata(number))
                .facts(Facts::Deployment(Box::new(
                    tko_core::Deployment::new(split.resource).template(template),
                )))
                .body(split.body),
        ));
    }
    set
}

/// Creates these, with two callers.
///
/// # Panics
/// If the backend refuses them.
pub async fn load(backend: &Arc<dyn Backend>, numbers: Range<usize>) {
    let bar = &progress("deployments loaded", numbers.len());
    futures_util::stream::iter(numbers.clone().step_by(BATCH))
        .for_each_concurrent(2, |start| {
            let end = numbers.end.min(start + BATCH);
            async move {
                let set = creations(start..end);
                backend.commit(set, Ack::Durable).await.expect("created");
                bar.inc((end - start) as u64);
            }
        })
        .await;
    bar.finish_and_clear();
}
