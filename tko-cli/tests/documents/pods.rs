//! Plays the kubelet for the pods of the chart: starts the program of each with its own flags.

use super::super::{free_port, postgres};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tko_kubernetes_server::ApiServer;

/// The namespace of the chart.
const NAMESPACE: &str = "tko-system";

/// The registration of the API.
const REGISTRATION: &str = "v1alpha1.tko.nephio.org";

/// Longest start of a program.
const PATIENCE: Duration = Duration::from_mins(2);

/// The running programs.
#[derive(Default)]
pub(super) struct Pods {
    children: Vec<Child>,
    /// The Service of the API and the port of its registration, as the chart has them.
    original: Option<(Value, Value)>,
    /// The number of starts so far.
    plays: usize,
}

/// Where the flags of pods lead, on this machine.
struct Places {
    folder: PathBuf,
    grpc: u16,
    kubernetes: u16,
    database: Vec<(&'static str, String)>,
}

impl Pods {
    /// Starts the programs of all pods of the namespace, and leads the API of the cluster to them.
    pub(super) fn play(&mut self, cluster: &ApiServer, folder: &Path) {
        self.plays += 1;
        let folder = folder.join(format!("pods-{}", self.plays));
        fs::create_dir(&folder).expect("a folder");
        let places = Places {
            folder,
            grpc: free_port(),
            kubernetes: free_port(),
            database: postgres(),
        };
        let found = json_of(cluster, &["get", "deployment,statefulset", "-n", NAMESPACE]);
        // Those that serve come before those that call them.
        let mut pods: Vec<&Value> = found["items"].as_array().into_iter().flatten().collect();
        pods.sort_by_key(|pod| !serves(pod));
        assert!(!pods.is_empty(), "the chart has no pods");
        for pod in pods {
            self.children.push(places.start(cluster, pod));
            places.until_started(pod);
        }
        self.original = Some(redirect(cluster, places.kubernetes));
    }

    /// Leads the API of the cluster to the Service of the chart again.
    pub(super) fn restore(&mut self, cluster: &ApiServer) {
        if let Some((service, port)) = self.original.take() {
            lead(cluster, &service, &port);
        }
    }

