//! `tko plugin test`, `replay` and `new`, without a server.

use crate::harness::{example, plugin, tko};
use std::fs;
use std::process::Command;

const NETWORK: &str = "
apiVersion: example.org/v1
kind: Port
metadata: {name: n3}
spec: {mtu: 9000}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
";

#[tokio::test]
async fn a_file_is_tested_recorded_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.yaml");
    fs::write(&input, NETWORK).expect("writes");
    let record = folder.path().join("calls");
    let test = tko("plugin test")
        .arg(plugin("prepare.py"))
        .arg("--input")
        .arg(input.to_str().expect("UTF-8"))
        .arg("--record")
        .arg(record.to_str().expect("UTF-8"))
        .good()
        .await;
    assert!(
        test.text().contains("+    nephio.org/prepared: \"true\""),
        "{test}"
    );
    assert!(
        !test.text().contains("other"),
        "only the difference: {test}"
    );
    assert!(test.stderr.contains("prepared in "), "{test}");
    let record = record.to_str().expect("UTF-8");
    let replay = tko("plugin replay").arg(record).good().await;
    assert!(replay.text().starts_with("ok "), "{replay}");
    let answer = format!("{record}/0001/answer.json");
    let text = fs::read_to_string(&answer).expect("is there");
    fs::write(&answer, text.replace("9000", "1500")).expect("writes");
    let replay = tko("plugin replay").arg(record).run().await;
    assert!(replay.code() != Some(0), "{replay}");
    assert!(
        replay.text().contains("-  mtu: 1500\n+  mtu: 9000"),
        "{replay}"
    );
}

#[tokio::test]
async fn errors_and_log_lines_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.yaml");
    fs::write(&input, NETWORK).expect("writes");
    let input = input.to_str().expect("UTF-8");
    let failed = tko("plugin test")
        .arg(plugin("error.py"))
        .arg("--input")
        .arg(input)
        .arg("--target=Port/n3")
        .run()
        .await;
    assert!(failed.code() != Some(0), "{failed}");
    assert!(
        failed.stderr.contains("the plugin reported: no free VLAN"),
        "{failed}"
    );
    let waiting = tko("plugin test")
        .arg(plugin("worker.py"))
        .arg("log")
        .arg("--executor=worker")
        .arg("--input")
        .arg(input)
        .good()
        .await;
    assert!(waiting.stderr.contains("connecting"), "{waiting}");
    assert!(
        waiting.stderr.contains("not yet prepared, in "),
        "{waiting}"
    );
    let missing = tko("plugin test")
        .arg(example("plugins/worker.js"))
        .arg("--input")
        .arg(input)
        .arg("--target=Pod/a")
        .run()
        .await;
    assert!(missing.stderr.contains("no resource Pod/a"), "{missing}");
}

#[tokio::test]
async fn skeletons_are_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for (language, file) in [
        ("sh", "port.sh"),
        ("python", "port.py"),
        ("rust", "src/lib.rs"),
    ] {
        let path = folder.path().join(language);
        let path = path.to_str().expect("UTF-8");
        tko(&format!("plugin new {language} port"))
            .arg(path)
            .good()
            .await;
        let text = fs::read_to_string(format!("{path}/{file}")).expect("is there");
        assert!(!text.contains("NAME"), "{text}");
        let again = tko(&format!("plugin new {language} port"))
            .arg(path)
            .run()
            .await;
        assert!(again.stderr.contains("cannot write"), "{again}");
    }
    let wrong = tko("plugin new sh ../port").run().await;
    assert!(wrong.code() != Some(0), "{wrong}");
    let has_jq = Command::new("jq").arg("--version").output().is_ok();
    if !has_jq {
        println!("skipped the test of the sh skeleton: jq is not installed");
        return;
    }
    let script = folder.path().join("sh/test_port.sh");
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_tko"));
    let path = path.parent().expect("a folder").display();
    let tested = Command::new(script)
        .env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin"))
        .output()
        .expect("starts");
    assert_eq!(String::from_utf8_lossy(&tested.stdout), "ok\n");
}
