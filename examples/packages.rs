//! Packages of a 5G core with nested topologies, as files and built into programs.
//!
//! `packages/README.md` describes the packages and how they fit together.

use include_dir::{Dir, DirEntry, include_dir};
use std::path::Path;

static PACKAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/packages");
static GATEWAY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/kpt/gateway");
static CHART: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/charts/web");

/// A KRM function in WebAssembly: it replaces `TODO-zone` by `zone-east`.
pub const ZONE_FUNCTION: &[u8] = include_bytes!("kpt/set-zone.wasm");

/// A package with a Helm chart by the name `web`, whose values are expressions.
pub const CHART_PACKAGE: &[u8] = include_bytes!("charts/package.yaml");

/// The YAML files of one package, such as `upf`, in the order in which TKO reads them: recursively
/// by name. Empty if there is no such package.
pub fn package(name: &str) -> Vec<(&'static str, &'static [u8])> {
    let mut files = Vec::new();
    if let Some(dir) = PACKAGES.get_dir(name) {
        collect(dir, &is_yaml, &mut files);
    }
    files.sort_by_key(|(path, _)| *path);
    files
}

/// The files of a package with a Kptfile, sorted by name.
pub fn kptfile_package() -> Vec<(&'static str, &'static [u8])> {
    all(&GATEWAY)
}

/// The files of the Helm chart `web`, sorted by name.
pub fn chart() -> Vec<(&'static str, &'static [u8])> {
    all(&CHART)
}

fn all(dir: &Dir<'static>) -> Vec<(&'static str, &'static [u8])> {
    let mut files = Vec::new();
    collect(dir, &|_| true, &mut files);
    files.sort_by_key(|(path, _)| *path);
    files
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn collect(
    dir: &Dir<'static>,
    is_wanted: &dyn Fn(&Path) -> bool,
    files: &mut Vec<(&'static str, &'static [u8])>,
) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, is_wanted, files),
            DirEntry::File(file) => {
                let path = file.path();
                if let (true, Some(path)) = (is_wanted(path), path.to_str()) {
                    files.push((path, file.contents()));
                }
            }
        }
    }
}

/// The guide's code blocks, as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/integrators.md")]
mod integrators {}
