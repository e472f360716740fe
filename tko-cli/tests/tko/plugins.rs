//! Command plugins under `tko up`: each type, and plugins that misbehave.

use crate::harness::{Server, TIME, example, plugin};
use futures_util::StreamExt;
use serde_json::Value;
use std::fs;
use tko_core::entity::{PREPARED, SCHEDULED};
use tko_core::{
    Condition, DataApi, DeploymentId, Entity, Event, Key, Kind, Revision, Select, SiteId, Watch,
};

/// Ways to misbehave: a plugin, its argument, and a part of the condition's message.
const HOSTILE: [(&str, &str, &str); 11] = [
    ("hang.py", "", "did not finish within 2 s"),
    ("crash.py", "", "the address pool is exhausted"),
    ("rubbish.py", "text", "on stdout is invalid"),
    ("rubbish.py", "binary", "not UTF-8"),
    ("rubbish.py", "list", "expected a map"),
    ("rubbish.py", "empty", "it is empty"),
    ("flood.py", "", "printed more than"),
    ("killed.py", "", "SIGKILL"),
    (
        "no_interpreter.py",
        "",
        "the interpreter that its first line (#!) names does not exist",
    ),
    ("no_sdk.py", "", "has no package tko; install TKO's SDK"),
    ("raises.py", "", "IndexError: list index out of range"),
];

fn deployment(id: &str) -> Key {
    id.parse::<DeploymentId>().expect("an id").into()
}

fn site(id: &str) -> Key {
    id.parse::<SiteId>().expect("an id").into()
}

fn says(condition: Option<&Condition>, what: &str) -> bool {
    condition.is_some_and(|c| c.status == Some(false) && c.message.contains(what))
}

fn is_prepared(entity: &Entity) -> bool {
    entity.deployment().is_some_and(|d| d.prepared)
}

fn is_scheduled(entity: &Entity) -> bool {
    let condition = entity.condition(SCHEDULED);
    condition.is_some_and(|c| c.status == Some(true))
}

async fn register(server: &Server, what: &str, path: &str, argument: &str) {
    let mut register = server.tko(&format!("plugin register {what}")).arg(path);
    if !argument.is_empty() {
        register = register.arg(argument);
    }
    register.good().await;
}

async fn create(server: &Server, flags: &str, package: &str) -> String {
    let create = server.tko(&format!("deployment create --stdin {flags}"));
    let created = create.stdin(package).good().await;
    created.line().to_owned()
}

fn of_kind(kind: &str) -> String {
    format!("apiVersion: example.org/v1\nkind: {kind}\nmetadata: {{name: it}}\n")
}

#[tokio::test]
async fn a_preparer_in_python_prepares() {
    let server = Server::start("up").await;
    let what = "prepare upf-networks -g k8s.cni.cncf.io,v1,NetworkAttachmentDefinition";
    register(&server, what, &example("plugins/prepare_upf.py"), "").await;
    let upload = server.tko("template register nf/upf:v1 -u");
    upload.arg(example("packages/upf")).good().await;
    let parameters = "
apiVersion: v1
kind: ConfigMap
metadata: {name: region-parameters, namespace: upf, annotations: {nephio.org/merge: Override}}
data:
  {N3_SUBNET: 10.9.3.0/24, N4_SUBNET: 10.9.4.0/24, N6_SUBNET: 10.9.6.0/24,
   N3_GATEWAY: 10.9.3.1, N4_GATEWAY: 10.9.4.1, N6_GATEWAY: 10.9.6.1}
";
    let id = create(&server, "nf/upf:v1", parameters).await;
    let key = deployment(&id);
    server.until(&key, "prepared", is_prepared).await;
    let get = format!("deployment get {id} -o json");
    let got = server.tko(&get).good().await.json();
    let networks = got.as_array().expect("a list").iter();
    let ranges: Vec<Value> = networks
        .filter(|resource| resource["kind"] == "NetworkAttachmentDefinition")
        .map(|network| network["spec"]["config"].as_str().expect("a text"))
        .map(|config| serde_json::from_str::<Value>(config).expect("JSON"))
        .map(|config| config["ipam"]["range"].clone())
        .collect();
    assert_eq!(ranges, ["10.9.3.0/24", "10.9.4.0/24", "10.9.6.0/24"]);
}

