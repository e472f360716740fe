//! The program in `examples/server` is a crate outside the workspace, written from the documentation.
//! It must compile and run.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_example_server_names_who_created_a_deployment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = root.expect("a member of the workspace");
    let example = root.join("examples/server");
    // With the workspace's versions, everything it needs is at hand, and most of it is built.
    fs::copy(root.join("Cargo.lock"), example.join("Cargo.lock")).expect("the lock file");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--offline", "--quiet"])
        .current_dir(&example)
        .env("CARGO_TARGET_DIR", target.expect("a target directory"))
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .expect("cargo runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(
        stdout.lines().collect::<Vec<_>>(),
        [
            "without a badge: not authenticated: show a badge",
            "deployment: created by alice via grpc",
        ],
        "{stderr}"
    );
}
