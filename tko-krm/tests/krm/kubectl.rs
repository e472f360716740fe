//! kubectl against the server. `TKO_TEST_KUBECTL` names the programs, separated by colons.

use crate::serving::Serving;
use std::process::Stdio;
use std::time::Duration;
use tko_krm::KrmSettings;
use tko_kubernetes_server::{Authority, Issued};
use tko_serve::{Access, ServerTls};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longest time for one command.
const PATIENCE: Duration = Duration::from_mins(1);

/// A kubectl of one version, which talks to a server.
pub(crate) struct Kubectl {
    program: String,
    server: String,
    /// The options of TLS.
    options: Vec<String>,
    home: tempfile::TempDir,
}

/// The output of a command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) success: bool,
}

impl Output {
    /// Standard output of a command that succeeded.
    pub(crate) fn ok(self) -> String {
        assert!(self.success, "{self:?}");
        self.stdout
    }

    /// Standard error of a command that failed.
    pub(crate) fn failed(self) -> String {
        assert!(!self.success, "{self:?}");
        self.stderr
    }
}

impl Kubectl {
    /// The installed versions; says so if there is none.
    pub(crate) fn all(serving: &Serving) -> Vec<Self> {
        let programs = std::env::var("TKO_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let all: Vec<Self> = programs
            .split(':')
            .filter(|program| {
                let version = std::process::Command::new(program)
                    .args(["version", "--client"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                version.is_ok_and(|status| status.success())
            })
            .map(|program| Self {
                program: program.to_owned(),
                server: format!("http://{}", serving.address),
                options: Vec::new(),
                home: tempfile::tempdir().expect("a temporary folder"),
            })
            .collect();
        let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
        assert!(
            !all.is_empty() || without.split(',').any(|name| name == "kubectl"),
            "kubectl is not installed; TKO_TEST_WITHOUT=kubectl skips its tests"
        );
        all
    }

    /// The same over TLS: it trusts this authority, and may have a certificate.
    fn over_tls(mut self, ca: &str, identity: Option<&Issued>) -> Self {
        self.server = self.server.replace("http:", "https:");
        self.options = vec![self.option("certificate-authority", ca)];
        if let Some(issued) = identity {
            let certificate = self.option("client-certificate", &issued.certificate);
            let key = self.option("client-key", &issued.key);
            self.options.extend([certificate, key]);
        }
        self
    }

    /// An option whose value is a file with this content.
    fn option(&self, name: &str, content: &str) -> String {
        let file = self.home.path().join(name);
        std::fs::write(&file, content).expect("a temporary folder");
        format!("--{name}={}", file.display())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--server")
            .arg(&self.server)
            .args(&self.options)
            .arg("--cache-dir")
            .arg(self.home.path())
            .args(arguments)
            .env("HOME", self.home.path())
            .env_remove("KUBECONFIG")
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command with this input.
    pub(crate) async fn with_input(&self, arguments: &[&str], input: &str) -> Output {
        let running = async {
            let mut child = self.command(arguments).spawn().expect("it is installed");
            let mut stdin = child.stdin.take().expect("a pipe");
            // A command that takes no input may have ended already.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await.expect("a child of ours")
        };
        let output = tokio::time::timeout(PATIENCE, running)
            .await
            .unwrap_or_else(|_| panic!("kubectl {arguments:?} takes too long"));
        Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            success: output.status.success(),
        }
    }

    /// Runs a command of words that are separated by spaces.
    pub(crate) async fn run(&self, words: &str) -> Output {
        let arguments: Vec<&str> = words.split_whitespace().collect();
        self.with_input(&arguments, "").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_discovers_lists_and_gets() {
    let serving = Serving::start().await;
    let id = serving.fill().await;
    for kubectl in Kubectl::all(&serving) {
        let resources = kubectl
            .run("api-resources --api-group=tko.nephio.org")
            .await
            .ok();
        for kind in ["Template", "Site", "Deployment", "Plugin"] {
            assert!(resources.contains(kind), "{resources}");
        }
        let versions = kubectl.run("api-versions").await.ok();
        assert_eq!(versions.trim(), "tko.nephio.org/v1alpha1");
        assert!(kubectl.run("version").await.ok().contains("tko"));
        let all = kubectl.run("get tko").await.ok();
        for name in [
            "template.tko.nephio.org/demo-002fhello-002dworld-003av1.0.0",
            "site.tko.nephio.org/india-002fsouth-002d100",
            "plugin.tko.nephio.org/prepare-007cgateway",
            &format!("deployment.tko.nephio.org/{id}"),
        ] {
            assert!(all.contains(name), "{all}");
        }
        let table = kubectl.run("get deployment.tko").await.ok();
        assert!(
            table.contains("NotPrepared") && table.contains("AGE"),
            "{table}"
        );
        let wide = kubectl.run("get deployment.tko -o wide").await.ok();
        assert!(wide.contains("waiting for a preparer"), "{wide}");
        let yaml = kubectl
            .run("get template demo-002fhello-002dworld-003av1.0.0 -o yaml")
            .await;
        let yaml = yaml.ok();
        assert!(yaml.contains("greeting: hello"), "{yaml}");
        let missing = kubectl.run("get template none").await.failed();
        assert!(missing.contains("NotFound"), "{missing}");
        let sorted = kubectl
            .run("get templates --sort-by=.metadata.name")
            .await
            .ok();
        assert!(sorted.contains("demo-002f"), "{sorted}");
        let described = kubectl
            .run(&format!("describe deployment.tko {id}"))
            .await
            .ok();
        assert!(described.contains("NotPrepared"), "{described}");
        let explained =
            kubectl.run("explain deployment.spec.siteId --api-version=tko.nephio.org/v1alpha1");
        let explained = explained.await.ok();
        assert!(explained.contains("where it will run"), "{explained}");
        let explained = kubectl.run("explain templates.metadata").await.ok();
        assert!(explained.contains("annotations"), "{explained}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_needs_a_client_certificate_if_the_server_has_a_client_ca() {
    let ca = Authority::new("ca");
    let (own, alice) = (ca.server(&["127.0.0.1"]), ca.client("alice", &[]));
    let clients = ca.pem();
    let tls = ServerTls::new(
        own.certificate.as_bytes(),
        own.key.as_bytes(),
        Some(clients.as_bytes()),
    );
    let serving = Serving::with(KrmSettings::default(), Access::new().tls(tls)).await;
    serving.fill().await;
    for kubectl in Kubectl::all(&serving) {
        let known = kubectl.over_tls(&ca.pem(), Some(&alice));
        let sites = known.run("get sites").await.ok();
        assert!(sites.contains("india-002fsouth-002d100"), "{sites}");
    }
    for kubectl in Kubectl::all(&serving) {
        let unauthenticated = kubectl.over_tls(&ca.pem(), None);
        unauthenticated.run("get sites").await.failed();
    }
    serving.stop().await;
}
