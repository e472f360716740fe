//! Rules of the repository that neither the compiler nor clippy checks, as tests.
//!
//! - A type name is declared once in the workspace.
//! - A source file has at most 600 lines.
//! - A module is named for what it holds, and lies in `name.rs`, not in `name/mod.rs`.
//! - A published package has all that the registry and docs.rs show, and the files that it includes.
//! - At most three files import each other in a circle.
//! - The crates have the dependencies and the files that ARCHITECTURE.md names.

mod architecture;
mod circles;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item};

/// Maximum number of lines of a source file.
const MOST_LINES: usize = 600;

/// Names of modules that say nothing about what the module holds.
const EMPTY_NAMES: [&str; 8] = [
    "common", "helper", "helpers", "manager", "misc", "util", "utils", "words",
];

/// Types are declared in these places for one program or one test only, and named for it.
const LOCAL: [&str; 4] = ["benches/", "examples/", "fuzz/", "xtask/"];

#[test]
fn type_names_are_unique() {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources() {
        if is_test(&path) || LOCAL.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for name in types(&text) {
            declared.entry(name).or_default().push(path.clone());
        }
    }
    assert!(declared.len() > 200, "only {} types found", declared.len());
    let mut wrong = Vec::new();
    for (name, paths) in &declared {
        if paths.len() > 1 {
            wrong.push(format!("{name} is declared in {}", paths.join(" and ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "rename all but one:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn source_files_are_short() {
    let files = files_with(&["rs", "py", "pyi", "js"]);
    let long = files.into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > MOST_LINES).then(|| format!("{path}: {lines} lines"))
    });
    let long: Vec<String> = long.collect();
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn modules_are_named_for_what_they_hold() {
    let wrong = sources().into_iter().filter_map(|(path, _)| {
        let file = Path::new(&path);
        let name = file.file_stem().and_then(|stem| stem.to_str())?;
        // Below `tests`, cargo takes `name.rs` for a separate test program.
        let is_folder_file = name == "mod" && !path.contains("/tests/");
        (EMPTY_NAMES.contains(&name) || is_folder_file).then_some(path)
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "rename these:\n{}", wrong.join("\n"));
}

#[test]
fn published_packages_are_complete() {
    let licence = fs::read(root().join("LICENSE")).expect("the workspace has a licence");
    let mut published = 0;
    let mut wrong = Vec::new();
    for package in packages() {
        if package["publish"].as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        published += 1;
        let name = package["name"].as_str().expect("a package has a name");
        for field in [
            "description",
            "license",
            "repository",
            "rust_version",
            "readme",
        ] {
            if package[field].is_null() {
                wrong.push(format!("{name} has no {field}"));
            }
        }
        if package["metadata"]["docs"]["rs"]["all-features"] != Value::Bool(true) {
            wrong.push(format!("{name}: docs.rs would not show all features"));
        }
        let manifest = package["manifest_path"]
            .as_str()
            .expect("it has a manifest");
        let folder = Path::new(manifest).parent().expect("it is in a folder");
        if !fs::read(folder.join("LICENSE")).is_ok_and(|text| text == licence) {
            wrong.push(format!(
                "{name}: LICENSE is missing, or not the workspace's"
            ));
        }
        let files = packed_files(name);
        for file in ["LICENSE", "README.md", "Cargo.toml"] {
            if !files.lines().any(|line| line == file) {
                wrong.push(format!("{name}: {file} is not in the package"));
            }
        }
        for file in missing(folder, &files) {
            wrong.push(format!(
                "{name}: {file} is included, but not in the package"
            ));
        }
    }
    assert!(published >= 11, "only {published} published packages found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files that the packed Rust files of `src` include, but that are not packed.
fn missing(folder: &Path, packed: &str) -> Vec<String> {
    let packed: BTreeSet<&str> = packed.lines().collect();
    let mut missing = Vec::new();
    for file in packed.iter().filter(|file| file.starts_with("src/")) {
        let Some(parent) = Path::new(file).parent() else {
            continue;
        };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        for other in included(&text) {
            let path = normal(&parent.join(other));
            if !packed.contains(&*path) {
                missing.push(path);
            }
        }
    }
    missing
}

/// The paths that a Rust file includes as text or bytes, relative to the file.
fn included(text: &str) -> impl Iterator<Item = &str> {
    let after = ["include_str!(", "include_bytes!("];
    let after = after.into_iter().flat_map(|name| text.split(name).skip(1));
    after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

/// A relative path without `..`.
fn normal(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.to_string_lossy().split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part.to_owned());
        }
    }
    parts.join("/")
}

#[test]
fn included_files_are_found() {
    let text =
        "a(include_str!(\"../m/1.sql\"));\ninclude_bytes!(\n    \"x.bin\"\n);\ninclude_str!(NAME)";
    let found: Vec<&str> = included(text).collect();
    assert_eq!(found, ["../m/1.sql", "x.bin"]);
    assert_eq!(normal(Path::new("src/read/../../m/1.sql")), "m/1.sql");
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    fs::write(folder.path().join("src/a.rs"), text).expect("a file");
    assert_eq!(missing(folder.path(), "src/a.rs\nsrc/x.bin\n"), ["m/1.sql"]);
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask is in the workspace").to_owned()
}

/// Every Rust file of the repository with its text, by its path relative to the repository.
fn sources() -> Vec<(String, String)> {
    files_with(&["rs"])
}

/// The path and text of each file whose name ends in one of these.
fn files_with(endings: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("names are text");
            if path.is_dir() {
                if !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|ending| endings.iter().any(|known| ending == *known))
            {
                let text = fs::read_to_string(&path).expect("sources are text");
                let path = path.strip_prefix(&root).expect("it is below");
                files.push((path.display().to_string(), text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 200, "only {} source files found", files.len());
    files
}

fn is_test(path: &str) -> bool {
    [
        "/tests/",
        "/tests.rs",
        "/src/fixture.rs",
        "/benches/",
        "/examples/",
    ]
    .iter()
    .any(|part| path.contains(part))
}

/// Names of the types that a file declares, also within functions and inline modules. Those of
/// tests are left out.
fn types(text: &str) -> Vec<String> {
    let mut names = TypeNames::default();
    names.visit_file(&syn::parse_file(text).expect("sources compile"));
    names.0
}

#[derive(Default)]
struct TypeNames(Vec<String>);

impl<'ast> Visit<'ast> for TypeNames {
    fn visit_item(&mut self, item: &'ast Item) {
        let name = match item {
            Item::Mod(module) if module.attrs.iter().any(is_for_tests) => return,
            Item::Enum(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        self.0.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }
}

/// Whether this is `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<Ident>()
            .is_ok_and(|name| name == "test")
}

/// The workspace's packages, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let mut all: Value = serde_json::from_str(&output).expect("cargo prints JSON");
    match all["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("not a list of packages: {other}"),
    }
}

/// The files that `cargo package` would put into this package, one a line.
fn packed_files(package: &str) -> String {
    cargo(&["package", "--list", "--allow-dirty", "--package", package])
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("cargo prints text")
}

#[test]
fn declarations_are_recognized() {
    let text = "pub struct One; pub(crate) enum Two<T> {} trait Three: Send { type Part; }
        // struct Comment
        fn four() { struct Five; } mod six { pub type Seven = u8; }
        #[cfg(test)] mod tests { struct Eight; }";
    assert_eq!(types(text), ["One", "Two", "Three", "Five", "Seven"]);
}
