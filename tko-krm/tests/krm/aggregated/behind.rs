//! [`Behind`]: a server behind a real API server, which is registered there.

use crate::kubectl::Output;
use crate::requests::tls_client;
use crate::serving::Serving;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tko_backend_memory::Memory;
use tko_core::Store;
use tko_krm::{KrmSettings, KubeReviews};
use tko_kubernetes_server::{ApiServer, Authority, Issued, Programs};
use tko_serve::{Access, ServerTls};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

/// The name that the API server expects in the certificate.
const SERVICE: &str = "tko.tko-system.svc";

/// Longest time until the cluster has noticed something. It reads OpenAPI once a minute.
const PATIENCE: Duration = Duration::from_mins(3);

/// The rights of the server, and the account that has them.
const ACCOUNT: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: tko-system
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: tko
  namespace: tko-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: tko-auth-delegator
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects:
- kind: ServiceAccount
  name: tko
  namespace: tko-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: tko-auth-reader
  namespace: kube-system
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: extension-apiserver-authentication-reader
subjects:
- kind: ServiceAccount
  name: tko
  namespace: tko-system
";

/// A server with some entities, behind a cluster that serves its API.
pub(super) struct Behind {
    pub(super) cluster: ApiServer,
    pub(super) serving: Serving,
    /// The authority of the server's first certificate.
    pub(super) first: Authority,
    /// Another one, which the cluster trusts, too.
    pub(super) second: Authority,
    /// The id of a deployment.
    pub(super) id: String,
    folder: TempDir,
    reviews: KubeReviews,
}

impl Behind {
    /// Starts a cluster and the server, registers it, and waits until it is available.
    pub(super) async fn start() -> Self {
        let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = tokio::task::spawn_blocking(move || ApiServer::start(&programs));
        let cluster = cluster.await.expect("it does not panic");
        let cluster = cluster.expect("it starts");
        let admin = cluster.kubeconfig("admin");
        let kubectl = cluster.kubectl_of(Path::new("kubectl"), &admin, &["apply", "-f", "-"]);
        run(kubectl, ACCOUNT).await.ok();
        let words = ["create", "token", "tko", "-n", "tko-system"];
        let token = cluster.kubectl_of(Path::new("kubectl"), &admin, &words);
        let token = run(token, "").await.ok();
        let account = cluster.kubeconfig_of("tko", token.trim()).expect("a file");

        let folder = tempfile::tempdir().expect("a temporary folder");
        let (first, second) = (Authority::new("tko-ca"), Authority::new("tko-ca-2"));
        put(folder.path(), &certificate_of(&first));
        let reviews = KubeReviews::connect(Some(&account)).await;
        let reviews = reviews.expect("a kubeconfig");
        let access = access_with(folder.path());
        let cluster_reviews = Arc::new(reviews.clone());
        let serving = Serving::behind(KrmSettings::default(), access, Some(cluster_reviews)).await;
        let id = serving.fill().await;
        let this = Self {
            cluster,
            serving,
            first,
            second,
            id,
            folder,
            reviews,
        };
        let bundle = this.first.pem() + &this.second.pem();
        this.kubectl("apply -f -", &this.registration(&bundle))
            .await
            .ok();
        let words =
            "wait apiservice v1alpha1.tko.nephio.org --for=condition=Available --timeout=90s";
        let available = this.kubectl(words, "").await;
        assert!(available.success, "{available:?}\n{}", this.cluster.log());
        this
    }

