//! What is in `deploy/`: the chart, the manifests for kustomize, the dashboard, the units and the
//! image.

mod behind;
mod grafana;
mod kills;
#[path = "../../../tko-helm/tests/helm/program.rs"]
mod program;
mod sites;

use crate::harness::tko;
use program::helm;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tko_core::Package;
use tko_core::{Dialect, Format, Limits};

/// Kinds of the charts of others, for which there are no schemas.
const FOREIGN: &str = "Certificate,Issuer,ServiceMonitor";

/// A Secret of the database, which the separate set-up needs.
const SEPARATE: &[&str] = &[
    "--set=mode=separate",
    "--set=database.secretName=tko-database",
];

/// Every value that adds something to the separate set-up.
const EVERYTHING: &[&str] = &[
    "--set=mode=separate",
    "--set=database.secretName=tko-database",
    "--set=certificates.mode=cert-manager",
    "--set=certificates.issuer.name=corporate",
    "--set=certificates.issuer.kind=ClusterIssuer",
    "--set=callers.extra={ops sha256:9b1c viewer}",
    "--set=manifests.mode=git,manifests.push=origin,manifests.storageClassName=fast",
    "--set=metrics.enabled=true,serviceMonitor.enabled=true,serviceMonitor.labels.team=core",
    "--set=networkPolicies.grpcFrom[0].podSelector.matchLabels.app=gateway",
    "--set=networkPolicies.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
    "--set=networkPolicies.databaseTo[0].ipBlock.cidr=192.0.2.0/24",
    "--set=networkPolicies.schedulerEgress[0].ports[0].port=22",
    "--set=clusters.enabled=true,clusters.kubeconfigsSecret=k,clusters.managementSecret=m",
    "--set=data.replicas=3,preparer.extraArgs={--auto-approve}",
    "--set=data.extraArgs={--history=1000}",
    "--set=scheduler.extraArgs={--scheduler-workers=4}",
    "--set=listenAddress=0.0.0.0,web.enabled=true,plugins=/usr/lib/tko/plugins",
    "--set=imagePullSecrets[0].name=pull,priorityClassName=high,nodeSelector.kind=edge",
    "--set=tolerations[0].operator=Exists,podLabels.team=core,podAnnotations.note=x",
];

/// The small set-up with everything that it can have.
const SMALL: &[&str] = &[
    "--set=certificates.mode=secret,certificates.secretName=mine,certificates.caBundle=Zm9v",
    "--set=manifests.mode=folder,metrics.enabled=true,web.enabled=true",
    "--set=clusters.enabled=true,clusters.kubeconfigsSecret=k,clusters.managementSecret=m",
    "--set=postgresql.storageClassName=fast,up.extraArgs={--auto-approve}",
];

