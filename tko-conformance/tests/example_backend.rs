//! The backend in `examples/backend` is a crate outside the workspace, written from the documentation.
//! It must stay short and pass both suites.

use std::fs;
use std::path::Path;
use std::process::Command;
use tko_conformance::{BACKEND_CHECKS, DATA_CHECKS};

/// The example must have fewer lines than this, without blank lines and comments.
const LINES: usize = 400;

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("a member of the workspace")
}

/// Lines of code, without blank lines and comments.
fn lines(text: &str) -> usize {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[test]
fn the_example_backend_is_short() {
    let sources = fs::read_dir(root().join("examples/backend/src")).expect("it has sources");
    let total: usize = sources
        .map(|source| fs::read_to_string(source.expect("an entry").path()).expect("a source file"))
        .map(|text| lines(&text))
        .sum();
    assert!(total > 0, "nothing was counted");
    assert!(total < LINES, "{total} lines of code; {LINES} are too many");
}

#[test]
fn the_example_backend_passes_both_suites() {
    let example = root().join("examples/backend");
    // With the workspace's versions, everything it needs is at hand, and most of it is built.
    fs::copy(root().join("Cargo.lock"), example.join("Cargo.lock")).expect("the lock file");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let output = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--test", "conformance"])
        .current_dir(&example)
        .env("CARGO_TARGET_DIR", target.expect("a target directory"))
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .expect("cargo runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let passed = format!(
        "{} passed; 0 failed; 0 ignored",
        BACKEND_CHECKS.len() + DATA_CHECKS.len()
    );
    assert!(stdout.contains(&passed), "expected {passed}:\n{stdout}");
}
