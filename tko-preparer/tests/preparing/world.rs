//! The fixture: a store in virtual time, entities to put into it, and running preparers.

pub(crate) mod random;

use crate::faulty::Faulty;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{Between, Strict, TokioClock};
use tko_core::{
    Backend, Clock, Condition, DataApi, Deployment, DeploymentId, Executor, Ids, Key, Kind, List,
    Metadata, NewDeployment, NewSite, NewTemplate, Package, Preparer, Record, Registry, Result,
    Select, SiteId, Store, TemplateId, Want, WorkerApi,
};
use tko_preparer::{PrepareController, PrepareSettings};
use tko_worker::CancellationToken;
use tokio::task::JoinHandle;
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Counted(AtomicU64);

impl Ids for Counted {
    fn next(&self) -> DeploymentId {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        DeploymentId::new(&format!("{number:012x}")).expect("digits")
    }
}

/// The row, the package, and the work.
pub(crate) const ALL: Want = Want::ROW.with_package().with_work();

pub(crate) struct World {
    pub(crate) backend: Arc<Faulty>,
    pub(crate) store: Arc<Store<dyn Backend>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Counted>,
}

pub(crate) fn world() -> World {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let ids = Arc::new(Counted::default());
    let memory = Memory::new(clock.clone(), MemorySettings::default());
    let faulty = Arc::new(Faulty::new());
    let backend: Arc<dyn Backend> = Arc::new(Between::new(memory, faulty.clone()));
    let store = Store::new(backend, Arc::new(Strict), ids.clone());
    World {
        backend: faulty,
        store: Arc::new(store),
        clock,
        ids,
    }
}

/// A running preparer.
pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<()>>,
}

impl Running {
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = (&mut self.task).await.expect("it does not panic");
        ended.expect("it ends well");
    }
}