    /// The objects that register the server, which has a certificate of one of these authorities.
    pub(super) fn registration(&self, bundle: &str) -> String {
        let port = self.serving.address.port();
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: tko\n  namespace: tko-system\nspec:\n  \
             type: ExternalName\n  externalName: localhost\n  ports:\n  - port: {port}\n---\n\
             apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata:\n  name: \
             v1alpha1.tko.nephio.org\nspec:\n  group: tko.nephio.org\n  version: v1alpha1\n  \
             groupPriorityMinimum: 1000\n  versionPriority: 10\n  caBundle: {}\n  service:\n    \
             name: tko\n    namespace: tko-system\n    port: {port}\n",
            base64(bundle.as_bytes())
        )
    }

    /// Runs the first kubectl as the administrator.
    pub(super) async fn kubectl(&self, words: &str, input: &str) -> Output {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.program(Path::new("kubectl"), &words, input).await
    }

    /// Runs this kubectl as the administrator.
    pub(super) async fn program(&self, program: &Path, words: &[&str], input: &str) -> Output {
        run(self.command(program, words), input).await
    }

    /// A command of this kubectl as the administrator.
    pub(super) fn command(&self, program: &Path, words: &[&str]) -> std::process::Command {
        let admin = self.cluster.kubeconfig("admin");
        self.cluster.kubectl_of(program, &admin, words)
    }

    /// Runs kubectl as a user without rights of its own.
    pub(super) async fn alice(&self, words: &str) -> Output {
        let words: Vec<&str> = words.split_whitespace().collect();
        run(self.cluster.kubectl_as("alice", &words), "").await
    }

    /// Waits until a command succeeds, and returns its output.
    pub(super) async fn eventually(&self, words: &str) -> String {
        self.until(words, |_| true).await
    }

    /// Waits until a command succeeds with the right output.
    pub(super) async fn until(&self, words: &str, is_right: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.kubectl(words, "").await;
            if output.success && is_right(&output.stdout) {
                return output.stdout;
            }
            assert!(Instant::now() < deadline, "{words}: {output:?}");
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Reads a document from the cluster as the administrator.
    pub(super) async fn document(&self, path: &str, accept: &str) -> Value {
        let request = self
            .cluster_client()
            .get(format!("{}{path}", self.cluster.url()))
            .bearer_auth(ApiServer::token("admin"))
            .header("Accept", accept);
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    }

    /// A client that trusts the cluster.
    pub(super) fn cluster_client(&self) -> reqwest::Client {
        tls_client(&self.cluster.authority().pem(), None)
    }

    /// The address of the sites, at the server itself.
    pub(super) fn direct(&self) -> String {
        format!(
            "https://localhost:{}/apis/tko.nephio.org/v1alpha1/sites",
            self.serving.address.port()
        )
    }

    /// Gives the server a certificate of this authority.
    pub(super) fn renew(&self, authority: &Authority) {
        put(self.folder.path(), &certificate_of(authority));
    }

    /// Stops the server.
    pub(super) async fn stop(self) {
        self.serving.stop().await;
    }

    /// Stops the server, and starts it again with the same data and the same address.
    pub(super) async fn restart(self, meanwhile: impl AsyncFnOnce(&ApiServer)) -> Self {
        let (data, port) = (self.serving.data.clone(), self.serving.address.port());
        self.serving.stop().await;
        meanwhile(&self.cluster).await;
        let serving = serve(data, port, self.folder.path(), &self.reviews).await;
        Self { serving, ..self }
    }

    /// Starts another server with the same data, registers it, and stops the first one, as an update
    /// of a Deployment does.
    pub(super) async fn roll(self) -> Self {
        let data = self.serving.data.clone();
        let next = serve(data, 0, self.folder.path(), &self.reviews).await;
        let (last, this) = (
            self.serving,
            Self {
                serving: next,
                ..self
            },
        );
        let registration = this.registration(&this.first.pem());
        this.kubectl("apply -f -", &registration).await.ok();
        // The cluster sends requests to the new server from now on.
        this.eventually("get sites").await;
        last.stop().await;
        this
    }
}

/// Starts a server over these data behind the cluster, with the certificate in the folder.
async fn serve(
    data: Arc<Store<Memory>>,
    port: u16,
    folder: &Path,
    reviews: &KubeReviews,
) -> Serving {
    let (settings, access) = (KrmSettings::default(), access_with(folder));
    Serving::over(
        data,
        port,
        settings,
        access,
        Some(Arc::new(reviews.clone())),
    )
    .await
}

/// The programs of kubectl to test.
pub(super) fn programs() -> Vec<PathBuf> {
    let programs = std::env::var("TKO_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    programs.split(':').map(PathBuf::from).collect()
}

/// Runs a command with this input.
pub(super) async fn run(command: std::process::Command, input: &str) -> Output {
    let mut command = tokio::process::Command::from(command);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.expect("kubectl is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command without input may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = output.await.expect("in time").expect("a child of ours");
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
    }
}

fn access_with(folder: &Path) -> Access {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    Access::new().tls(ServerTls::read(&certificate, &key, None).expect("just written"))
}

fn certificate_of(authority: &Authority) -> Issued {
    authority.server(&[SERVICE, "localhost", "127.0.0.1"])
}

fn put(folder: &Path, issued: &Issued) {
    std::fs::write(folder.join("tls.key"), &issued.key).expect("a temporary folder");
    std::fs::write(folder.join("tls.crt"), &issued.certificate).expect("a temporary folder");
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk
            .iter()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - chunk.len()));
        for at in 0..4 {
            if at <= chunk.len() {
                text.push(char::from(DIGITS[(all >> (18 - 6 * at) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}
