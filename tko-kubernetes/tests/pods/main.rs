//! Programs in pods, by an exec server of the tests' own. No kubelet takes part.

mod exec_server;

use exec_server::{Behaviour, start};
use std::time::Duration;
use tko_kubernetes::{PodCommand, PodFailure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, duplex};
use tokio::time::timeout;

const V5: Behaviour = Behaviour::Runs("v5.channel.k8s.io");
const MINUTE: Duration = Duration::from_mins(1);

/// Runs a program with an input.
async fn run(
    behaviour: Behaviour,
    command: &[&str],
    input: &[u8],
) -> (Result<i32, PodFailure>, Vec<u8>, Vec<u8>) {
    let client = client(behaviour).await;
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let pod = PodCommand::new("tko", "worker", "main", command);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = pod.run(client, input, &mut stdout, &mut stderr);
    let ended = timeout(MINUTE, ended).await.expect("it ends");
    (ended, stdout, stderr)
}

async fn client(behaviour: Behaviour) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = start(behaviour).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: \
         'http://{address}'}}}}]\nusers: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: \
         {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
    );
    std::fs::write(&path, text).expect("a folder");
    PodCommand::connect(Some(&path)).await.expect("it is valid")
}

#[tokio::test]
async fn streams_and_exit_codes_are_kept_apart() {
    let script = "cat; echo problem >&2; exit 3";
    let input = vec![b'x'; 300_000];
    let (ended, stdout, stderr) = run(V5, &["sh", "-c", script], &input).await;
    assert_eq!(ended.expect("it ran"), 3);
    assert_eq!(stdout, input);
    assert_eq!(stderr, b"problem\n");
    let (ended, ..) = run(V5, &["true"], b"").await;
    assert_eq!(ended.expect("it ran"), 0);
}

#[tokio::test]
async fn arguments_are_not_interpreted() {
    let word = "a b&c=d;$HOME'\"é+%";
    let (ended, stdout, _) = run(V5, &["printf", "%s", word], b"").await;
    assert_eq!(ended.expect("it ran"), 0);
    assert_eq!(String::from_utf8_lossy(&stdout), word);
}

#[tokio::test]
async fn a_session_stays_open_for_one_frame_after_the_other() {
    for version in ["v5.channel.k8s.io", "v4.channel.k8s.io"] {
        let client = client(Behaviour::Runs(version)).await;
        let command = ["sh", "-c", "while read line; do echo \"got $line\"; done"];
        let command = command.map(str::to_owned).to_vec();
        let pod = PodCommand::new("tko", "worker", "main", command);
        let (mut input, stdin) = duplex(1_024);
        let (stdout, output) = duplex(1_024);
        let session =
            tokio::spawn(async move { pod.run(client, stdin, stdout, tokio::io::sink()).await });
        let mut lines = BufReader::new(output).lines();
        for number in 0..50 {
            let sent = format!("{number}\n");
            input.write_all(sent.as_bytes()).await.expect("it reads");
            let line = timeout(MINUTE, lines.next_line()).await.expect("in time");
            assert_eq!(line.expect("it writes"), Some(format!("got {number}")));
        }
        drop(input);
        let ended = timeout(MINUTE, session)
            .await
            .expect("it ends")
            .expect("no panic");
        if version.starts_with("v5") {
            assert_eq!(ended.expect("it ran"), 0);
        } else {
            // Version 4 cannot say that stdin has ended, so the connection does.
            assert!(ended.is_err());
        }
    }
}

#[tokio::test]
async fn a_pod_that_is_missing_is_named() {
    let (ended, ..) = run(Behaviour::NotFound, &["true"], b"").await;
    let said = ended.expect_err("there is none").to_string();
    assert!(
        said.contains("tko/worker") && said.contains("not found"),
        "{said}"
    );
}

#[tokio::test]
async fn a_broken_connection_is_no_exit_code() {
    let (ended, stdout, _) = run(Behaviour::Breaks, &["true"], b"").await;
    assert!(matches!(ended, Err(PodFailure::Lost(_))), "{ended:?}");
    assert_eq!(stdout, b"first\n");
}

#[tokio::test]
async fn a_cancelled_session_ends_the_connection() {
    let client = client(V5).await;
    // The server kills the program when the connection ends, as container runtimes do.
    let command = ["sh", "-c", "echo $$; exec cat"].map(str::to_owned);
    let pod = PodCommand::new("tko", "worker", "main", command.to_vec());
    let (_input, stdin) = duplex(1_024);
    let (stdout, output) = duplex(1_024);
    let session =
        tokio::spawn(async move { pod.run(client, stdin, stdout, tokio::io::sink()).await });
    let mut lines = BufReader::new(output).lines();
    let line = timeout(MINUTE, lines.next_line()).await.expect("in time");
    let process = line.expect("it writes").expect("its number");
    let alive = || std::path::Path::new("/proc").join(&process).exists();
    assert!(alive());
    session.abort();
    let gone = async {
        while alive() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(MINUTE, gone).await.expect("the program ends");
}