#[tokio::test]
async fn a_validator_in_python_checks_every_write() {
    let server = Server::start("up").await;
    let what = "validate nf -g metadata.nephio.org,v1alpha1,NetworkFunction";
    register(&server, what, &example("plugins/validate_upf.py"), "").await;
    let package = "
apiVersion: metadata.nephio.org/v1alpha1
kind: NetworkFunction
metadata: {name: nf}
spec: {type: upf}
---
apiVersion: v1
kind: Pod
metadata: {name: upf, namespace: upf}
spec:
  containers: [{name: a, image: b, envFrom: [{configMapRef: {name: parameters}}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: upf, namespace: upf}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers: [{name: a, image: b, envFrom: [{configMapRef: {name: parameters}}]}]
";
    // A template may lack resources that are merged in later.
    let template = server.tko("template register nf/x:v1 --stdin");
    template.stdin(package).good().await;
    let what = "no ConfigMap parameters in namespace upf";
    let refused = server
        .tko("deployment create nf/x:v1 --prepared")
        .bad(2)
        .await;
    assert!(refused.contains(what), "{refused}");
    let created = server.tko("deployment create nf/x:v1").good().await;
    let key = deployment(created.line());
    let refused = |entity: &Entity| says(entity.condition(PREPARED), what);
    server.until(&key, "refused", refused).await;
    let list = server.tko("deployment list --prepared -ojson").good().await;
    assert_eq!(list.column("deploymentId"), [""; 0]);
}

#[tokio::test]
async fn a_scheduler_in_python_places_and_removes() {
    let server = Server::start("up").await;
    let folder = tempfile::tempdir().expect("a folder");
    let what = "schedule folders -g infra.nephio.org,v1alpha1,WorkloadCluster";
    let out = folder.path().to_str().expect("UTF-8");
    register(&server, what, &example("plugins/schedule_site.py"), out).await;
    let cluster = "apiVersion: infra.nephio.org/v1alpha1\nkind: WorkloadCluster\nmetadata: {name: c}\nspec: {clusterName: c}\n";
    let upload = server.tko("site register lab/1 --stdin");
    upload.stdin(cluster).good().await;
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n";
    let id = create(&server, "--site lab/1", config).await;
    server
        .until(&deployment(&id), "on its site", is_scheduled)
        .await;
    let file = folder.path().join("lab%2F1").join(format!("{id}.json"));
    let text = fs::read_to_string(&file).expect("the plugin wrote it");
    assert!(text.contains("ConfigMap"), "{text}");
    let delete = format!("deployment delete {id} --yes");
    server.tko(&delete).good().await;
    gone(&server, &id).await;
    assert!(!file.exists(), "the file still exists");
}

/// Waits until a deployment's row is gone, which is after its removal from the site.
async fn gone(server: &Server, id: &str) {
    let select = Select::all(Kind::Deployment).deleting(true);
    let mut events = server
        .client()
        .watch(Watch::new(select, Revision::default()));
    let gone = async {
        while let Some(event) = events.next().await {
            let event = event.expect("the watch goes on");
            if matches!(event, Event::Gone { before, .. } if before.entity.key.id() == id) {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(TIME, gone)
        .await
        .expect("the deployment is removed");
}

#[tokio::test]
async fn misbehaving_preparers_do_not_delay_others() {
    let (slow, wrong) = HOSTILE.split_at(1);
    // Plugins that fail for another reason than time get enough time to fail.
    for (timeout, hostile) in [("2s", slow), ("1m", wrong)] {
        let server = Server::start(&format!("up --preparer-timeout {timeout}")).await;
        let mut deployments = Vec::new();
        for (number, (script, argument, said)) in hostile.iter().copied().enumerate() {
            let what = format!("prepare bad{number} -g example.org,v1,Bad{number}");
            register(&server, &what, &plugin(script), argument).await;
            let id = create(&server, "", &of_kind(&format!("Bad{number}"))).await;
            deployments.push((id, number, script, said));
        }
        register(
            &server,
            "prepare good -g example.org,v1,Good",
            &plugin("prepare.py"),
            "",
        )
        .await;
        let good = deployment(&create(&server, "", &of_kind("Good")).await);
        server.until(&good, "prepared", is_prepared).await;
        for (id, number, script, said) in deployments {
            let refused = |entity: &Entity| says(entity.condition(PREPARED), said);
            server
                .until(&deployment(&id), &format!("{script}: {said}"), refused)
                .await;
            let show = format!("deployment show {id} -o json");
            let shown = server.tko(&show).good().await.json();
            assert_eq!(shown["prepared"], false, "{script}");
            let message = shown["conditions"][0]["message"].as_str().expect("a text");
            assert!(
                message.contains(&format!("prepare|bad{number}")),
                "{script}: {message}"
            );
            assert!(
                message.len() < 5_000,
                "{script}: {} characters",
                message.len()
            );
            assert_eq!(
                shown["work"][0]["stage"], "prepare",
                "{script}: not tried again"
            );
        }
        // Stop the server first, so that no plugin outlives the test.
        server.service.stop().await;
    }
}

#[tokio::test]
async fn misbehaving_validators_refuse_and_do_not_delay_others() {
    let (slow, wrong) = HOSTILE.split_at(1);
    // Plugins that fail for another reason than time get enough time to fail.
    for (timeout, hostile) in [("2s", slow), ("1m", wrong)] {
        let server = Server::start(&format!("data start --validator-timeout {timeout}")).await;
        for (number, (script, argument, said)) in hostile.iter().enumerate() {
            let what = format!("validate bad{number} -g example.org,v1,Bad{number}");
            register(&server, &what, &plugin(script), argument).await;
            let package = of_kind(&format!("Bad{number}"));
            let register = server.tko("template register bad --stdin").stdin(package);
            let output = register.run().await;
            assert!(output.code() == Some(5), "{script}: {output}");
            assert!(output.stderr.contains(said), "{script}: {output}");
            assert!(
                output.stderr.contains(&format!("validate|bad{number}")),
                "{output}"
            );
        }
        let good = server.tko("template register good --stdin");
        good.stdin(of_kind("Good")).good().await;
        let list = server.tko("template list -ojson").good().await;
        assert_eq!(list.column("templateId"), ["good"]);
        // Stop the server first, so that no plugin outlives the test.
        server.service.stop().await;
    }
}

#[tokio::test]
async fn misbehaving_schedulers_do_not_delay_others() {
    let (slow, wrong) = HOSTILE.split_at(1);
    // Plugins that fail for another reason than time get enough time to fail.
    for (timeout, hostile) in [("2s", slow), ("1m", wrong)] {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let up = format!(
            "up --scheduler-timeout {timeout} --manifests {}",
            out.display()
        );
        let server = Server::start(&up).await;
        let mut sites = Vec::new();
        for (number, (script, argument, said)) in hostile.iter().copied().enumerate() {
            let what = format!("schedule bad{number} -g example.org,v1,Bad{number}");
            register(&server, &what, &plugin(script), argument).await;
            let id = format!("bad/{number}");
            let upload = server.tko(&format!("site register {id} --stdin"));
            let package = of_kind(&format!("Bad{number}"));
            upload.stdin(package).good().await;
            sites.push((id, number, script, said));
        }
        server.tko("site register good").good().await;
        let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n";
        let id = create(&server, "--site good", config).await;
        server
            .until(&deployment(&id), "on its site", is_scheduled)
            .await;
        server.until(&site("good"), "scheduled", is_scheduled).await;
        for (id, number, script, said) in sites {
            let failed = |entity: &Entity| says(entity.condition(SCHEDULED), said);
            server
                .until(&site(&id), &format!("{script}: {said}"), failed)
                .await;
            let shown = server
                .tko(&format!("site show {id} -ojson"))
                .good()
                .await
                .json();
            let message = shown["conditions"][0]["message"].as_str().expect("a text");
            assert!(
                message.contains(&format!("schedule|bad{number}")),
                "{script}: {message}"
            );
        }
        // Stop the server first, so that no plugin outlives the test.
        server.service.stop().await;
    }
}
