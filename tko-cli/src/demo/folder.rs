//! Where the demo writes to: a folder of its own, and nobody else's.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Marks a folder as one that the demo may empty.
const MARK: &str = ".tko-demo";

/// A folder that is empty but for the demo's mark; made if need be.
///
/// # Errors
/// There is something in it that no demo has made; it is left alone.
pub(super) fn emptied(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    if path.exists() {
        let ours = path.join(MARK).exists();
        let mut entries =
            std::fs::read_dir(path).with_context(|| format!("cannot list {shown}"))?;
        let empty = entries.next().is_none();
        if !ours && !empty {
            bail!("{shown} exists and no demo has made it; name another with --out");
        }
        let sites = path.join("sites");
        if sites.exists() {
            std::fs::remove_dir_all(&sites)
                .with_context(|| format!("cannot empty {}", sites.display()))?;
        }
    }
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {shown}"))?;
    std::fs::write(
        path.join(MARK),
        "made by tko demo, which may empty this folder\n",
    )
    .with_context(|| format!("cannot write into {shown}"))?;
    path.canonicalize()
        .with_context(|| format!("cannot find {shown}"))
}
