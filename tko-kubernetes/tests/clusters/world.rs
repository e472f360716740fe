//! A cluster, its sites, and calls of the scheduler.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tko_core::{
    Condition, Deployment, DeploymentId, Entity, Facts, Identifier, Key, Package, Record, Result,
    ScheduleCall, Scheduler, SiteId,
};
use tko_kubernetes::{KubernetesScheduler, KubernetesSettings};
use tko_kubernetes_server::{ApiServer, Programs};

/// A cluster with a folder of kubeconfigs.
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) folder: tempfile::TempDir,
    fence: AtomicU64,
}

impl World {
    /// Starts a cluster. Its administrator's kubeconfig is `admin.yaml`.
    pub(crate) async fn start() -> Self {
        let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = tokio::task::spawn_blocking(move || ApiServer::start(&programs));
        let server = server.await.expect("it does not panic").expect("it starts");
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = std::fs::read(server.kubeconfig("admin")).expect("it was written");
        std::fs::write(folder.path().join("admin.yaml"), kubeconfig).expect("a folder");
        Self {
            server: Arc::new(server),
            folder,
            fence: AtomicU64::new(1),
        }
    }

    pub(crate) fn settings(&self) -> KubernetesSettings {
        KubernetesSettings::default()
            .with_kubeconfigs(self.folder.path())
            .with_management(self.folder.path().join("admin.yaml"))
            .with_rate(1_000)
    }

    pub(crate) fn scheduler(&self) -> KubernetesScheduler {
        KubernetesScheduler::new(self.settings())
    }

    /// Runs kubectl as the administrator, with an input; returns its output.
    pub(crate) async fn kubectl(&self, words: &str, input: &str) -> String {
        let (success, output) = self.try_kubectl(words, input).await;
        assert!(success, "kubectl {words}: {output}");
        output
    }

    /// Runs kubectl; returns whether it succeeded, and its output.
    pub(crate) async fn try_kubectl(&self, words: &str, input: &str) -> (bool, String) {
        let (server, input) = (self.server.clone(), input.to_owned());
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let run = tokio::task::spawn_blocking(move || {
            use std::io::Write;
            use std::process::Stdio;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut command = server.kubectl(&words);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn().expect("kubectl is installed");
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(input.as_bytes()).expect("it reads");
            drop(stdin);
            child.wait_with_output().expect("it ends")
        });
        let output = run.await.expect("it does not panic");
        let text = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// An object as JSON; `None` if it does not exist.
    pub(crate) async fn object(&self, words: &str) -> Option<Value> {
        let words = format!("get {words} -o json --ignore-not-found --show-managed-fields");
        let text = self.kubectl(&words, "").await;
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("JSON"))
    }

    /// Schedules a site.
    pub(crate) async fn schedule(
        &self,
        scheduler: &dyn Scheduler,
        site: &Record,
        wanted: &[Record],
        removed: &[Record],
    ) -> Result<Vec<Condition>> {
        let target = target(site);
        let fence = self.fence.fetch_add(1, Ordering::Relaxed);
        let call = ScheduleCall::new(site, fence)
            .target(&target)
            .wanted(wanted)
            .removed(removed);
        scheduler.schedule(call).await
    }

    /// Schedules a site; its error must contain this text.
    pub(crate) async fn refused(
        &self,
        scheduler: &dyn Scheduler,
        site: &Record,
        wanted: &[Record],
        expected: &str,
    ) {
        let error = self.schedule(scheduler, site, wanted, &[]).await;
        let said = error.expect_err("it cannot be done").chain();
        assert!(said.contains(expected), "{said}");
    }

    /// A namespace with its own user, who may do everything there and nothing elsewhere. The
    /// kubeconfig is `NAME.yaml`.
    pub(crate) async fn tenant(&self, name: &str) {
        self.tenants(&[name.to_owned()]).await;
    }

    /// Several such namespaces.
    pub(crate) async fn tenants(&self, names: &[String]) {
        let (server, names) = (self.server.clone(), names.to_vec());
        let folder = self.folder.path().to_owned();
        let made = tokio::task::spawn_blocking(move || server.tenants(&names, &folder));
        made.await
            .expect("it does not panic")
            .expect("they are made");
    }

    /// Stops the API server; etcd continues.
    pub(crate) fn stop_api(&mut self) {
        let server = Arc::get_mut(&mut self.server).expect("no command runs");
        server.stop_api();
    }

    /// Starts the API server again, on the same port.
    pub(crate) fn start_api(&mut self) {
        let server = Arc::get_mut(&mut self.server).expect("no command runs");
        tokio::task::block_in_place(|| server.start_api()).expect("it starts");
    }
}

fn target(site: &Record) -> Identifier {
    let package = site.package.as_ref().expect("it has a package");
    let mut resources = package.iter();
    let cluster = resources.find(|resource| resource.identifier().gvk.kind.contains("Cluster"));
    cluster.expect("it has a cluster").identifier().clone()
}

/// A site whose kubeconfig is this file.
pub(crate) fn site(id: &str, file: &str) -> Record {
    site_with(id, &json!({"kubeconfig": {"file": file}}), &json!({}))
}

/// A site with this cluster and these annotations of the cluster.
pub(crate) fn site_with(id: &str, spec: &Value, annotations: &Value) -> Record {
    site_of(
        id,
        vec![json!({
            "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": "cluster", "annotations": annotations}, "spec": spec,
        })],
    )
}

/// A site with these resources.
pub(crate) fn site_of(id: &str, resources: Vec<Value>) -> Record {
    let key = Key::Site(SiteId::new(id).expect("an id"));
    Record::new(Entity::new(key, Facts::site(None, None)))
        .package(Package::from_values(resources).expect("a package"))
}

/// The same site, being deleted.
pub(crate) fn deleting(site: &Record) -> Record {
    let mut entity = Entity::clone(&site.entity);
    entity.deleting = true;
    let package = site.package.clone().expect("it has a package");
    Record::new(entity).package(package)
}

/// A deployment with these resources.
pub(crate) fn deployment(id: &str, resources: Vec<Value>) -> Record {
    let id = DeploymentId::new(id).expect("an id");
    let facts = Deployment::default();
    Record::new(Entity::new(Key::Deployment(id), facts))
        .package(Package::from_values(resources).expect("a package"))
}

/// A ConfigMap with one entry.
pub(crate) fn map(namespace: Option<&str>, name: &str, value: &str) -> Value {
    let mut map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"value": value},
    });
    if let Some(namespace) = namespace {
        map["metadata"]["namespace"] = json!(namespace);
    }
    map
}

/// A Deployment of Kubernetes with fields that the API server completes.
pub(crate) fn workload(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "creationTimestamp": null},
                "spec": {
                    "hostNetwork": false, "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "containers": [{
                        "name": "main", "image": "registry.example/main:1",
                        "ports": [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                    }],
                },
            },
        },
    })
}

/// A definition of a namespaced kind of the group `x.example`.
pub(crate) fn definition(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.x.example")},
        "spec": {
            "group": "x.example", "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// The definition of a kind that only one version of the group `x.example` serves.
pub(crate) fn definition_in(version: &str, kind: &str) -> Value {
    let mut definition = definition(kind);
    definition["spec"]["versions"][0]["name"] = json!(version);
    definition
}

/// A custom resource of the group `x.example`.
pub(crate) fn custom(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "x.example/v1", "kind": kind,
        "metadata": {"name": name}, "spec": {"size": 1, "parts": [{"a": 1}, {"a": 2}]},
    })
}

/// Bytes in Base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
