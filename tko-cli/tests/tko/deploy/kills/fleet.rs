//! Many sites of one cluster, each a namespace with credentials of its own, and what they want.

use crate::harness::{Server, Service};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_core::{
    DataApi, DeploymentId, Enqueue, Entity, EntityUpdate, Error, Key, Kind, Lane, List,
    NewDeployment, NewSite, Package, PackageUpdate, Select, SiteId, Stage, Want, WorkerApi,
};
use tko_grpc::client::Client;
use tko_kubernetes_server::{ApiServer, Programs};

/// The site that brings the definition of custom resources.
const PLATFORM: &str = "platform";

/// Longest time until everything is as wanted.
const PATIENCE: Duration = Duration::from_mins(15);

/// The start of the names of the sites' users.
const USERS: &str = "system:serviceaccount:edge-";

/// Everything that the tests look at.
const KINDS: &str = "configmap,secret,deployment,serviceaccount,customresourcedefinition";

/// The deployments that are to exist, with their sites and resources.
#[derive(Default)]
pub(super) struct Wanted(BTreeMap<String, (String, Vec<Value>)>);

impl Wanted {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The objects in the namespaces of sites, with what of them changes from round to round.
    pub(super) fn lines(&self) -> BTreeSet<String> {
        let sites = self.0.values().filter(|(site, _)| site != PLATFORM);
        sites
            .flat_map(|(site, resources)| resources.iter().map(|one| line(site, one)))
            .collect()
    }
}

fn line(namespace: &str, object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let (data, size) = (&object["data"]["value"], &object["spec"]["size"]);
    format!("{kind} {namespace}/{name} {data} {size}")
}

/// A cluster, a data service with a preparer, and sites.
pub(super) struct Fleet {
    cluster: Arc<ApiServer>,
    server: Server,
    preparer: Service,
    client: Client,
    kubeconfigs: tempfile::TempDir,
    sites: Vec<String>,
}

impl Fleet {
    pub(super) async fn start(count: usize) -> Self {
        let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
        let kubeconfigs = tempfile::tempdir().expect("a temporary folder");
        let folder = kubeconfigs.path().to_owned();
        let sites: Vec<String> = (0..count).map(|number| format!("edge-{number}")).collect();
        let names = sites.clone();
        let cluster = tokio::task::spawn_blocking(move || {
            let cluster = ApiServer::start(&programs).expect("it starts");
            cluster.tenants(&names, &folder).expect("they are made");
            let own = names.iter().map(|name| foreign_map(name).to_string());
            let own: Vec<String> = own.collect();
            let words = ["apply", "-f", "-"];
            cluster
                .kubectl_output(&words, &own.join("\n"))
                .expect("applied");
            let admin = folder.join("admin.yaml");
            std::fs::copy(cluster.kubeconfig("admin"), admin).expect("a file");
            cluster
        });
        let cluster = Arc::new(cluster.await.expect("it does not panic"));
        let server = Server::data().await;
        let preparer = Service::start(&format!("preparer start {}", server.flags()));
        let client = server.client();
        let all = sites.iter().map(String::as_str).chain([PLATFORM]);
        for name in all {
            let file = if name == PLATFORM { "admin" } else { name };
            let target = json!({
                "apiVersion": "cluster.nephio.org/v1alpha1", "kind": "KubernetesCluster",
                "metadata": {"name": "cluster"},
                "spec": {"kubeconfig": {"file": format!("{file}.yaml")}},
            });
            let package = Package::from_values(vec![target]).expect("a package");
            let site = NewSite::new(site_id(name), package);
            client.register_site(site).await.expect("it is valid");
        }
        Self {
            cluster,
            server,
            preparer,
            client,
            kubeconfigs,
            sites,
        }
    }

    /// A scheduler in a separate process, that may be killed: its claims soon expire.
    pub(super) fn scheduler(&self) -> Service {
        self.scheduler_with("2s")
    }

    fn scheduler_with(&self, lease: &str) -> Service {
        Service::start(&format!(
            "scheduler start {} --clusters --kubeconfigs {} --lease {lease} --scheduler-workers 16 \
             --interval 0s",
            self.server.flags(),
            self.kubeconfigs.path().display()
        ))
    }

    /// What a round wants: settings, a workload and a custom resource for each deployment. Some
    /// deployments are without the last two, some are not there, and one object is of another
    /// deployment each time.
    pub(super) fn round(&self, number: usize, deployments: usize) -> Wanted {
        let mut all = BTreeMap::new();
        for site in &self.sites {
            let holder = (0..deployments).cycle().skip(number % deployments);
            let holder = holder.take(deployments).find(|at| !is_absent(number, *at));
            for at in (0..deployments).filter(|at| !is_absent(number, *at)) {
                let mut resources = vec![map(&format!("settings-{at}"), number)];
                if number.is_multiple_of(2) || at % 3 != 0 {
                    resources.push(workload(&format!("w{at}")));
                    resources.push(slice(&format!("s{at}"), number));
                }
                if Some(at) == holder {
                    resources.push(map("moving", number));
                }
                let id = format!("{}d{at}", site.replace('-', ""));
                all.insert(id, (site.clone(), resources));
            }
        }
        all.insert(
            "definitions".to_owned(),
            (PLATFORM.to_owned(), vec![definition()]),
        );
        Wanted(all)
    }

