//! The chart on a real API server, which `cargo xtask kubernetes` builds. Nothing runs its pods, so
//! the test starts `tko` with the flags of the chart and the account of the chart.

use super::{containers, objects, pods, render, texts};
use crate::harness::{Service, example, tko};
use serde_json::Value;
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tko_core::Package;
use tko_core::{Dialect, Format, Limits};
use tko_kubernetes_server::{ApiServer, Programs};
use tokio::io::AsyncWriteExt;

/// Longest time until the cluster has noticed something. It reads OpenAPI once a minute.
const PATIENCE: Duration = Duration::from_mins(3);

/// Templates and the folders of their packages.
const TEMPLATES: [(&str, &str); 7] = [
    ("upf", "nf/upf:v1.0.0"),
    ("smf", "nf/smf:v1.0.0"),
    ("amf", "nf/amf:v1.0.0"),
    ("nwdaf", "nf/nwdaf:v0.9.0"),
    ("edge-cluster", "site/edge-cluster:v1.0.0"),
    ("regional-topology", "topology/regional:v1.0.0"),
    ("national-topology", "topology/national:v1.0.0"),
];

/// The flags of the chart that a test changes: ports, the database, the paths of volumes.
const VALUES: &[&str] = &["--set=manifests.mode=folder,listenAddress=0.0.0.0"];

/// alice may use TKO as editors of the cluster may; bob may administer it.
const PEOPLE: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: alice-edits
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: edit
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: alice
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: bob-administers
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: admin
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: bob
";

/// A cluster, and kubectl of its users.
struct People(ApiServer);

