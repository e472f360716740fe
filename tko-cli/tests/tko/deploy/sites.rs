//! `tko up --clusters` on a real API server, as docs/kubernetes-sites.md starts it.

use crate::harness::Server;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tko_core::{Condition, DeploymentId, Entity, Key, SiteId};
use tko_kubernetes_server::{ApiServer, Programs};

/// Longest time until something is seen.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the deployment brings.
const SETTINGS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: info}
";

/// The block of the document that begins with the name of a file.
fn block(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes-sites.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let start = format!("```yaml\n# {name}\n");
    let (_, rest) = text.split_once(&start).expect("it has the file");
    let (block, _) = rest.split_once("```").expect("the block has an end");
    block.to_owned()
}

/// An entity has a condition of this kind with this status and reason.
fn has(entity: &Entity, kind: &str, status: bool, text: &str) -> bool {
    let matches = |one: &Condition| {
        one.status == Some(status) && (one.reason.contains(text) || one.message.contains(text))
    };
    entity.condition(kind).is_some_and(matches)
}

/// Waits until the cluster has the ConfigMap with this level; `None`: until it is gone.
async fn until_level(cluster: &ApiServer, level: Option<&str>) {
    let words = [
        "get",
        "configmap",
        "settings",
        "--ignore-not-found",
        "-o",
        "jsonpath={.data.level}",
    ];
    let until = Instant::now() + PATIENCE;
    loop {
        let output = tokio::process::Command::from(cluster.kubectl(&words)).output();
        let output = output.await.expect("kubectl is installed");
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && found == level.unwrap_or_default() {
            return;
        }
        assert!(Instant::now() < until, "{level:?}: {output:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn a_site_of_the_document_gets_what_is_deployed_to_it() {
    let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
    let cluster = tokio::task::spawn_blocking(move || ApiServer::start(&programs)).await;
    let cluster = cluster.expect("it does not panic").expect("it starts");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubeconfigs = folder.path().join("kubeconfigs");
    let package: PathBuf = folder.path().join("south-1");
    for one in [&kubeconfigs, &package] {
        std::fs::create_dir(one).expect("a folder");
    }
    std::fs::write(package.join("cluster.yaml"), block("south-1/cluster.yaml")).expect("a file");
    let server = Server::start(&format!(
        "up --clusters --kubeconfigs {} --interval 5s",
        kubeconfigs.display()
    ))
    .await;

    // The kubeconfig is not there yet: the site says so, and continues when it is.
    let register = server.tko("site register south-1");
    let register = register.arg(format!("--url={}/", package.display()));
    register.good().await;
    let create = server.tko("deployment create --site=south-1 --prepared --approved --stdin");
    let created = create.stdin(SETTINGS).good().await;
    let id = created.line().to_owned();
    let site = Key::Site(SiteId::new("south-1").expect("an id"));
    let deployment = Key::Deployment(DeploymentId::new(&id).expect("an id"));
    server
        .until(&site, "without a kubeconfig", |entity| {
            has(entity, "Scheduled", false, "south-1.yaml")
        })
        .await;
    std::fs::copy(
        cluster.kubeconfig("admin"),
        kubeconfigs.join("south-1.yaml"),
    )
    .expect("a file");
    server.tko("site retry south-1").good().await;
    until_level(&cluster, Some("info")).await;
    server
        .until(&deployment, "ready", |entity| {
            has(entity, "Ready", true, "")
        })
        .await;
    server
        .until(&site, "ready", |entity| has(entity, "Ready", true, ""))
        .await;

    // Somebody changes it: the next look brings it back.
    let patch = ["delete", "configmap", "settings"];
    let deleted = cluster.kubectl(&patch).output().expect("kubectl runs");
    assert!(deleted.status.success(), "{deleted:?}");
    until_level(&cluster, Some("info")).await;

    server
        .tko(&format!("deployment delete {id} --yes"))
        .good()
        .await;
    until_level(&cluster, None).await;
    server.tko("site delete south-1 --yes").good().await;
    server.service.stop().await;
}
