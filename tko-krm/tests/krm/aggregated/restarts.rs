//! Watches and waits across a restart of the server.

use super::behind::Behind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tko_kubernetes_server::ApiServer;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SITE: &str = "india-002fsouth-002d100";

/// A kubectl that keeps running.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(behind: &Behind, words: &[&str]) -> Self {
        let mut command = Command::from(behind.command(Path::new("kubectl"), words));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.expect("kubectl is installed");
        let stdout = child.stdout.take().expect("a pipe");
        let lines = BufReader::new(stdout).lines();
        Self { child, lines }
    }

    /// Waits for a line with this text.
    async fn until(&mut self, text: &str) {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                if line.contains(text) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(Duration::from_mins(2), reading).await;
        assert!(found.unwrap_or(false), "no line with {text:?}");
    }

    async fn ends_well(mut self) {
        let ended = tokio::time::timeout(Duration::from_mins(2), self.child.wait()).await;
        let ended = ended.expect("in time").expect("a child of ours");
        assert!(ended.success(), "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn watches_and_waits_go_on_after_a_restart() {
    let mut behind = Behind::start().await;
    behind.eventually("get sites").await;
    let words = ["get", "site", SITE, "-w", "-L", "round"];
    let mut watching = Running::start(&behind, &words);
    watching.until(SITE).await;
    let words = format!("label site {SITE} round=first");
    behind.kubectl(&words, "").await.ok();
    watching.until("first").await;
    let waiting = Running::start(
        &behind,
        &[
            "wait",
            "site",
            SITE,
            "--for=jsonpath={.metadata.labels.round}=second",
            "--timeout=120s",
        ],
    );
    let sites = "/apis/tko.nephio.org/v1alpha1/sites";
    let list = behind.document(sites, "application/json").await;
    let position = list["metadata"]["resourceVersion"].as_str();
    let position = position.expect("lists have a position").to_owned();

    // An update: another server is there before the first one stops. The stream of `get -w` ends
    // with its server, without an error; `wait` opens another one.
    behind = behind.roll().await;
    watching.ends_well().await;
    let words = format!("label site {SITE} round=second --overwrite");
    behind.kubectl(&words, "").await.ok();
    waiting.ends_well().await;

    // A restart. Meanwhile the cluster itself continues, and says what is missing.
    behind = behind
        .restart(async |cluster: &ApiServer| {
            let mut command = Command::from(cluster.kubectl(&["get", "--raw", sites]));
            let output = command.output().await.expect("it runs");
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(message.contains("unable to handle"), "{message}");
            let words = ["create", "namespace", "meanwhile"];
            let mut command = Command::from(cluster.kubectl(&words));
            assert!(command.status().await.expect("it runs").success());
        })
        .await;
    behind.eventually("get sites").await;
    // A client that resumes where it was gets exactly what it missed.
    let path = format!("{sites}?watch=true&timeoutSeconds=5&resourceVersion={position}");
    let missed = behind.kubectl(&format!("get --raw {path}"), "").await.ok();
    let kinds: Vec<&str> = missed
        .lines()
        .filter_map(|line| line.split('"').nth(3))
        .collect();
    assert_eq!(kinds, ["MODIFIED"], "{missed}");
    let mut watching = Running::start(&behind, &["get", "site", SITE, "-w", "-L", "round"]);
    watching.until("second").await;
    let words = format!("label site {SITE} round=third --overwrite");
    behind.kubectl(&words, "").await.ok();
    watching.until("third").await;
    behind.stop().await;
}