impl People {
    /// Runs kubectl; returns its output and its errors.
    async fn run(&self, user: &str, words: &str, input: &str) -> Result<String, String> {
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = tokio::process::Command::from(self.0.kubectl_as(user, &words));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = child.expect("kubectl is installed");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A command without input may have ended already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("in time").expect("a child of ours");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    async fn good(&self, user: &str, words: &str, input: &str) -> String {
        let done = self.run(user, words, input).await;
        done.unwrap_or_else(|error| panic!("{user}: kubectl {words}: {error}"))
    }

    async fn eventually(&self, user: &str, words: &str, is_right: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = self.run(user, words, "").await;
            if let Ok(text) = &done
                && is_right(text)
            {
                return done.unwrap_or_default();
            }
            assert!(
                Instant::now() < deadline,
                "{user}: kubectl {words}: {done:?}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// An object of TKO with the package in a folder of the examples.
fn object(kind: &str, name: &str, spec: Value, package: Option<&Package>) -> String {
    let mut spec = spec;
    if let Some(package) = package {
        let resources = package.iter().map(|resource| resource.value().clone());
        spec["package"] = json!({"resources": resources.collect::<Vec<_>>()});
    }
    json!({
        "apiVersion": "tko.nephio.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
    .to_string()
}

/// The package in a folder, which may have folders.
fn package(folder: &Path) -> Package {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the examples") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    let texts: Vec<String> = files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("text"))
        .collect();
    decode(&texts.join("\n---\n"))
}

fn decode(text: &str) -> Package {
    let limits = Limits::default();
    Package::decode(text.as_bytes(), Format::Yaml, Dialect::People, &limits).expect("a package")
}

async fn name_of(id: &str) -> String {
    tko(&format!("kube to {id}")).good().await.line().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn the_demo_is_deployed_behind_an_api_server_with_the_rights_of_the_chart() {
    let helm = super::helm().expect("pip can download helm");
    let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
    let cluster = tokio::task::spawn_blocking(move || ApiServer::start(&programs)).await;
    let people = People(cluster.expect("it does not panic").expect("it starts"));
    people
        .good("admin", "create namespace tko-system", "")
        .await;

    // Everything in the chart is accepted by a real API server.
    let rendered = render(helm, VALUES).expect("valid");
    people
        .good("admin", "apply --server-side -f -", &rendered)
        .await;
    people.good("admin", "apply -f -", PEOPLE).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["tls.crt", "tls.key"] {
        let words = [
            "get",
            "secret",
            "tko-certificate",
            "-n",
            "tko-system",
            "-o",
            &format!("go-template={{{{index .data {file:?} | base64decode}}}}"),
        ];
        let output = people.0.kubectl(&words).output().expect("kubectl runs");
        assert!(output.status.success(), "{output:?}");
        std::fs::write(folder.path().join(file), output.stdout).expect("a file");
    }
    let token = people.good("admin", "create token tko-up -n tko-system", "");
    let token = token.await;
    let account = people
        .0
        .kubeconfig_of("tko-up", token.trim())
        .expect("a file");

    // As the pod starts it, but for ports, paths and the database.
    let objects = objects(&rendered);
    let pod = pods(&objects).next().expect("a pod");
    let container = containers(pod).next().expect("a container");
    let mut run = tko("");
    for argument in texts(&container["args"]) {
        let argument = argument
            .replace("/etc/tko/certificate", &folder.path().display().to_string())
            .replace("/var/lib/tko", &folder.path().display().to_string())
            .replace(":8086", ":0")
            .replace("--backend=postgresql", "--backend=memory");
        run = run.arg(argument);
    }
    run = run.arg("--kubernetes-kubeconfig").arg(&account);
    let run = run.arg("--kubernetes-port=0").arg("--grpc-port=0");
    let service = Service::spawn(run, "up, as in the chart");
    let serving = service.event("serving the Kubernetes API").await;
    let port = serving["addresses"].to_string();
    let port = port.rsplit(':').next().expect("a port");
    let port: String = port.chars().filter(char::is_ascii_digit).collect();
    // The Service leads to the process in place of a pod.
    let patch = json!([
        {"op": "replace", "path": "/spec", "value": {
            "type": "ExternalName",
            "externalName": "localhost",
            "ports": [{"name": "kubernetes", "port": port.parse::<u16>().expect("a port")}],
        }},
    ]);
    let words = format!("patch service tko-api -n tko-system --type=json -p {patch}");
    people.good("admin", &words, "").await;
    let patch = json!({"spec": {"service": {"port": port.parse::<u16>().expect("a port")}}});
    let words = format!("patch apiservice v1alpha1.tko.nephio.org --type=merge -p {patch}");
    people.good("admin", &words, "").await;
    let words = "wait apiservice v1alpha1.tko.nephio.org --for=condition=Available --timeout=90s";
    people.good("admin", words, "").await;
    people
        .eventually("alice", "explain sites.spec", |_| true)
        .await;
    // The role of editors gets the rights of the chart some time later.
    let words = "auth can-i patch templates.tko.nephio.org";
    people.eventually("alice", words, |_| true).await;

    // Editors register the packages of the demo.
    let apply = "apply --server-side -f -";
    for (folder, id) in TEMPLATES {
        let package = package(Path::new(&example(&format!("packages/{folder}"))));
        let template = object("Template", &name_of(id).await, json!({}), Some(&package));
        people.good("alice", apply, &template).await;
    }
    let site = |region: &str, more: &str| {
        decode(&format!(
            "apiVersion: metadata.nephio.org/v1alpha1\nkind: Site\nmetadata: {{name: site, \
             annotations: {{nephio.org/merge: Override}}}}\nspec: {{country: india, region: \
             {region}, {more}}}\n"
        ))
    };
    let mut sites = Vec::new();
    for region in ["north", "south", "east"] {
        sites.push((
            format!("india/{region}/control"),
            site(region, "role: control"),
        ));
    }
    for region in ["north", "south", "east", "west"] {
        let edge = site(region, "role: edge, tier: hub");
        sites.push((format!("india/{region}/edge-0001"), edge));
    }
    for (id, package) in &sites {
        let spec = json!({"templateId": "site/edge-cluster:v1.0.0"});
        let site = object("Site", &name_of(id).await, spec, Some(package));
        people.good("alice", apply, &site).await;
    }
    let national = json!({"templateId": "topology/national:v1.0.0"});
    let national = object("Deployment", "national", national, None);
    people.good("alice", apply, &national).await;
    // Four edges: as many deployments as the demo expects, of which all but one get prepared.
    let total = crate::harness::core5g::total(4);
    let prepared = "get deployment.tko --field-selector status.prepared=true -o name";
    people
        .eventually("alice", prepared, |names| {
            names.lines().count() == total - 1
        })
        .await;

    // Editors neither approve nor register plugins; administrators do.
    let amf = "get deployment.tko --field-selector spec.templateId=nf/amf:v1.0.0 -o name";
    let amf = people.good("alice", amf, "").await;
    let amf = amf.lines().next().expect("there is an AMF");
    let words = format!(
        "patch {amf} --subresource=status --type=merge -p {{\"status\":{{\"approved\":true}}}}"
    );
    let refused = people.run("alice", &words, "").await.expect_err("refused");
    assert!(refused.contains("orbidden"), "{refused}");
    people.good("bob", &words, "").await;
    let spec = json!({"executor": "command", "arguments": ["./x"]});
    let plugin = object("Plugin", "prepare-007cx", spec, None);
    let refused = people
        .run("alice", apply, &plugin)
        .await
        .expect_err("refused");
    assert!(refused.contains("orbidden"), "{refused}");
    people.good("bob", apply, &plugin).await;
    people.good("bob", "delete plugin prepare-007cx", "").await;

    // The manifests of one site are accepted by the API server, but for the kinds of others.
    let upf = "get deployment.tko --field-selector spec.templateId=nf/upf:v1.0.0 -o name";
    people.good("alice", upf, "").await;
    let manifests = folder.path().join("manifests");
    let site = manifests.join("india+north+edge-0001");
    let deadline = Instant::now() + PATIENCE;
    let is_written = || {
        let kind = "StatefulSet";
        site.is_dir() && package(&site).iter().any(|one| one.value()["kind"] == kind)
    };
    while !is_written() {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let words = format!("apply --server-side -R -f {}", site.display());
    let applied = match people.run("admin", &words, "").await {
        Ok(text) => text,
        Err(text) => {
            let others = text
                .lines()
                .filter(|line| line.to_lowercase().starts_with("error"));
            for line in others {
                assert!(line.contains("NetworkAttachmentDefinition"), "{text}");
            }
            text
        }
    };
    assert!(applied.contains("statefulset.apps/"), "{applied}");
    service.kill().await;
}
