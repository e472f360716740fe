//! Packages of a 5G core with nested topologies, as files and built into programs.
//!
//! `packages/README.md` describes the packages and how they fit together.

use include_dir::{Dir, DirEntry, include_dir};

static PACKAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/packages");

/// The YAML files of one package, such as `upf`, in the order in which TKO reads them: recursively
/// by name. Empty if there is no such package.
pub fn package(name: &str) -> Vec<(&'static str, &'static [u8])> {
    let mut files = Vec::new();
    if let Some(dir) = PACKAGES.get_dir(name) {
        collect(dir, &mut files);
    }
    files.sort_by_key(|(path, _)| *path);
    files
}

fn collect(dir: &Dir<'static>, files: &mut Vec<(&'static str, &'static [u8])>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, files),
            DirEntry::File(file) => {
                let yaml = file
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "yaml" || extension == "yml");
                if let (true, Some(path)) = (yaml, file.path().to_str()) {
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
