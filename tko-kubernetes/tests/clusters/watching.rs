//! The whole way: a store, a controller, the scheduler, and a cluster that others change.

use crate::world::{World, map, workload};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, Condition, DataApi, DeploymentId, Key, NewDeployment, NewSite, Package, Registry,
    Result, SiteId, Store, Violation, Want, WorkerApi,
};
use tko_kubernetes::KubernetesScheduler;
use tko_scheduler::{ScheduleController, ScheduleSettings};
use tko_worker::CancellationToken;

const PATIENCE: Duration = Duration::from_mins(1);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

async fn ready_of(data: &dyn DataApi, key: &Key) -> Option<Condition> {
    let record = data.get(key, Want::ROW).await.expect("it exists");
    record.entity.condition("Ready").cloned()
}

/// Waits until `Ready` of an entity has this reason.
async fn until_ready_is(data: &dyn DataApi, key: &Key, reason: &str) -> Condition {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = ready_of(data, key).await;
        if let Some(found) = found.clone().filter(|found| found.reason == reason) {
            return found;
        }
        assert!(Instant::now() < until, "{key}: {found:?}, not {reason}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until a field of an object has this value; returns how long that took.
async fn until_field_is(world: &World, object: &str, path: &str, value: &str) -> Duration {
    let start = Instant::now();
    loop {
        let found = world.object(object).await;
        let field = found.as_ref().and_then(|found| found.pointer(path));
        if field.is_some_and(|field| field == value) {
            return start.elapsed();
        }
        assert!(start.elapsed() < PATIENCE, "{object}: {found:?}");
        tokio::time::sleep(LOOK).await;
    }
}

async fn deployment(data: &dyn DataApi, site: &SiteId, resources: Vec<serde_json::Value>) -> Key {
    let new = NewDeployment::new()
        .site(site.clone())
        .merge(Package::from_values(resources).expect("a package"))
        .prepared(true)
        .approved(true);
    let id: DeploymentId = data.create_deployment(new).await.expect("created");
    Key::Deployment(id)
}

/// Without any resync, so nothing but a watch sees what others do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn drift_and_health_are_seen_within_seconds_and_each_deployment_has_its_own_state() {
    let world = World::start().await;
    let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
    let store = Store::new(
        Arc::new(memory),
        Arc::new(AdmitAll),
        Arc::new(TimeOrderedIds),
    );
    let data: Arc<dyn WorkerApi> = Arc::new(store);
    let scheduler =
        KubernetesScheduler::new(world.settings().with_corrections(100).with_watches(64))
            .with_watches(data.clone());
    let counters = scheduler.counters();
    let registry = Arc::new(scheduler).add_to(Registry::new());
    let stop = CancellationToken::new();
    let controller = ScheduleController::new(data.clone())
        .with_registry(registry)
        .with_settings(ScheduleSettings::default().with_resync(Duration::ZERO));
    let running = tokio::spawn(controller.run(stop.clone()));

    let site = SiteId::new("a").expect("an id");
    let cluster = json!({
        "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
        "metadata": {"name": "cluster"}, "spec": {"kubeconfig": {"file": "admin.yaml"}},
    });
    let package = Package::from_values([cluster]).expect("a package");
    data.register_site(NewSite::new(site.clone(), package))
        .await
        .expect("registered");
    let mut labelled = map(None, "settings", "1");
    labelled["metadata"]["labels"] = json!({"tier": "1"});
    let settings = deployment(&*data, &site, vec![labelled]).await;
    let work = deployment(&*data, &site, vec![workload("smf")]).await;

    // Each deployment says how its own objects are.
    until_ready_is(&*data, &settings, "Ready").await;
    let waiting = until_ready_is(&*data, &work, "Progressing").await;
    assert!(
        waiting.message.contains("Deployment.apps default/smf"),
        "{}",
        waiting.message
    );

    // What runs is seen when the cluster says so.
    let status = json!({"status": {
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
        "availableReplicas": 2,
    }});
    let patch = format!("patch deployment smf --subresource=status --type=merge -p {status}");
    let start = Instant::now();
    world.kubectl(&patch, "").await;
    until_ready_is(&*data, &work, "Ready").await;
    println!("health is seen after {:?}", start.elapsed());

    // Somebody removes a field, and deletes an object.
    let mut times = Vec::new();
    for _ in 0..5 {
        world.kubectl("label configmap settings tier-", "").await;
        times
            .push(until_field_is(&world, "configmap settings", "/metadata/labels/tier", "1").await);
        world.kubectl("delete configmap settings", "").await;
        times
            .push(until_field_is(&world, "configmap settings", "/metadata/labels/tier", "1").await);
    }
    println!("drift is healed after {times:?}");
    until_ready_is(&*data, &settings, "Ready").await;

    // The scheduler's own writes keep nothing busy.
    let until = Instant::now() + PATIENCE;
    let mut before = counters.totals();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = counters.totals();
        if now == before {
            break;
        }
        before = now;
        assert!(Instant::now() < until, "it never comes to rest: {now:?}");
    }
    println!("{before:?}");
    assert!(before.watches >= 2, "{before:?}");

    // What is deleted leaves, and is not brought back by its own deletion.
    data.delete(&settings).await.expect("deleted");
    let until = Instant::now() + PATIENCE;
    while world.object("configmap settings").await.is_some() {
        assert!(Instant::now() < until, "it is still there");
        tokio::time::sleep(LOOK).await;
    }
    stop.cancel();
    running.await.expect("no panic").expect("it ends well");
}