/// Dropping it is a crash: nothing is settled.
impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    pub(crate) fn preparing(
        &self,
        registry: Arc<Registry<dyn Preparer>>,
        executors: Vec<Arc<dyn Executor>>,
        settings: PrepareSettings,
    ) -> PrepareController {
        PrepareController::new(self.store.clone() as Arc<dyn WorkerApi>)
            .with_registry(registry)
            .with_executors(executors)
            .with_clock(self.clock.clone())
            .with_ids(self.ids.clone())
            .with_settings(settings)
    }

    pub(crate) fn start_with(
        &self,
        registry: Registry<dyn Preparer>,
        settings: PrepareSettings,
    ) -> Running {
        let shutdown = CancellationToken::new();
        let preparing = self.preparing(Arc::new(registry), Vec::new(), settings);
        Running {
            task: tokio::spawn(preparing.run(shutdown.clone())),
            shutdown,
        }
    }

    /// Starts a controller with the native preparers and those of [`parts`](crate::parts).
    pub(crate) fn start(&self) -> Running {
        self.start_with(crate::parts::registry(), PrepareSettings::default())
    }

    pub(crate) async fn template(&self, id: &str, resources: Vec<Value>) {
        let new = NewTemplate::new(template_id(id), package(resources));
        self.store.register_template(new).await.expect("valid");
    }

    pub(crate) async fn site(&self, id: &str, metadata: &[(&str, &str)]) {
        let new = NewSite::new(site_id(id), Package::default())
            .metadata(metadata.iter().copied().collect::<Metadata>());
        self.store.register_site(new).await.expect("valid");
    }

    pub(crate) async fn create(&self, template: &str) -> DeploymentId {
        let new = NewDeployment::new().template(template_id(template));
        self.store.create_deployment(new).await.expect("valid")
    }

    /// A deployment of exactly these resources.
    pub(crate) async fn deploy(&self, resources: Vec<Value>) -> DeploymentId {
        let new = NewDeployment::new().merge(package(resources));
        self.store.create_deployment(new).await.expect("valid")
    }

    pub(crate) async fn record(&self, id: &DeploymentId) -> Record {
        self.store
            .get(&Key::from(id), ALL)
            .await
            .expect("it is there")
    }

    pub(crate) async fn deployment(&self, id: &DeploymentId) -> Deployment {
        let record = self.record(id).await;
        record.entity.deployment().expect("a deployment").clone()
    }

    pub(crate) async fn is_prepared(&self, id: &DeploymentId) -> bool {
        self.deployment(id).await.prepared
    }

    /// A condition of a deployment.
    pub(crate) async fn condition(&self, id: &DeploymentId, kind: &str) -> Condition {
        let record = self.record(id).await;
        record.entity.condition(kind).expect("it is said").clone()
    }

    /// A resource of a deployment.
    pub(crate) async fn resource(
        &self,
        id: &DeploymentId,
        kind: &str,
        name: &str,
    ) -> Option<Value> {
        let record = self.record(id).await;
        find(&record, kind, name)
    }

    /// Changes the package like a person.
    pub(crate) async fn edit(&self, id: &DeploymentId, change: impl Fn(&Package) -> Package) {
        let record = self.record(id).await;
        let package = change(record.package.as_ref().expect("was asked for"));
        self.store
            .update(id, record.entity.version, package)
            .await
            .expect("valid");
    }

    pub(crate) async fn all(&self, select: Select) -> Vec<Record> {
        let mut list = List::new(select).limit(0).want(ALL);
        let mut all = Vec::new();
        loop {
            let page = self.store.list(&list).await.expect("it answers");
            all.extend(page.items);
            list.after = page.next;
            if list.after.is_none() {
                return all;
            }
        }
    }

    pub(crate) async fn children(&self, parent: &DeploymentId) -> Vec<Record> {
        self.all(Select::all(Kind::Deployment).parent(parent.clone()))
            .await
    }

    /// The sites of the children, in order.
    pub(crate) async fn child_sites(&self, parent: &DeploymentId) -> Vec<String> {
        let children = self.children(parent).await;
        let mut sites: Vec<String> = children
            .iter()
            .filter_map(|child| child.entity.deployment()?.site.as_ref())
            .map(ToString::to_string)
            .collect();
        sites.sort();
        sites
    }

    pub(crate) async fn unprepared(&self) -> u64 {
        let select = Select::all(Kind::Deployment).prepared(false);
        self.store
            .count(&select, 100_000, Want::ROW)
            .await
            .expect("it answers")
            .found
    }

    /// Lets virtual time pass until this holds, at most a day. Returns how long it took.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, holds: impl Fn() -> F) -> Duration {
        let start = Instant::now();
        while !holds().await {
            assert!(
                start.elapsed() < Duration::from_hours(24),
                "it does not come to pass within a day: {}",
                self.said().await
            );
            // Longer steps after a while.
            let step = (start.elapsed() / 100).max(Duration::from_millis(1));
            tokio::time::sleep(step).await;
        }
        start.elapsed()
    }

    /// The number of unprepared deployments.
    async fn said(&self) -> String {
        let unprepared = Select::all(Kind::Deployment).prepared(false);
        let all = self.all(unprepared).await;
        let said = all.iter().take(5).map(|record| {
            let Record { entity, work, .. } = record;
            format!("{}: {:?} {work:?}", entity.key, entity.conditions)
        });
        said.collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn until_prepared(&self, id: &DeploymentId) -> Duration {
        self.until(|| self.is_prepared(id)).await
    }

    /// Waits for a condition with this reason. Returns its message.
    pub(crate) async fn until_says(&self, id: &DeploymentId, kind: &str, reason: &str) -> String {
        self.until(|| async {
            let record = self.record(id).await;
            record
                .entity
                .condition(kind)
                .is_some_and(|c| c.reason == reason)
                && record.work.iter().all(|work| work.leased.is_none())
        })
        .await;
        self.condition(id, kind).await.message
    }

    /// Waits until no preparer works on it.
    pub(crate) async fn until_idle(&self) {
        // All subscribers are enqueued by then.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.until(|| async {
            let all = self.all(Select::all(Kind::Deployment)).await;
            all.iter().all(|record| {
                record
                    .work
                    .iter()
                    .all(|work| work.leased.is_none() && work.due > self.clock.now())
            })
        })
        .await;
    }
}

pub(crate) fn find(record: &Record, kind: &str, name: &str) -> Option<Value> {
    let package = record.package.as_ref()?;
    package
        .iter()
        .find(|r| &*r.gvk().kind == kind && &*r.identifier().name == name)
        .map(|r| r.value().clone())
}

pub(crate) fn template_id(id: &str) -> TemplateId {
    TemplateId::new(id).expect("an id")
}

pub(crate) fn site_id(id: &str) -> SiteId {
    SiteId::new(id).expect("an id")
}

pub(crate) fn package(resources: Vec<Value>) -> Package {
    Package::from_values(resources).expect("resources")
}

/// A resource `x/v1`.
pub(crate) fn thing(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "x/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A resource of a topology.
pub(crate) fn topo(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "topology.nephio.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// The same with an annotation of `nephio.org`.
pub(crate) fn annotated(mut resource: Value, name: &str, value: &str) -> Value {
    resource["metadata"]["annotations"][format!("nephio.org/{name}")] = json!(value);
    resource
}

/// A reference to a resource `x/v1`.
pub(crate) fn reference(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "x/v1", "kind": kind, "name": name})
}