/// The small set-up without the Kubernetes API and without policies.
const BARE: &[&str] = &[
    "--set=kubernetesApi.enabled=false,networkPolicies.enabled=false",
    "--set=podDisruptionBudget.enabled=false",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Renders the chart; the error is what helm says.
fn render(helm: &Path, values: &[&str]) -> Result<String, String> {
    let output = Command::new(helm)
        .args(["template", "tko"])
        .arg(root().join("deploy/chart"))
        .args(["--namespace", "tko-system"])
        .args(values)
        .output();
    let output = output.expect("helm runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// The objects of a manifest.
fn objects(text: &str) -> Vec<Value> {
    let limits = Limits::default();
    let package = Package::decode(text.as_bytes(), Format::Yaml, Dialect::People, &limits);
    let package = package.unwrap_or_else(|error| panic!("{error}:\n{text}"));
    package
        .iter()
        .map(|resource| resource.value().clone())
        .collect()
}

/// The specifications of all pods.
fn pods(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects
        .iter()
        .map(|object| &object["spec"]["template"]["spec"])
        .filter(|spec| spec.is_object())
}

/// The containers of a pod that run TKO.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let all = pod["containers"].as_array().expect("pods have containers");
    all.iter().filter(|container| container["name"] == "tko")
}

fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .map(|item| item.as_str().expect("text"))
        .collect()
}

/// Checks that the command line takes these arguments.
async fn accept(arguments: &[&str]) {
    let mut run = tko("");
    for argument in arguments {
        run = run.arg(argument);
    }
    // Arguments before --help are parsed first.
    run.arg("--help").good().await;
}

#[tokio::test]
async fn the_chart_is_valid_with_all_its_values() {
    let Some(helm) = helm() else { return };
    for values in [&[], SEPARATE, EVERYTHING, SMALL, BARE] {
        let lint = Command::new(helm)
            .args(["lint", "--strict"])
            .arg(root().join("deploy/chart"))
            .args(values)
            .output();
        let lint = lint.expect("helm runs");
        assert!(lint.status.success(), "{values:?}: {lint:?}");
        let text = render(helm, values).unwrap_or_else(|error| panic!("{values:?}: {error}"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("manifests.yaml");
        fs::write(&file, &text).expect("a temporary folder");
        for version in ["1.30", "1.37"] {
            let check = tko("validate").arg("--skip").arg(FOREIGN);
            let check = check.arg(format!("--kubernetes-version={version}"));
            check
                .arg("--missing-schemas=refuse")
                .arg(&file)
                .good()
                .await;
        }
        let objects = objects(&text);
        let (mut count, mut measured) = (0, 0);
        for pod in pods(&objects) {
            assert_eq!(pod["enableServiceLinks"], false, "{values:?}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{values:?}");
            for container in containers(pod) {
                count += 1;
                accept(&texts(&container["args"])).await;
                let security = &container["securityContext"];
                assert_eq!(security["readOnlyRootFilesystem"], true, "{values:?}");
                assert_eq!(security["capabilities"]["drop"][0], "ALL", "{values:?}");
                let ports = container["ports"].as_array().expect("ports");
                let has_port = |name: &str| ports.iter().any(|port| port["name"] == name);
                assert!(has_port("probes"));
                let is_measured = texts(&container["args"])
                    .iter()
                    .any(|argument| argument.starts_with("--metrics="));
                assert_eq!(has_port("metrics"), is_measured, "{values:?}");
                measured += usize::from(is_measured);
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    assert_eq!(container[probe]["httpGet"]["port"], "probes", "{probe}");
                }
                are_mounted(pod, container);
            }
        }
        assert!(count == 1 || count == 3, "{values:?}: {count} containers");
        let has_metrics = values.iter().any(|v| v.contains("metrics.enabled=true"));
        assert_eq!(measured, if has_metrics { count } else { 0 }, "{values:?}");
        metrics_are_reachable(&objects, has_metrics);
        for object in &objects {
            // Only the right to ask the cluster about requests.
            if object["kind"] == "ClusterRoleBinding" {
                assert_eq!(object["roleRef"]["name"], "system:auth-delegator");
            }
            if object["kind"] == "ClusterRole" {
                for rule in object["rules"].as_array().expect("rules") {
                    assert_eq!(texts(&rule["apiGroups"]), ["tko.nephio.org"]);
                    assert!(!texts(&rule["verbs"]).contains(&"*"));
                }
            }
        }
    }
}

/// Checks that a Service has the metrics of each component, and that policies permit them to readers.
fn metrics_are_reachable(objects: &[Value], has_metrics: bool) {
    let of_kind = |kind: &'static str| objects.iter().filter(move |o| o["kind"] == kind);
    let component = |labels: &Value| labels["app.kubernetes.io/component"].to_string();
    let is_measured =
        |object: &&Value| object["metadata"]["labels"]["tko.nephio.org/metrics"] == "true";
    let reached: BTreeSet<String> = of_kind("Service")
        .filter(is_measured)
        .map(|service| component(&service["spec"]["selector"]))
        .collect();
    let components: BTreeSet<String> = objects
        .iter()
        .map(|object| &object["spec"]["template"])
        .filter(|pod| pod["spec"].is_object() && containers(&pod["spec"]).next().is_some())
        .map(|pod| component(&pod["metadata"]["labels"]))
        .collect();
    let none = BTreeSet::new();
    assert_eq!(&reached, if has_metrics { &components } else { &none });
    // Of all values, only those with a ServiceMonitor name readers.
    let has_readers = of_kind("ServiceMonitor").next().is_some();
    for policy in of_kind("NetworkPolicy") {
        if !components.contains(&component(&policy["spec"]["podSelector"]["matchLabels"])) {
            continue;
        }
        let rules = policy["spec"]["ingress"].as_array().expect("rules");
        let mut rules = rules.iter();
        let rule = rules.find(|rule| rule["ports"][0]["port"] == "metrics");
        assert_eq!(rule.is_some(), has_readers, "{policy}");
        assert!(
            rule.is_none_or(|rule| rule["from"][0].is_object()),
            "{policy}"
        );
    }
}

/// Checks that every file that a container's flags name is in a volume that the pod has.
fn are_mounted(pod: &Value, container: &Value) {
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    for argument in texts(&container["args"]) {
        let Some((_, path)) = argument.split_once("=/") else {
            continue;
        };
        if argument.starts_with("--plugins") {
            continue;
        }
        let path = format!("/{path}");
        let mount = mounts
            .iter()
            .find(|mount| path.starts_with(mount["mountPath"].as_str().expect("text")));
        let mount = mount.unwrap_or_else(|| panic!("{argument} is in no volume"));
        let mut volumes = pod["volumes"].as_array().into_iter().flatten();
        let volume = volumes.find(|volume| volume["name"] == mount["name"]);
        // Volumes of claims of a StatefulSet are not in the pod.
        let items = volume.and_then(|volume| volume["secret"]["items"].as_array());
        if let Some(items) = items {
            let name = path.rsplit('/').next().expect("a name");
            assert!(
                items.iter().any(|item| item["path"] == name),
                "{argument} is not among the files of its Secret"
            );
        }
    }
}

#[test]
fn values_that_do_not_fit_are_refused_with_the_remedy() {
    let Some(helm) = helm() else { return };
    for (values, remedy) in [
        ("--set=mode=large", "expected small or separate"),
        ("--set=mode=separate", "set database.secretName"),
        ("--set=certificates.mode=none", "expected generate"),
        (
            "--set=certificates.mode=secret",
            "set certificates.secretName",
        ),
        ("--set=manifests.mode=mail", "expected none, git or folder"),
        ("--set=serviceMonitor.enabled=true", "needs metrics.enabled"),
    ] {
        let refused = render(helm, &[values]).expect_err(values);
        assert!(refused.contains(remedy), "{values}: {refused}");
    }
    let several = [SEPARATE, &["--set=manifests.mode=git,scheduler.replicas=2"]].concat();
    let refused = render(helm, &several).expect_err("one volume");
    assert!(refused.contains("set scheduler.replicas to 1"), "{refused}");
}

#[test]
fn the_certificates_of_the_chart_belong_together() {
    let Some(helm) = helm() else { return };
    let objects = objects(&render(helm, &[]).expect("valid"));
    let of = |kind: &str, name: &str| {
        let found = objects
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    };
    let bundle = &of("APIService", "v1alpha1.tko.nephio.org")["spec"]["caBundle"];
    assert_eq!(bundle, &of("Secret", "tko-certificate")["data"]["ca.crt"]);
}

#[test]
fn the_manifests_for_kustomize_are_those_of_the_chart() {
    let Some(helm) = helm() else { return };
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    if without.split(',').any(|name| name == "kubectl") {
        return;
    }
    for setup in ["small", "separate"] {
        let folder = root().join("deploy/kustomize").join(setup);
        let values = format!("--values={}", folder.join("values.yaml").display());
        let rendered = render(helm, &[&values]).expect("valid");
        let rendered = rendered.replace("managed-by: Helm", "managed-by: kustomize");
        let built = Command::new("kubectl")
            .arg("kustomize")
            .arg(&folder)
            .output();
        let built = built.expect("kubectl is installed");
        assert!(built.status.success(), "{built:?}");
        let sorted = |text: &str| {
            let mut all = objects(text);
            all.retain(|object| object["kind"] != "Namespace");
            all.sort_by_key(|object| {
                let name = &object["metadata"]["name"];
                (object["kind"].to_string(), name.to_string())
            });
            all
        };
        let (built, rendered) = (
            sorted(&String::from_utf8_lossy(&built.stdout)),
            sorted(&rendered),
        );
        assert!(
            built == rendered,
            "run deploy/kustomize/render.sh: {setup} differs from the chart"
        );
    }
}

#[tokio::test]
async fn the_units_and_the_image_pass_flags_that_exist() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("deploy/systemd")).expect("there are units") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/tko "));
        let start = start.unwrap_or_else(|| panic!("{} does not start tko", path.display()));
        let start = start.replace("%d", "/run/credentials");
        accept(&start.split(' ').collect::<Vec<_>>()).await;
        // Files of credentials are loaded under the names that the flags use.
        for name in start.split("/run/credentials/").skip(1) {
            let name = name.split(' ').next().expect("a name");
            let load = format!("LoadCredential={name}:/etc/tko/{name}");
            assert!(text.contains(&load), "{}: {load}", path.display());
        }
        // Without callers, the web would give every user of the machine the rights that gRPC refuses.
        if start.contains(" --grpc-tokens=") {
            let is_safe = start.contains(" --web=false") || start.contains(" --web-tokens=");
            assert!(is_safe, "{}", path.display());
        }
        // Functions in WebAssembly, which preparers run, need memory that becomes executable.
        let prepares = start.starts_with("up ") || start.starts_with("preparer ");
        let mut lines = text.lines();
        let is_denied = lines.any(|line| line.starts_with("MemoryDenyWriteExecute="));
        assert_eq!(is_denied, !prepares, "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 4);
    let image = fs::read_to_string(root().join("deploy/Containerfile")).expect("text");
    assert!(image.contains("ENTRYPOINT [\"/usr/bin/tko\"]"), "{image}");
    let command = image.lines().find_map(|line| line.strip_prefix("CMD "));
    let command: Value = serde_json::from_str(command.expect("a command")).expect("JSON");
    accept(&texts(&command)).await;
}
