//! A Python client generated with `grpcio-tools` from `tko.proto`.

use crate::serving::Serving;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const TOOLS: &str = "grpcio-tools==1.85.1";

async fn run(what: &str, command: &mut Command) -> String {
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}; this test needs Python 3 with venv"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// A Python environment with the tools, created once.
async fn python() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(TOOLS.replace("==", "-"));
    let python = home.join("bin/python");
    let done = home.join("done");
    if !done.exists() {
        run(
            "make a Python environment",
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&home),
        )
        .await;
        run(
            "install grpcio-tools from PyPI",
            Command::new(&python).args(["-m", "pip", "install", "--quiet", TOOLS]),
        )
        .await;
        std::fs::write(done, "").expect("the environment is there");
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_python_client_calls_every_method() {
    let serving = Serving::start().await;
    let python = python().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stubs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-stubs");
    std::fs::create_dir_all(&stubs).expect("the target directory takes files");
    run(
        "generate stubs",
        Command::new(&python)
            .args(["-m", "grpc_tools.protoc"])
            .arg("--proto_path")
            .arg(root.join("proto"))
            .arg("--python_out")
            .arg(&stubs)
            .arg("--grpc_python_out")
            .arg(&stubs)
            .arg("tko.proto"),
    )
    .await;
    let said = run(
        "call the server from Python",
        Command::new(&python)
            .arg(root.join("tests/python/every_call.py"))
            .arg(serving.address.to_string())
            .env("PYTHONPATH", &stubs),
    )
    .await;
    assert!(said.contains("24 methods called"), "{said}");
}
