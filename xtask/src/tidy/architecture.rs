//! The names in ARCHITECTURE.md, compared with the repository.

use super::{packages, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Names in the rows of folders that are no files.
const NO_FILES: [&str; 3] = ["/api/v1", "tko.tko", "tko_core::cluster_scope"];

/// The crate that assembles the others, and those that it does not use.
const ASSEMBLY: (&str, [&str; 2]) = ("tko-cli", ["tko-conformance", "tko-python"]);

/// The crates that use no other crate of TKO.
const ALONE: [&str; 2] = ["tko-core", "tko-tosca"];

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is ARCHITECTURE.md")
}

/// The rows of the table with this head: the names in code of the first column, and of the others.
fn rows(text: &str, head: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let table = text.lines().skip_while(|line| *line != head).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let (first, others) = row[1..].split_once('|').expect("a row has columns");
        (code(first), code(others))
    })
    .collect()
}

/// The texts between backticks.
fn code(text: &str) -> Vec<String> {
    let texts = text.split('`').skip(1).step_by(2);
    texts.map(str::to_owned).collect()
}

/// The paths below a folder, as `/name`, also without the last ending.
fn paths(folder: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder of the repository") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("names are text");
            if ["target", "node_modules"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            }
            let path = path.strip_prefix(folder).expect("it is below");
            for path in [path.to_owned(), path.with_extension("")] {
                paths.insert(format!("/{}", path.display()));
            }
        }
    }
    paths
}

#[test]
fn the_architecture_names_files_that_exist() {
    let text = architecture();
    let rows = rows(&text, "| folder | contents |");
    assert!(rows.len() > 25, "only {} rows found", rows.len());
    let mut wrong = Vec::new();
    for (folders, names) in rows {
        let mut there = BTreeSet::new();
        for folder in &folders {
            there.extend(paths(&root().join(folder)));
        }
        for name in names {
            let end = format!("/{name}");
            let is_there = there.iter().any(|path| path.ends_with(&end));
            // Another crate may be named as well.
            if !is_there && !root().join(&name).is_dir() && !NO_FILES.contains(&&*name) {
                wrong.push(format!("{name} is not in {}", folders.join(" or ")));
            }
        }
    }
    for path in code(&text) {
        let is_path = path.starts_with("tko-") && path.contains('/');
        if is_path && !root().join(&path).exists() {
            wrong.push(format!("{path} does not exist"));
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn the_architecture_names_the_dependencies_of_the_crates() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (crates, uses) in rows(&architecture(), "| crate | uses, besides `tko-core` |") {
        let uses = uses.into_iter().filter(|name| name.starts_with("tko-"));
        let uses: BTreeSet<String> = uses.collect();
        named.extend(crates.into_iter().map(|name| (name, uses.clone())));
    }
    assert!(named.len() > 8, "only {} crates found", named.len());
    let mut actual: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        // Examples, benchmarks and private servers are no parts of TKO.
        if root().join(name).is_dir() && name.starts_with("tko-") {
            actual.insert(name.to_owned(), dependencies(&package));
        }
    }
    let (assembly, left_out) = ASSEMBLY;
    let assembled = actual.remove(assembly).expect("the assembly is a crate");
    for name in actual.keys() {
        let is_used = assembled.contains(name);
        assert_eq!(is_used, !left_out.contains(&&**name), "{assembly}: {name}");
    }
    for (name, uses) in &mut actual {
        let has_core = uses.remove("tko-core");
        assert_eq!(has_core, !ALONE.contains(&&**name), "{name}: tko-core");
    }
    actual.retain(|_, uses| !uses.is_empty());
    assert_eq!(
        named, actual,
        "left: the table of dependencies in ARCHITECTURE.md"
    );
}

/// The crates of TKO that a package depends on, except in tests and build scripts.
fn dependencies(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    let normal = all.filter(|dependency| dependency["kind"].is_null());
    let names = normal.filter_map(|dependency| dependency["name"].as_str());
    let names = names.filter(|name| name.starts_with("tko-"));
    names.map(str::to_owned).collect()
}
