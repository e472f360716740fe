//! `tko plugin test`, `replay` and `new`.

use crate::harness::{Server, TIME, example, is_without, plugin, tko};
use crate::skeleton::Example;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tko_core::Preparer;

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

/// A validator that refuses a Port without a vlan, with two errors.
const VALIDATOR: &str = r#"#!/usr/bin/env python3
import json, sys

call = json.load(sys.stdin)
ports = [r for r in call["package"] if r["kind"] == "Port"]
print("checking", len(ports), "ports", file=sys.stderr)
missing = [p["metadata"]["name"] for p in ports if "vlan" not in p["spec"]]
errors = [f"port {name} has no vlan" for name in missing]
json.dump({"error": errors if call["complete"] else []}, sys.stdout)
"#;

/// A scheduler that says what it would do.
const SCHEDULER: &str = r#"#!/usr/bin/env python3
import json, sys

call = json.load(sys.stdin)
for name in ("deployments", "removedDeployments"):
    for package in call[name].values():
        print(call["siteId"], name, len(package), file=sys.stderr)
json.dump({"error": "" if call["deployments"] else "nothing to run"}, sys.stdout)
"#;

/// Writes a file into a folder; returns its path.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("writes");
    if text.starts_with("#!") {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    path.display().to_string()
}

#[tokio::test]
async fn validators_are_tested_recorded_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = write(folder.path(), "check.py", VALIDATOR);
    let input = write(folder.path(), "input.yaml", NETWORK);
    let calls = folder.path().join("calls").display().to_string();
    let test = |flags: &str| {
        tko(&format!("plugin test --type validate {flags}"))
            .arg(&script)
            .arg("--input")
            .arg(&input)
            .arg("--record")
            .arg(&calls)
    };
    let refused = test("").run().await;
    assert!(refused.code() != Some(0), "{refused}");
    let words = "the package is invalid: port n3 has no vlan (after ";
    assert!(refused.stderr.contains(words), "{refused}");
    assert!(refused.stderr.contains("checking 1 ports"), "{refused}");
    let valid = test("--partial").good().await;
    assert!(valid.stderr.contains("valid, checked in "), "{valid}");
    let replay = tko("plugin replay").arg(&calls).good().await;
    assert_eq!(replay.text().matches("ok ").count(), 2, "{replay}");
    write(
        folder.path(),
        "check.py",
        &VALIDATOR.replace("no vlan", "no VLAN"),
    );
    let replay = tko("plugin replay").arg(&calls).run().await;
    assert!(replay.code() != Some(0), "{replay}");
    let difference = "-error: port n3 has no vlan\n+error: port n3 has no VLAN";
    assert!(replay.text().contains(difference), "{replay}");
    assert!(
        replay.stderr.contains("1 of 2 calls had another answer"),
        "{replay}"
    );
}

#[tokio::test]
async fn schedulers_are_tested_recorded_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = write(folder.path(), "place.py", SCHEDULER);
    let input = write(folder.path(), "input.yaml", NETWORK);
    let calls = folder.path().join("calls").display().to_string();
    let test = |flags: &str| {
        tko(&format!("plugin test --type schedule {flags}"))
            .arg(&script)
            .arg("--input")
            .arg(&input)
            .arg("--record")
            .arg(&calls)
    };
    let good = test("")
        .arg(format!("--run={input}"))
        .arg(format!("--remove={input}"))
        .good()
        .await;
    for part in [
        "test deployments 2",
        "test removedDeployments 2",
        "scheduled in ",
    ] {
        assert!(good.stderr.contains(part), "{good}");
    }
    let bad = test("").run().await;
    assert!(bad.code() != Some(0), "{bad}");
    assert!(bad.stderr.contains("reported: nothing to run"), "{bad}");
    let replay = tko("plugin replay").arg(&calls).good().await;
    assert_eq!(replay.text().matches("ok ").count(), 2, "{replay}");
    let wrong = tko("plugin test --type catalog")
        .arg(&script)
        .arg("--input");
    let wrong = wrong.arg(&input).run().await;
    assert!(
        wrong.stderr.contains("expected prepare, validate"),
        "{wrong}"
    );
}

