//! Every check is listed, and the README states their number.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tko_conformance::{BACKEND_CHECKS, DATA_CHECKS};

/// The checks in the files of a suite, as `file::check`.
fn written(suite: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(suite);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("the suite has a folder") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            continue;
        }
        let file = path
            .file_stem()
            .expect("a file has a name")
            .to_string_lossy();
        let text = fs::read_to_string(&path).expect("it is text");
        let checks = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "))
            .filter_map(|rest| rest.split_once('('));
        names.extend(checks.map(|(name, _)| format!("{file}::{name}")));
    }
    names
}

#[test]
fn every_check_of_suite_1_is_listed() {
    let listed: BTreeSet<String> = BACKEND_CHECKS.iter().map(|c| c.name.to_owned()).collect();
    assert_eq!(listed, written("backend"));
}

#[test]
fn every_check_of_suite_2_is_listed() {
    let listed: BTreeSet<String> = DATA_CHECKS.iter().map(|c| c.name.to_owned()).collect();
    assert_eq!(listed, written("data"));
}

#[test]
fn the_readme_states_the_number_of_checks() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("the package has a README");
    let numbers = [(1, BACKEND_CHECKS.len()), (2, DATA_CHECKS.len())];
    for (suite, count) in numbers {
        let sentence = format!("suite {suite} has {count} checks");
        assert!(readme.contains(&sentence), "the README says: {sentence}");
    }
}
