//! A tracked topology on PostgreSQL, with a preparer.

use crate::harness::Harness;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_conformance::{AdmitAll, BackendHarness};
use tko_core::system::TimeOrderedIds;
use tko_core::{
    Backend, DataApi, DeploymentId, Key, Kind, NewDeployment, NewSite, NewTemplate, Package,
    Select, SiteId, Store, TemplateId, Want,
};
use tko_preparer::PrepareController;
use tko_worker::CancellationToken;

/// The sites and templates: more children than one step can make.
const SITES: usize = 60;
const TEMPLATES: usize = 10;

fn topology(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "topology.nephio.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
}

async fn register_site(store: &Store<dyn Backend>, number: usize) {
    let id = SiteId::new(&format!("edge/{number:03}")).expect("an id");
    let new = NewSite::new(id, Package::default())
        .metadata(tko_core::Metadata::from_iter([("role", "edge")]));
    store.register_site(new).await.expect("a valid site");
}

async fn children(store: &Store<dyn Backend>, parent: &DeploymentId) -> u64 {
    let select = Select::all(Kind::Deployment).parent(parent.clone());
    let count = store.count(&select, 100_000, Want::ROW).await;
    count.expect("counted").found
}

/// Waits until all children are on their sites, so that deleting them takes the scheduler.
async fn until_placed(store: &Store<dyn Backend>, parent: &DeploymentId, wanted: u64) {
    let start = Instant::now();
    loop {
        let mut list = tko_core::List::new(Select::all(Kind::Deployment).parent(parent.clone()));
        let mut placed = 0;
        loop {
            let page = store.list(&list).await.expect("listed");
            let deployments = page.items.iter().filter_map(|r| r.entity.deployment());
            placed += deployments.filter(|d| d.placed.is_some()).count();
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        if u64::try_from(placed).expect("it fits") == wanted {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{placed} are placed"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until(store: &Store<dyn Backend>, parent: &DeploymentId, wanted: u64) {
    let start = Instant::now();
    while children(store, parent).await != wanted {
        if start.elapsed() > Duration::from_mins(1) {
            let want = Want::ROW.with_work();
            let parent_row = store.get(&Key::from(parent), want).await.expect("it stays");
            panic!(
                "{} of {wanted} children: {:?} {:?}",
                children(store, parent).await,
                parent_row.entity.conditions,
                parent_row.work
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// O1: children that are purged are made again with the next site, no matter how many they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_children_of_a_tracked_topology_are_made_again() {
    let harness = Harness::default();
    let backend = harness.fresh(1_000_000).await;
    let store = Arc::new(Store::new(
        backend,
        Arc::new(AdmitAll),
        Arc::new(TimeOrderedIds),
    ));
    let shutdown = CancellationToken::new();
    let preparer = PrepareController::new(store.clone());
    let running = tokio::spawn(preparer.run(shutdown.clone()));
    let folder = tempfile::tempdir().expect("a folder");
    let everywhere: Arc<dyn tko_core::Scheduler> =
        Arc::new(tko_scheduler::manifests::Manifests::directory(folder.path()).with_sync(false));
    let registry = tko_core::Registry::new().with_everywhere("manifests", everywhere);
    let scheduler = tko_scheduler::ScheduleController::new(store.clone()).with_registry(registry);
    let scheduling = tokio::spawn(scheduler.run(shutdown.clone()));
    let deletions = tko_worker::DeletionController::new((*store).clone());
    let deleting = tokio::spawn(deletions.run(shutdown.clone()));
    let mut resources = vec![topology(
        "Sites",
        "edges",
        &json!({"select": {"metadata": {"role": "edge"}}}),
    )];
    let mut entries = Vec::new();
    for number in 0..TEMPLATES {
        let id = TemplateId::new(&format!("t{number}")).expect("an id");
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("c{number}")}, "data": {"a": "b"},
        });
        let package = Package::from_values(vec![config]).expect("a package");
        let new = NewTemplate::new(id.clone(), package);
        store.register_template(new).await.expect("valid");
        let name = format!("t{number}");
        resources.push(topology(
            "Template",
            &name,
            &json!({"templateId": id.as_str()}),
        ));
        entries.push(json!({"template": name, "sites": ["edges"]}));
    }
    resources.push(topology(
        "Placement",
        "p",
        &json!({"templates": entries, "track": "Continuous"}),
    ));
    for number in 0..SITES {
        register_site(&store, number).await;
    }
    let merge = Package::from_values(resources).expect("a package");
    let parent = store
        .create_deployment(NewDeployment::new().merge(merge))
        .await
        .expect("valid");
    let all = u64::try_from(SITES * TEMPLATES).expect("it fits");
    until(&store, &parent, all).await;
    until_placed(&store, &parent, all).await;
    let select = Select::all(Kind::Deployment).parent(parent.clone());
    store.purge(&select).await.expect("purged");
    register_site(&store, SITES).await;
    until(&store, &parent, all + 10).await;
    shutdown.cancel();
    deleting.await.expect("no panic").expect("it ends well");
    scheduling.await.expect("no panic").expect("it ends well");
    running.await.expect("no panic").expect("it ends well");
}
