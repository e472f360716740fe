//! [`ApiServer`]: a running API server with its etcd.

use crate::audit;
use crate::certificates::{Authority, Issued};
use crate::process::RunningProgram;
use crate::programs::Programs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Maximum time for a start.
const PATIENCE: Duration = Duration::from_mins(2);

/// Pause between two attempts to reach the server.
const PAUSE: Duration = Duration::from_millis(200);

/// The token of the administrator.
const ADMIN_TOKEN: &str = "admin-token-of-a-test-server";

/// The name in the certificate of the front proxy.
const FRONT_PROXY: &str = "front-proxy-client";

/// The file of the audit log.
const AUDIT_LOG: &str = "audit.log";

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterStartError {
    /// A file or process could not be made.
    #[error("could not start a Kubernetes API server")]
    Io(#[from] io::Error),
    /// A program ended, or was not ready in time.
    #[error("{program} did not get ready:\n{output}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// The end of its output.
        output: String,
    },
}

/// A running API server. It ends when the value is dropped.
pub struct ApiServer {
    port: u16,
    authority: Authority,
    front_proxy: Authority,
    controller_manager: Option<RunningProgram>,
    /// The API server; `None` while it is stopped.
    kube_api: Option<RunningProgram>,
    /// The command that starts it.
    kube_api_command: Command,
    etcd: RunningProgram,
    folder: TempDir,
    /// The number of commands of kubectl so far.
    calls: AtomicUsize,
}

