//! Runs Flux's kustomize-controller, and plays its source-controller: makes an archive of the
//! repository `intent` for each new commit.

use super::super::Shell;
use super::good;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tko_kubernetes_server::{ApiServer, FluxPrograms, Programs};

/// Pause between two checks of the repository.
const PAUSE: Duration = Duration::from_millis(500);

/// The source of the page.
const SOURCE: [&str; 3] = ["gitrepository", "tko-intent", "--namespace=flux-system"];

/// The archive of the last commit.
type Archive = Arc<Mutex<Vec<u8>>>;

fn built() -> Option<FluxPrograms> {
    Programs::find().and_then(|programs| programs.flux())
}

/// Whether the program is there.
pub(super) fn is_built() -> bool {
    built().is_some()
}

/// The controllers of Flux.
pub(super) struct Flux {
    controller: Child,
    ends: Arc<AtomicBool>,
    source: Option<JoinHandle<()>>,
}

impl Flux {
    /// Installs the definitions, as `flux install` does, and starts the controllers.
    pub(super) fn start(cluster: &ApiServer, folder: &Path, shell: &mut Shell) -> Self {
        let flux = built().expect("it is built");
        let words = ["apply", "--server-side", "-f"];
        let definitions = flux.definitions.display().to_string();
        let words = [&words[..], &[definitions.as_str()]].concat();
        cluster
            .kubectl_output(&words, "")
            .expect("definitions are valid");
        let names = "crd/gitrepositories.source.toolkit.fluxcd.io \
                     crd/kustomizations.kustomize.toolkit.fluxcd.io";
        good(
            shell,
            &format!("kubectl wait {names} --for=condition=Established --timeout=1m"),
        );

        let log = File::create(folder.join("kustomize-controller.log")).expect("a file");
        let controller = Command::new(&flux.kustomize_controller)
            .args(["--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"])
            .args(["--no-remote-bases", "--http-retry=2"])
            .env("KUBECONFIG", cluster.kubeconfig("admin"))
            .env("RUNTIME_NAMESPACE", "flux-system")
            .env("HOME", folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("it runs");
        let ends = Arc::new(AtomicBool::new(false));
        let source = PlayedSource {
            repository: shell.work().join("intent"),
            kubeconfig: cluster.kubeconfig("admin"),
            archive: folder.join("intent.tar.gz"),
        };
        let stop = ends.clone();
        let source = std::thread::spawn(move || source.run(&stop));
        println!(
            "plays Flux's source-controller; kustomize-controller is {}",
            flux.version
        );
        Self {
            controller,
            ends,
            source: Some(source),
        }
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(source) = self.source.take() {
            // A panic there has failed the commands of the page.
            let _ = source.join();
        }
        // It may have ended already.
        let _ = self.controller.kill();
        let _ = self.controller.wait();
    }
}

struct PlayedSource {
    repository: PathBuf,
    kubeconfig: PathBuf,
    archive: PathBuf,
}

impl PlayedSource {
    /// Follows the repository until it is stopped.
    fn run(&self, stop: &AtomicBool) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("it has one").port();
        let archive = Archive::default();
        let served = archive.clone();
        // It ends with the process of the test.
        std::thread::spawn(move || serve(&listener, &served));
        let mut done = String::new();
        while !stop.load(Ordering::Relaxed) {
            let head = self.git(&["rev-parse", "HEAD"]).unwrap_or_default();
            if head != done && self.publish(&head, port, &archive).is_some() {
                done = head;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn git(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.repository).args(arguments);
        let output = command.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    /// Offers the archive of a commit in the status of the source. `None`: it is not there yet.
    fn publish(&self, head: &str, port: u16, archive: &Archive) -> Option<()> {
        let path = self.archive.display().to_string();
        self.git(&["archive", "--format=tar.gz", "-o", &path, "HEAD"])?;
        let bytes = fs::read(&self.archive).ok()?;
        let sum = Command::new("sha256sum").arg(&self.archive).output().ok()?;
        let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
        let digest = sum.split_whitespace().next()?;
        let size = bytes.len();
        *archive.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        let now = "2026-01-01T00:00:00Z";
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored",
            "lastTransitionTime": now, "observedGeneration": 1,
        });
        let status = json!({"status": {
            "observedGeneration": 1,
            "conditions": [ready],
            "artifact": {
                "path": "intent.tar.gz", "url": format!("http://127.0.0.1:{port}/{head}.tar.gz"),
                "revision": format!("main@sha1:{head}"), "digest": format!("sha256:{digest}"),
                "lastUpdateTime": now, "size": size,
            },
        }});
        self.patch(&status)
    }

    fn patch(&self, patch: &Value) -> Option<()> {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("patch")
            .args(SOURCE)
            .args(["--subresource=status", "--type=merge", "-p"])
            .arg(patch.to_string());
        let output = command.output().ok()?;
        output.status.success().then_some(())
    }
}

/// Answers every request with the archive.
fn serve(listener: &TcpListener, archive: &Archive) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        // A request without a body is one small packet.
        let Ok(1..) = stream.read(&mut [0; 4096]) else {
            continue;
        };
        let body = archive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // A client that went away asks again.
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body));
    }
}