    pub(super) fn stop(&mut self) {
        for mut child in self.children.drain(..) {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Places {
    /// Starts the program of a pod.
    fn start(&self, cluster: &ApiServer, pod: &Value) -> Child {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        let all = arguments(pod);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tko"));
        for argument in self.volumes(cluster, pod, &all) {
            command.arg(argument);
        }
        if serves(pod) {
            let account = pod["spec"]["template"]["spec"]["serviceAccountName"].as_str();
            let account = account.expect("an account");
            let words = ["create", "token", account, "-n", NAMESPACE];
            let token = cluster.kubectl_output(&words, "").expect("a token");
            let kubeconfig = cluster.kubeconfig_of(account, token.trim());
            command
                .arg("--kubernetes-kubeconfig")
                .arg(kubeconfig.expect("a file"));
            command.arg(format!("--kubernetes-port={}", self.kubernetes));
        }
        println!("plays the pod of {name}: {}", all.join(" "));
        let file = File::create(self.log(pod)).expect("a file");
        command
            .arg(format!("--grpc-port={}", self.grpc))
            .envs(self.database.iter().cloned())
            .env("HOME", &self.folder)
            .env("TKO_WEB_PORT", "0")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("tko runs")
    }

    fn log(&self, pod: &Value) -> PathBuf {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        self.folder.join(format!("{name}.log"))
    }

    /// Waits until the program of a pod works.
    fn until_started(&self, pod: &Value) {
        let until = Instant::now() + PATIENCE;
        let sign = if serves(pod) {
            "serving the Kubernetes API"
        } else {
            "worker started"
        };
        loop {
            let text = fs::read_to_string(self.log(pod)).unwrap_or_default();
            if text.contains(sign) {
                return;
            }
            assert!(Instant::now() < until, "it does not start:\n{text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The arguments, with paths of this machine for the volumes.
    fn volumes(&self, cluster: &ApiServer, pod: &Value, arguments: &[String]) -> Vec<String> {
        let spec = &pod["spec"]["template"]["spec"];
        let volumes = spec["volumes"].as_array().into_iter().flatten();
        let secrets: BTreeMap<&str, &str> = volumes
            .filter_map(|volume| {
                Some((
                    volume["name"].as_str()?,
                    volume["secret"]["secretName"].as_str()?,
                ))
            })
            .collect();
        let mut paths = Vec::new();
        for mount in container(pod)["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let (Some(name), Some(path)) = (mount["name"].as_str(), mount["mountPath"].as_str())
            else {
                continue;
            };
            let own = self.folder.join(path.trim_start_matches('/'));
            fs::create_dir_all(&own).expect("a folder");
            if let Some(secret) = secrets.get(name) {
                write_secret(cluster, secret, &own);
            }
            paths.push((path.to_owned(), own.display().to_string()));
        }
        // A longer path may be below a shorter one.
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let here = |argument: &String| {
            let mounted = paths
                .iter()
                .find(|(path, _)| argument.contains(&format!("={path}")));
            let argument = match mounted {
                Some((path, own)) => argument.replace(path, own),
                None => argument.clone(),
            };
            argument
                .replace(":8086", ":0")
                .replace("tko-data.tko-system.svc", "localhost")
        };
        arguments.iter().map(here).collect()
    }
}

fn container(pod: &Value) -> &Value {
    let containers = pod["spec"]["template"]["spec"]["containers"].as_array();
    let mut containers = containers.into_iter().flatten();
    let found = containers.find(|container| container["name"] == "tko");
    found.expect("pods of the chart run tko")
}

/// Whether the program serves the API.
fn serves(pod: &Value) -> bool {
    arguments(pod).iter().any(|one| one == "--kubernetes")
}

fn arguments(pod: &Value) -> Vec<String> {
    let all = container(pod)["args"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn json_of(cluster: &ApiServer, words: &[&str]) -> Value {
    let words = [words, &["-o", "json"]].concat();
    let text = cluster.kubectl_output(&words, "").expect("it succeeds");
    serde_json::from_str(&text).expect("JSON")
}

fn write_secret(cluster: &ApiServer, name: &str, folder: &Path) {
    let secret = json_of(cluster, &["get", "secret", name, "-n", NAMESPACE]);
    for key in secret["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
    {
        let template = format!("go-template={{{{index .data {key:?} | base64decode}}}}");
        let words = ["get", "secret", name, "-n", NAMESPACE, "-o", &template];
        let value = cluster.kubectl_output(&words, "").expect("it is there");
        fs::write(folder.join(key), value).expect("a file");
    }
}

/// Makes the Service of the API lead to this port of the machine. Returns the Service and the port
/// before.
fn redirect(cluster: &ApiServer, port: u16) -> (Value, Value) {
    let registration = json_of(cluster, &["get", "apiservice", REGISTRATION]);
    let reference = &registration["spec"]["service"];
    let name = reference["name"].as_str().expect("a name");
    let before = json_of(cluster, &["get", "service", name, "-n", NAMESPACE]);
    let mut service = before.clone();
    service["spec"] = json!({
        "type": "ExternalName", "externalName": "localhost",
        "ports": [{"name": "kubernetes", "port": port}],
    });
    lead(cluster, &service, &json!(port));
    (before, reference["port"].clone())
}

fn lead(cluster: &ApiServer, service: &Value, port: &Value) {
    let name = service["metadata"]["name"].as_str().expect("a name");
    let patch = json!([{"op": "replace", "path": "/spec", "value": service["spec"]}]).to_string();
    let words = [
        "patch",
        "service",
        name,
        "-n",
        NAMESPACE,
        "--type=json",
        "-p",
        &patch,
    ];
    cluster.kubectl_output(&words, "").expect("it is patched");
    let patch = json!({"spec": {"service": {"port": port}}}).to_string();
    let words = [
        "patch",
        "apiservice",
        REGISTRATION,
        "--type=merge",
        "-p",
        &patch,
    ];
    cluster.kubectl_output(&words, "").expect("it is patched");
}
