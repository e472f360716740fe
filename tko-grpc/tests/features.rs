//! Each feature must compile alone, without the dependencies of the other.

use std::path::Path;
use std::process::Command;

/// Runs cargo on this package; returns its standard output.
fn cargo(arguments: &[&str]) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args([
            "--offline",
            "--package",
            "tko-grpc",
            "--no-default-features",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target.expect("a target directory"))
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .expect("cargo runs");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stdout}\n{stderr}");
    assert!(!stderr.contains("warning:"), "{stderr}");
    stdout
}

#[test]
fn each_feature_compiles_without_the_dependencies_of_the_other() {
    for (feature, foreign) in [
        ("client", &["tko-serve", "tonic-health", "axum"][..]),
        ("server", &["hyper-timeout", "rustls-native-certs"]),
    ] {
        cargo(&["check", "--quiet", "--features", feature]);
        let tree = cargo(&[
            "tree",
            "--prefix",
            "none",
            "--edges",
            "normal",
            "--features",
            feature,
        ]);
        for name in foreign {
            let found = tree
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            assert_eq!(found, None, "with only {feature}");
        }
    }
}