#[tokio::test]
async fn registered_plugins_are_tested_with_real_deployments_that_stay_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    // Without controllers: nothing else calls the plugins.
    let server = Server::data().await;
    let place = write(folder.path(), "place.py", SCHEDULER);
    let port = "example.org,v1,Port";
    let register = server.tko(&format!("plugin register prepare port -g {port}"));
    register.arg(plugin("prepare.py")).good().await;
    let register = server.tko(&format!("plugin register schedule place -g {port}"));
    register.arg(&place).good().await;
    let register = server.tko("site register edge --stdin");
    register.stdin(NETWORK).good().await;
    let create = server.tko("deployment create --site edge --stdin");
    let id = create.stdin(NETWORK).good().await.line().to_owned();
    let show = server.tko(&format!("deployment show {id} -ojson"));
    let before = show.good().await.json();
    let calls = folder.path().join("calls").display().to_string();
    let tested = server
        .tko(&format!("plugin test port -d {id} --record"))
        .arg(&calls)
        .good()
        .await;
    let added = format!("+    example.org/deployment: {id}");
    assert!(tested.text().contains(&added), "{tested}");
    let tested = server
        .tko(&format!("plugin test place -d {id} --record"))
        .arg(&calls)
        .good()
        .await;
    assert!(tested.stderr.contains("edge deployments 3"), "{tested}");
    // It is not prepared, so it is not to run there yet.
    let tested = server.tko("plugin test place --site edge").run().await;
    assert!(tested.stderr.contains("nothing to run"), "{tested}");
    let show = server.tko(&format!("deployment show {id} -ojson"));
    assert_eq!(show.good().await.json(), before);
    let missing = server
        .tko(&format!("plugin test nowhere -d {id}"))
        .run()
        .await;
    let words = "neither a file nor a registered plugin";
    assert!(missing.stderr.contains(words), "{missing}");
    // Recorded calls need no server.
    let replay = tko("plugin replay").arg(&calls).good().await;
    assert_eq!(replay.text().matches("ok ").count(), 2, "{replay}");
    server.service.stop().await;
}

#[tokio::test]
async fn a_worker_is_replayed_as_a_worker() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = write(folder.path(), "input.yaml", NETWORK);
    let calls = folder.path().join("calls").display().to_string();
    let test = tko("plugin test -e worker").arg(plugin("worker.py"));
    let test = test.arg("prepare").arg("--input").arg(&input);
    test.arg("--record").arg(&calls).good().await;
    let replay = tko("plugin replay").arg(&calls).good().await;
    assert!(replay.text().starts_with("ok "), "{replay}");
}

/// Runs a program in its own terminal, and prints what it prints.
const TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

#[tokio::test]
async fn a_terminal_shows_the_difference_in_colour() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = write(folder.path(), "input.yaml", NETWORK);
    let mut command = tokio::process::Command::new("python3");
    command
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_tko")])
        .args(["plugin", "test", &plugin("prepare.py"), "--input", &input])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIME, command.output()).await;
    let output = output.expect("it ends").expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let added = "\x1b[32m+    nephio.org/prepared: \"true\"\x1b[0m";
    assert!(text.contains(added), "{text}");
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
    let manifest = folder.path().join("rust/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("is there");
    let (version, _) = env!("CARGO_PKG_VERSION").rsplit_once('.').expect("dots");
    let dependency = format!("tko-core = \"{version}\"");
    assert!(manifest.contains(&dependency), "{manifest}");
    let _: &dyn Preparer = &Example;
    let has_jq = Command::new("jq").arg("--version").output().is_ok();
    if !has_jq {
        assert!(
            is_without("terminal"),
            "jq is not installed; TKO_TEST_WITHOUT=terminal skips its tests"
        );
        return;
    }
    let script = folder.path().join("sh/test_port.sh");
    let path = Path::new(env!("CARGO_BIN_EXE_tko"));
    let path = path.parent().expect("a folder").display();
    let tested = Command::new(script)
        .env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin"))
        .output()
        .expect("starts");
    assert_eq!(String::from_utf8_lossy(&tested.stdout), "ok\n");
}
