//! A store with plugins in it, and what tests ask of it and of processes.
#![allow(dead_code)] // Each test binary uses a part of it.

use async_trait::async_trait;
use rustix::process::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, Settings as MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, Answer, Data, Executor, Expect, Gvk, Identifier, Key, Metadata, NewDeployment,
    NewPlugin, NewSite, Package, PluginId, PluginType, PrepareCall, Preparer, Record, Result,
    ScheduleCall, Store, Violation, Want,
};
use tko_plugin::{CommandExecutor, Settings};

/// Longer than anything here takes, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Everything is admitted.
struct Open;

#[async_trait]
impl Admission for Open {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

/// An executor, and a store for what its parts are told.
pub(crate) struct Bench {
    pub(crate) executor: CommandExecutor,
    pub(crate) store: Store<Memory>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        Self {
            executor: CommandExecutor::new(settings),
            store: Store::new(Arc::new(memory), Arc::new(Open), Arc::new(TimeOrderedIds)),
        }
    }

    /// Registers a plugin and gives it as read.
    pub(crate) async fn plugin(&self, plugin: PluginType, arguments: &[&str]) -> Record {
        self.plugin_with(plugin, arguments, BTreeMap::new()).await
    }

    pub(crate) async fn plugin_with(
        &self,
        plugin: PluginType,
        arguments: &[&str],
        properties: BTreeMap<String, String>,
    ) -> Record {
        let id = PluginId::new(plugin, "test").expect("an id");
        let new = NewPlugin {
            id: id.clone(),
            executor: "command".to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            properties,
            triggers: vec![target().gvk],
        };
        self.store.register_plugin(new).await.expect("registers");
        let got = self.store.get(&Key::Plugin(id), Want::ROW).await;
        got.expect("was registered")
    }

    pub(crate) async fn preparer(&self, arguments: &[&str]) -> Arc<dyn Preparer> {
        let plugin = self.plugin(PluginType::Prepare, arguments).await;
        self.executor.preparer(&plugin).expect("a preparer")
    }

    /// Creates a deployment of these resources and gives it as read.
    pub(crate) async fn deployment(&self, resources: Vec<Value>) -> Record {
        let new = NewDeployment {
            merge: Package::from_values(resources).expect("a package"),
            ..NewDeployment::default()
        };
        let id = self.store.create_deployment(new).await.expect("creates");
        let got = self.store.get(&id.into(), Want::PACKAGE).await;
        got.expect("was created")
    }

    /// Registers a site of these resources and gives it as read.
    pub(crate) async fn site(&self, id: &str, resources: Vec<Value>) -> Record {
        let key = Key::Site(id.parse().expect("an id"));
        let new = NewSite {
            id: id.parse().expect("an id"),
            template: None,
            metadata: Metadata::default(),
            package: Package::from_values(resources).expect("a package"),
            expect: Expect::Any,
        };
        self.store.register_site(new).await.expect("registers");
        let got = self.store.get(&key, Want::PACKAGE).await;
        got.expect("was registered")
    }

    /// Lets a preparer prepare the [`target`] of a deployment that has nothing else.
    pub(crate) async fn prepare(&self, arguments: &[&str]) -> Result<Answer> {
        let deployment = self.deployment(vec![network()]).await;
        let preparer = self.preparer(arguments).await;
        self.call(&*preparer, &deployment).await
    }

    pub(crate) async fn call(
        &self,
        preparer: &dyn Preparer,
        deployment: &Record,
    ) -> Result<Answer> {
        let package = deployment.package.as_ref().expect("was wanted");
        let call = PrepareCall {
            deployment,
            package,
            target: &target(),
            pending: &[target()],
            progress: None,
            data: &self.store,
            ids: &TimeOrderedIds,
        };
        preparer.prepare(call).await
    }

    /// What a failing preparer says, as people are shown it.
    pub(crate) async fn failure(&self, arguments: &[&str]) -> String {
        let answer = self.prepare(arguments).await;
        answer.expect_err("it fails").chain()
    }

    /// Schedules a site.
    pub(crate) async fn schedule(
        &self,
        arguments: &[&str],
        site: &Record,
        wanted: &[Record],
        removed: &[Record],
    ) -> Result<()> {
        let plugin = self.plugin(PluginType::Schedule, arguments).await;
        let scheduler = self.executor.scheduler(&plugin).expect("a scheduler");
        let target = Identifier::new(
            Gvk::new("infra.nephio.org", "v1alpha1", "WorkloadCluster"),
            "edge",
        );
        let call = ScheduleCall {
            site,
            target: Some(&target),
            wanted,
            removed,
            fence: 1,
        };
        let conditions = scheduler.schedule(call).await?;
        assert_eq!(conditions, [], "a plugin reports no conditions");
        Ok(())
    }
}

/// The plugins of tests.
pub(crate) fn plugin(name: &str) -> String {
    format!("{}/tests/plugins/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The plugins of the examples.
pub(crate) fn example(name: &str) -> String {
    format!("{}/../examples/plugins/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What preparers of the tests are called for.
pub(crate) fn target() -> Identifier {
    Identifier {
        namespace: Some("upf".into()),
        ..Identifier::new(
            Gvk::new("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition"),
            "n3",
        )
    }
}

/// A resource named as the [`target`].
pub(crate) fn network() -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "n3", "namespace": "upf"},
        "spec": {"config": "{\"type\":\"macvlan\"}"},
    })
}

/// The process ids that a plugin wrote to this file, once they are there.
pub(crate) async fn process_ids(file: &Path) -> Vec<Pid> {
    // The file appears whole, by a rename.
    let text = until(|| std::fs::read_to_string(file).ok()).await;
    text.lines()
        .map(|line| Pid::from_raw(line.parse().expect("a number")).expect("not 0"))
        .collect()
}

/// Ends when this process has: it is gone, or a zombie that its parent has yet to look at.
pub(crate) async fn death(pid: Pid) {
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
        // The state follows the name, which is in parentheses and may have any character in it.
        let state = stat
            .ok()
            .and_then(|stat| stat.rsplit(") ").next()?.chars().next());
        matches!(state, None | Some('Z' | 'X')).then_some(())
    })
    .await;
}

/// What `look` finds, for what tells nobody that it is there.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            looks.tick().await;
            if let Some(found) = look() {
                break found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .expect("it comes to be")
}
