//! A store with a running preparer that has the preparer of charts.

use crate::program::helm;
use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, Condition, DataApi, DeploymentId, Event, Gvk, Identifier, Key, Kind, NewDeployment,
    NewSite, Package, Record, Result, Revision, Select, SiteId, Store, Violation, Want, Watch,
};
use tko_helm::{HelmPreparer, HelmSettings};
use tko_preparer::{PrepareController, PrepareSettings, ResultCache};
use tko_worker::CancellationToken;
use tokio::task::JoinHandle;

/// A time limit that a correct run never reaches, even on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Admits every package.
struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<Store<Memory>>,
    pub(crate) results: Arc<ResultCache>,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl World {
    pub(crate) fn new(settings: HelmSettings) -> Self {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        let ids = Arc::new(TimeOrderedIds);
        let store = Arc::new(Store::new(Arc::new(memory), Arc::new(AdmitAll), ids));
        let stop = CancellationToken::new();
        let limit = settings.timeout + PATIENCE;
        let charts = HelmPreparer::new(settings);
        let results = Arc::new(ResultCache::new(16 << 20));
        let controller = PrepareController::new(store.clone())
            .with_registry(charts.add_to(tko_preparer::native()))
            .with_result_cache(results.clone())
            .with_settings(PrepareSettings::default().with_timeout(limit));
        Self {
            task: tokio::spawn(controller.run(stop.clone())),
            store,
            results,
            stop,
        }
    }

    pub(crate) async fn deploy(&self, resources: Vec<Value>) -> DeploymentId {
        let new = NewDeployment::new().merge(Package::from_values(resources).expect("a package"));
        self.store.create_deployment(new).await.expect("creates")
    }

    /// A deployment for a site with this package.
    pub(crate) async fn deploy_at(&self, site: Vec<Value>, resources: Vec<Value>) -> DeploymentId {
        let id = SiteId::new("south-1").expect("an id");
        let site = Package::from_values(site).expect("a package");
        let site = NewSite::new(id.clone(), site);
        self.store.register_site(site).await.expect("registers");
        let package = Package::from_values(resources).expect("a package");
        let new = NewDeployment::new().site(id).merge(package);
        self.store.create_deployment(new).await.expect("creates")
    }

    /// The deployment, once the preparer has reported on it.
    pub(crate) async fn reported(&self, id: &DeploymentId) -> (Record, Condition) {
        let mut events = self
            .store
            .watch(Watch::new(Select::all(Kind::Deployment), Revision::default()).package(true));
        let wait = async {
            loop {
                let event = events.next().await.expect("goes on").expect("an event");
                let Event::Put { record, .. } = event else {
                    continue;
                };
                if record.entity.key != Key::from(id) {
                    continue;
                }
                if let Some(condition) = record.entity.condition("Prepared") {
                    let condition = condition.clone();
                    let record = self.store.get(&Key::from(id), Want::PACKAGE).await;
                    return (record.expect("is there"), condition);
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("a report")
    }

    /// The package of the deployment, once it is prepared.
    pub(crate) async fn prepared(&self, id: &DeploymentId) -> Package {
        let (record, condition) = self.reported(id).await;
        assert_eq!(condition.status, Some(true), "{}", condition.message);
        record.package.expect("was wanted")
    }

    /// The message of the condition, after the deployment could not be prepared; nothing of it may
    /// have been stored.
    pub(crate) async fn refused(&self, resources: Vec<Value>) -> String {
        let id = self.deploy(resources).await;
        let before = self.store.get(&Key::from(&id), Want::PACKAGE).await;
        let before = before.expect("is there").package.expect("was wanted");
        let (record, condition) = self.reported(&id).await;
        assert_eq!(condition.status, Some(false), "{}", condition.message);
        assert_eq!(
            record.package.expect("was wanted"),
            before,
            "something was stored"
        );
        condition.message
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = self.task.await.expect("it does not panic");
        ended.expect("it ends well");
    }
}

/// A world with the real helm; `None`, after a message, where it cannot be had.
pub(crate) fn world() -> Option<World> {
    let program = helm()?.display().to_string();
    let settings = HelmSettings::default().with_timeout(PATIENCE);
    Some(World::new(settings.with_program(program)))
}

/// A resource `HelmChart` named `web`, rendered, from a folder.
pub(crate) fn chart(folder: &Path, more: Value) -> Value {
    let mut spec = json!({"chart": folder.display().to_string(), "render": true});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({
        "apiVersion": "workload.nephio.org/v1alpha1",
        "kind": "HelmChart",
        "metadata": {"name": "web"},
        "spec": spec,
    })
}

/// Writes a chart of these files; `Chart.yaml` is made unless it is given.
pub(crate) fn chart_folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let made = ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n");
    for (name, text) in std::iter::once(&made).chain(files) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

/// The content of a resource.
pub(crate) fn get<'a>(
    package: &'a Package,
    api_version: &str,
    kind: &str,
    name: &str,
) -> &'a Value {
    let reference = Identifier::new(Gvk::of(api_version, kind), name);
    let found = package.resolve(&reference).expect("not ambiguous");
    found.unwrap_or_else(|| panic!("no {kind} {name}")).value()
}

/// Whether a package has a resource of this kind and name.
pub(crate) fn has(package: &Package, kind: &str, name: &str) -> bool {
    package
        .iter()
        .any(|resource| *resource.gvk().kind == *kind && *resource.identifier().name == *name)
}