impl ApiServer {
    /// Starts etcd and the API server, and waits until it is ready. The users with tokens are
    /// `admin`, a member of `system:masters`, and `alice` and `bob`, who have no rights.
    /// [`ApiServer::token`] returns their tokens.
    ///
    /// # Errors
    /// A program cannot be started, or is not ready in time.
    pub fn start(programs: &Programs) -> Result<Self, ClusterStartError> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let [client, peer, port] = free_ports()?;
        let (etcd_url, peer_url) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let etcd = RunningProgram::start(
            Command::new(programs.etcd())
                .arg("--data-dir")
                .arg(path("etcd"))
                .args(["--listen-client-urls", &etcd_url])
                .args(["--advertise-client-urls", &etcd_url])
                .args(["--listen-peer-urls", &peer_url])
                .args(["--initial-advertise-peer-urls", &peer_url])
                .args(["--initial-cluster", &format!("default={peer_url}")])
                .args(["--unsafe-no-fsync", "--log-level", "warn"]),
            &path("etcd.log"),
        )?;
        let authority = Authority::new("test-ca");
        let front_proxy_authority = Authority::new("front-proxy-ca");
        let put = |name: &str, text: &str| std::fs::write(path(name), text).map(|()| path(name));
        let ca = put("ca.pem", &authority.pem())?;
        let front_proxy_ca = put("front-proxy-ca.pem", &front_proxy_authority.pem())?;
        let (certificate, key) = keep(
            folder.path(),
            "server",
            &authority.server(&["127.0.0.1", "localhost"]),
        )?;
        let (proxy_certificate, proxy_key) = keep(
            folder.path(),
            "front-proxy",
            &front_proxy_authority.client(FRONT_PROXY, &[]),
        )?;
        // The server reads the public key of the accounts from a certificate.
        let (accounts, accounts_key) = keep(
            folder.path(),
            "accounts",
            &authority.client("accounts", &[]),
        )?;
        let tokens = put(
            "tokens.csv",
            &format!(
                "{ADMIN_TOKEN},admin,1,\"system:masters\"\n{},alice,2\n{},bob,3\n",
                Self::token("alice"),
                Self::token("bob")
            ),
        )?;
        let audit_policy = put("audit-policy.yaml", audit::POLICY)?;
        let mut kube_api_command = Command::new(programs.api_server());
        kube_api_command
            .args(["--etcd-servers", &etcd_url])
            .args(["--bind-address", "127.0.0.1"])
            .args(["--secure-port", &port.to_string()])
            .args(["--service-cluster-ip-range", "10.0.0.0/24"])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args(["--authorization-mode", "RBAC"])
            .args(["--requestheader-allowed-names", FRONT_PROXY])
            .args(["--requestheader-username-headers", "X-Remote-User"])
            .args(["--requestheader-group-headers", "X-Remote-Group"])
            .args(["--requestheader-extra-headers-prefix", "X-Remote-Extra-"]);
        for (flag, file) in [
            ("--cert-dir", &path("certificates")),
            ("--tls-cert-file", &certificate),
            ("--tls-private-key-file", &key),
            ("--client-ca-file", &ca),
            ("--token-auth-file", &tokens),
            ("--service-account-key-file", &accounts),
            ("--service-account-signing-key-file", &accounts_key),
            ("--requestheader-client-ca-file", &front_proxy_ca),
            ("--proxy-client-cert-file", &proxy_certificate),
            ("--proxy-client-key-file", &proxy_key),
            ("--audit-policy-file", &audit_policy),
            ("--audit-log-path", &path(AUDIT_LOG)),
        ] {
            kube_api_command.arg(flag).arg(file);
        }
        let kube_api = RunningProgram::start(&mut kube_api_command, &path("api-server.log"))?;
        for (user, token) in [
            ("admin", ADMIN_TOKEN.to_owned()),
            ("alice", Self::token("alice")),
            ("bob", Self::token("bob")),
        ] {
            put(
                &format!("{user}.kubeconfig"),
                &kubeconfig(port, &ca, &token, None),
            )?;
        }
        let mut server = Self {
            port,
            authority,
            front_proxy: front_proxy_authority,
            controller_manager: None,
            kube_api: Some(kube_api),
            kube_api_command,
            etcd,
            folder,
            calls: AtomicUsize::new(0),
        };
        server.wait()?;
        if let Some(program) = programs.controller_manager() {
            server.controller_manager = Some(server.manage(&program, &accounts_key, &ca)?);
        }
        Ok(server)
    }

    /// Starts the controllers for garbage collection, namespaces, service accounts and aggregated
    /// roles.
    fn manage(&self, program: &Path, accounts: &Path, ca: &Path) -> io::Result<RunningProgram> {
        RunningProgram::start(
            Command::new(program)
                .arg("--kubeconfig")
                .arg(self.kubeconfig("admin"))
                .arg("--service-account-private-key-file")
                .arg(accounts)
                .arg("--root-ca-file")
                .arg(ca)
                .args(["--leader-elect=false", "--secure-port=0"])
                .arg("--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,clusterrole-aggregation-controller"),
            &self.folder.path().join("controller-manager.log"),
        )
    }

    fn wait(&mut self) -> Result<(), ClusterStartError> {
        let started = Instant::now();
        loop {
            let ready = self.kubectl(&["get", "--raw", "/readyz"]).output();
            if ready.is_ok_and(|output| output.status.success()) {
                return Ok(());
            }
            let kube_api = self.kube_api.iter_mut();
            let kube_api = kube_api.map(|process| ("kube-apiserver", process));
            for (program, process) in [("etcd", &mut self.etcd)].into_iter().chain(kube_api) {
                if process.has_ended() || started.elapsed() > PATIENCE {
                    let output = process.output();
                    return Err(ClusterStartError::NotReady { program, output });
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The token of a user.
    pub fn token(user: &str) -> String {
        match user {
            "admin" => ADMIN_TOKEN.to_owned(),
            user => format!("{user}-token-of-a-test-server"),
        }
    }

    /// The address of the server.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed the server's certificate, and that signs the certificates of
    /// clients.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The authority that signed the certificate of the front proxy.
    pub fn front_proxy(&self) -> &Authority {
        &self.front_proxy
    }

    /// The common name in the certificate of the front proxy.
    pub fn front_proxy_name() -> &'static str {
        FRONT_PROXY
    }

    /// The certificate of the authority that signed the server's certificate, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The kubeconfig of a user: `admin`, `alice` or `bob`.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.path().join(format!("{user}.kubeconfig"))
    }

    /// A `kubectl` command with the rights of the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        self.kubectl_as("admin", arguments)
    }

    /// A `kubectl` command with the rights of a user.
    pub fn kubectl_as(&self, user: &str, arguments: &[&str]) -> Command {
        self.kubectl_of(Path::new("kubectl"), &self.kubeconfig(user), arguments)
    }

    /// A command that runs this `kubectl` program with this kubeconfig.
    pub fn kubectl_of(&self, program: &Path, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cache-dir")
            // Each command has its own cache, because discovery changes while the tests run.
            .arg(self.folder.path().join(format!("cache-{call}")))
            .args(arguments)
            .env("HOME", self.folder.path())
            .env_remove("KUBECONFIG");
        command
    }

    /// Writes a kubeconfig with a bearer token, and returns its path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> io::Result<PathBuf> {
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, kubeconfig(self.port, &self.ca(), token, None))?;
        Ok(path)
    }

    /// Whether the controllers that collect garbage and delete namespaces are running.
    pub fn has_controllers(&self) -> bool {
        self.controller_manager.is_some()
    }

    /// The end of the API server's log.
    pub fn log(&self) -> String {
        let running = self.kube_api.as_ref();
        running.map(RunningProgram::output).unwrap_or_default()
    }

    /// The answered requests of the users whose names start with `user`, each as user, verb and
    /// resource: `bob list configmaps`.
    ///
    /// The server logs a request a moment after its answer, so this blocks until no more come.
    ///
    /// # Errors
    /// The log cannot be read, or a line is not an event.
    pub fn audit(&self, user: &str) -> io::Result<Vec<String>> {
        audit::requests(&self.folder.path().join(AUDIT_LOG), user)
    }

    /// Stops the API server. Its data stay: etcd continues.
    pub fn stop_api(&mut self) {
        self.kube_api = None;
    }

    /// Starts the API server again, on the same port, and waits until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_api(&mut self) -> Result<(), ClusterStartError> {
        let log = self.folder.path().join("api-server.log");
        self.kube_api = Some(RunningProgram::start(&mut self.kube_api_command, &log)?);
        self.wait()
    }
}

fn keep(folder: &Path, name: &str, issued: &Issued) -> io::Result<(PathBuf, PathBuf)> {
    let certificate = folder.join(format!("{name}.pem"));
    let key = folder.join(format!("{name}-key.pem"));
    std::fs::write(&certificate, &issued.certificate)?;
    std::fs::write(&key, &issued.key)?;
    Ok((certificate, key))
}

/// A kubeconfig with a bearer token, whose context has this namespace.
pub(crate) fn kubeconfig(port: u16, ca: &Path, token: &str, namespace: Option<&str>) -> String {
    let namespace = namespace.map_or_else(String::new, |name| format!("    namespace: {name}\n"));
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: test\n  cluster:\n    server: \
         https://127.0.0.1:{port}\n    certificate-authority: {}\nusers:\n- name: user\n  user:\n    \
         token: {token}\ncontexts:\n- name: test\n  context:\n    cluster: test\n    user: \
         user\n{namespace}current-context: test\n",
        ca.display()
    )
}

/// Ports that are free now.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let listeners = std::array::from_fn::<_, N, _>(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = match listener {
            Ok(listener) => listener.local_addr()?.port(),
            Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
        };
    }
    Ok(ports)
}
