//! The demo's output folder. The demo never empties a folder that it did not make.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// The file that marks a folder as made by the demo.
const MARK: &str = ".tko-demo";

/// Creates the folder if necessary, and empties it except for the demo's marker file.
///
/// # Errors
/// The folder has content and no marker; it is left unchanged.
pub(super) fn emptied(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    if path.exists() {
        let ours = path.join(MARK).exists();
        let mut entries =
            std::fs::read_dir(path).with_context(|| format!("cannot list {shown}"))?;
        let empty = entries.next().is_none();
        if !ours && !empty {
            bail!(
                "{shown} exists and was not made by the demo; choose another directory with --out"
            );
        }
        let sites = path.join("sites");
        if sites.exists() {
            std::fs::remove_dir_all(&sites)
                .with_context(|| format!("cannot empty {}", sites.display()))?;
        }
    }
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {shown}"))?;
    std::fs::write(
        path.join(MARK),
        "made by tko demo, which may empty this folder\n",
    )
    .with_context(|| format!("cannot write to {shown}"))?;
    path.canonicalize()
        .with_context(|| format!("cannot find {shown}"))
}
