//! A store with a running preparer that has the executor.

use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, Condition, DataApi, DeploymentId, Event, Gvk, Key, Kind, NewDeployment, NewPlugin,
    Package, PluginId, PluginType, Record, Result, Revision, Select, SharedLimits, Store,
    Violation, Want, Watch,
};
use tko_kpt::executor::KptSettings;
use tko_kpt::{KptExecutor, KptfilePreparer};
use tko_preparer::{PrepareController, PrepareSettings, ResultCache};
use tko_source::SourceFile;
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
    pub(crate) fn new(settings: KptSettings) -> Self {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        let ids = Arc::new(TimeOrderedIds);
        let store = Arc::new(Store::new(Arc::new(memory), Arc::new(AdmitAll), ids));
        Self::over(store, settings, None)
    }

    /// A preparer of another process, in place of the one before.
    pub(crate) async fn replaced(self, settings: KptSettings, shared: SharedLimits) -> Self {
        let store = self.store.clone();
        self.stop().await;
        Self::over(store, settings, Some(shared))
    }

    fn over(
        store: Arc<Store<Memory>>,
        settings: KptSettings,
        shared: Option<SharedLimits>,
    ) -> Self {
        let stop = CancellationToken::new();
        let limit = settings.timeout + PATIENCE;
        let executor = KptExecutor::new(settings);
        let kptfiles = KptfilePreparer::new(executor.clone());
        let results = Arc::new(ResultCache::new(16 << 20));
        let controller = PrepareController::new(store.clone())
            .with_registry(kptfiles.add_to(tko_preparer::native()))
            .with_result_cache(results.clone())
            .with_executors(vec![Arc::new(executor)])
            .with_settings(
                PrepareSettings::default()
                    .with_timeout(limit)
                    .with_shared_results(shared),
            );
        Self {
            task: tokio::spawn(controller.run(stop.clone())),
            store,
            results,
            stop,
        }
    }

    /// Registers a plugin for the kind Workload.
    pub(crate) async fn plugin(&self, function: &str, properties: &[(&str, &str)]) {
        let id = PluginId::new(PluginType::Prepare, "test").expect("an id");
        let mut new = NewPlugin::new(id, KptExecutor::NAME).argument(function);
        for (name, path) in properties {
            new = new.property(*name, *path);
        }
        new.triggers = vec![Gvk::of("example.com/v1", "Workload")];
        self.store.register_plugin(new).await.expect("registers");
    }

    pub(crate) async fn deploy(&self, resources: Vec<Value>) -> DeploymentId {
        let new = NewDeployment::new().merge(Package::from_values(resources).expect("a package"));
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

/// The resource that triggers the plugin.
pub(crate) fn workload() -> Value {
    json!({
        "apiVersion": "example.com/v1",
        "kind": "Workload",
        "metadata": {"name": "gateway"},
        "spec": {"namespace": "edge", "replicas": 3},
    })
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// A package from files of texts.
pub(crate) fn package(files: &[(&str, &str)]) -> Vec<Value> {
    let files = files.iter().map(|(name, text)| SourceFile {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
    });
    let package = tko_source::package_of(files).expect("a package");
    package
        .iter()
        .map(|resource| resource.value().clone())
        .collect()
}

/// The reference of a program in `tests/functions`.
pub(crate) fn program(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions");
    format!("exec:{}", folder.join(name).display())
}