    /// Creates, changes and deletes deployments, and waits until they are prepared.
    pub(super) async fn write(&self, wanted: &Wanted) {
        let there: BTreeSet<String> = self.deployments().await.into_keys().collect();
        let gone = there.iter().filter(|id| !wanted.0.contains_key(*id));
        for id in gone {
            let key = Key::from(&deployment_id(id));
            self.client.delete(&key).await.expect("it is there");
        }
        let writes = wanted.0.iter().map(async |(id, (site, resources))| {
            let package = Package::from_values(resources.clone()).expect("a package");
            let id = deployment_id(id);
            if !there.contains(id.as_str()) {
                let new = NewDeployment::new()
                    .id(id)
                    .site(site_id(site))
                    .merge(package);
                self.client.create_deployment(new).await.expect("it is new");
                return;
            }
            loop {
                let key = Key::from(&id);
                let found = self.client.get(&key, Want::ROW).await.expect("it is there");
                let merge = PackageUpdate::Merge {
                    package: package.clone(),
                    site: Some(site_id(site)),
                };
                let update = EntityUpdate::new(&id, found.entity.version).package(merge);
                match self.client.update_entity(update).await {
                    Ok(_) => return,
                    // The preparer was first.
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{id}: {error}"),
                }
            }
        });
        stream::iter(writes)
            .buffer_unordered(8)
            .collect::<()>()
            .await;
        let until = Instant::now() + PATIENCE;
        loop {
            let there = self.deployments().await;
            let ready = |id: &String| {
                let found = there.get(id);
                found.is_some_and(|entity| entity.wanted_on().is_some())
            };
            if wanted.0.keys().all(ready) {
                return;
            }
            assert!(
                Instant::now() < until,
                "not prepared:\n{}",
                self.preparer.log()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// All deployments, also those that are being deleted.
    async fn deployments(&self) -> BTreeMap<String, Arc<Entity>> {
        let select = Select::all(Kind::Deployment).deleting(true);
        let mut list = List::new(select).limit(500).want(Want::ROW.with_deleting());
        let mut all = BTreeMap::new();
        loop {
            let page = self.client.list(&list).await.expect("a page");
            let entities = page.items.into_iter().map(|record| record.entity);
            all.extend(entities.map(|entity| (entity.key.id().to_owned(), entity)));
            list.after = page.next;
            if list.after.is_none() {
                return all;
            }
        }
    }

    /// What is not on its site yet, or still there.
    pub(super) async fn missing(&self, wanted: &Wanted) -> Option<String> {
        let there = self.deployments().await;
        let late = there.iter().find(|(id, entity)| match wanted.0.get(*id) {
            None => true,
            Some((site, _)) => !is_placed(entity, site),
        });
        if let Some((id, entity)) = late {
            return Some(format!("{id}: {:?}", entity.conditions));
        }
        let absent = wanted.0.keys().find(|id| !there.contains_key(*id));
        absent.map(|id| format!("{id} is not there"))
    }

    /// Waits until everything is on its site, and nothing else.
    pub(super) async fn settled(&self, wanted: &Wanted) {
        let until = Instant::now() + PATIENCE;
        while let Some(missing) = self.missing(wanted).await {
            assert!(Instant::now() < until, "{missing}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    fn keys(&self) -> impl Iterator<Item = SiteId> {
        let all = self.sites.iter().map(String::as_str);
        all.chain([PLATFORM]).map(site_id)
    }

    /// Makes work due that waits for its next attempt.
    pub(super) async fn retry(&self) {
        for id in self.keys() {
            self.client
                .retry(&Key::from(&id))
                .await
                .expect("it is there");
        }
    }

    /// Makes all sites due although nothing changed.
    async fn enqueue(&self) {
        let work = self.keys().map(|id| {
            let lane = Lane::of(id.as_str());
            Enqueue::now(Stage::Schedule, &id, lane)
        });
        let work = work.collect();
        self.client.enqueue(work).await.expect("it is few");
    }

    async fn kubectl(&self, words: &str) -> String {
        let (cluster, words) = (self.cluster.clone(), words.to_owned());
        let run = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.split_whitespace().collect();
            cluster.kubectl_output(&words, "").expect("it succeeds")
        });
        run.await.expect("it does not panic")
    }

    async fn listed(&self, kinds: &str) -> Vec<Value> {
        let text = self.kubectl(&format!("get {kinds} -A -o json")).await;
        let list: Value = serde_json::from_str(&text).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    }

    /// Objects that are of no site, with their versions.
    pub(super) async fn foreign(&self) -> Vec<String> {
        let mut all = Vec::new();
        for item in self.listed(KINDS).await {
            let metadata = &item["metadata"];
            let (space, name) = (&metadata["namespace"], &metadata["name"]);
            let is_ours = metadata["labels"].to_string().contains("applyset");
            // Controllers write these.
            let is_system = space == "kube-system" || name == "kube-root-ca.crt";
            if !is_ours && !is_system {
                let (uid, version) = (&metadata["uid"], &metadata["resourceVersion"]);
                all.push(format!("{} {space}/{name} {uid} {version}", item["kind"]));
            }
        }
        all.sort();
        all
    }

    /// What is in the namespaces of the sites, and the UIDs of the object that moves.
    pub(super) async fn present(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut lines, mut moving) = (BTreeSet::new(), BTreeSet::new());
        let definitions = self.listed("customresourcedefinition").await;
        let kinds = if definitions.is_empty() {
            "configmap,deployment"
        } else {
            "configmap,deployment,slices.x.example"
        };
        for item in self.listed(kinds).await {
            let metadata = &item["metadata"];
            let text = |name: &str| metadata[name].as_str().unwrap_or_default();
            let is_parent = !metadata["labels"]["applyset.kubernetes.io/id"].is_null();
            let is_foreign = ["own", "kube-root-ca.crt"].contains(&text("name"));
            if is_parent || is_foreign || !self.sites.iter().any(|one| one == text("namespace")) {
                continue;
            }
            if text("name") == "moving" {
                moving.insert(format!("{} {}", text("namespace"), text("uid")));
            }
            lines.insert(line(text("namespace"), &item));
        }
        (lines, moving)
    }

    /// Checks by the API server's log of requests that a call for an unchanged site reads each kind
    /// once, and writes nothing.
    pub(super) async fn costs_one_read_for_each_kind(&self) {
        // An expired claim would cause a second call, so this lease is longer.
        let process = self.scheduler_with("1m");
        // The first call of a process also reads discovery and the inventory.
        self.enqueue().await;
        self.idle().await;
        let before = self.requests().len();
        self.enqueue().await;
        self.idle().await;
        let mut asked = self.requests().split_off(before);
        asked.sort();
        let reads = self.sites.iter().flat_map(|site| {
            let number = site.trim_start_matches("edge-");
            ["configmaps", "deployments", "slices"]
                .map(|kind| format!("{USERS}{number}:tko list {kind}"))
        });
        let mut reads: Vec<String> = reads.collect();
        reads.sort();
        assert_eq!(asked, reads, "one read of each kind, and no write");
        process.kill().await;
    }

    /// Waits until no site is due any more.
    async fn idle(&self) {
        let list = List::new(Select::all(Kind::Site)).limit(500);
        let list = list.want(Want::ROW.with_work());
        let until = Instant::now() + PATIENCE;
        loop {
            let page = self.client.list(&list).await.expect("a page");
            let late = page.items.iter().find(|site| !site.work.is_empty());
            let Some(late) = late else { return };
            assert!(
                Instant::now() < until,
                "{}: {:?}",
                late.entity.key,
                late.work
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The requests of the sites' users so far, each as user, verb and resource.
    fn requests(&self) -> Vec<String> {
        tokio::task::block_in_place(|| self.cluster.audit(USERS)).expect("a log")
    }
}

/// Whether a scheduler has reported this generation as placed on this site.
fn is_placed(entity: &Entity, site: &str) -> bool {
    entity.is_scheduled() && entity.wanted_on().is_some_and(|on| on.as_str() == site)
}

/// Whether a deployment is not there in this round.
fn is_absent(number: usize, at: usize) -> bool {
    (number + at) % 7 == 6
}

fn site_id(name: &str) -> SiteId {
    SiteId::new(name).expect("an id")
}

fn deployment_id(name: &str) -> DeploymentId {
    DeploymentId::new(name).expect("an id")
}

/// A ConfigMap that is there before.
fn foreign_map(namespace: &str) -> Value {
    let mut object = map("own", 0);
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn map(name: &str, value: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"value": value.to_string()},
    })
}

fn workload(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main", "image": "registry.example/main:1",
                    "ports": [{"containerPort": 8080}],
                    "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                }]},
            },
        },
    })
}

fn slice(name: &str, size: usize) -> Value {
    json!({
        "apiVersion": "x.example/v1", "kind": "Slice",
        "metadata": {"name": name}, "spec": {"size": size, "parts": [{"a": 1}, {"a": 2}]},
    })
}

fn definition() -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "slices.x.example"},
        "spec": {
            "group": "x.example", "scope": "Namespaced",
            "names": {"kind": "Slice", "plural": "slices", "singular": "slice"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}
