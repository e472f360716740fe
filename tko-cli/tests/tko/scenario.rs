//! The scripts of `examples` that run by themselves.

use crate::harness::example;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The script itself waits a minute for each of its steps.
const LIMIT: Duration = Duration::from_mins(10);

#[tokio::test]
async fn the_radio_access_network_is_deployed_as_its_script_says() {
    let run = Command::new("bash")
        .arg(example("ran/run.sh"))
        .env("TKO", env!("CARGO_BIN_EXE_tko"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(LIMIT, run).await.expect("it ends");
    let out = out.expect("bash runs");
    let (printed, errors) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{printed}\n{errors}");
    assert!(
        printed.ends_with("all steps ended as they should\n"),
        "{printed}"
    );
}
