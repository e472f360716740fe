//! Files that users name, below a folder that belongs to the operator.

use std::path::{Component, Path, PathBuf};
use tko_core::{Error, Result};

/// The path of a file below a folder, without links. `property` is the property that named it.
///
/// # Errors
/// `BadArgument` for `property`: the path is not relative, leaves the folder (also by a symbolic
/// link), or is no file of at most `most_bytes` bytes.
pub async fn file_below(
    property: &str,
    folder: &Path,
    file: &str,
    most_bytes: u64,
) -> Result<PathBuf> {
    let bad = |message: String| Error::bad(property.to_owned(), message);
    let relative = Path::new(file);
    let mut parts = relative.components();
    if file.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(bad(format!(
            "{file:?} is not a path below the folder {}",
            folder.display()
        )));
    }
    let root = tokio::fs::canonicalize(folder).await.map_err(|error| {
        bad(format!(
            "the folder {} cannot be read: {error}",
            folder.display()
        ))
    })?;
    let unreadable = |error: std::io::Error| bad(format!("{file:?} cannot be read: {error}"));
    let path = tokio::fs::canonicalize(root.join(relative))
        .await
        .map_err(unreadable)?;
    if !path.starts_with(&root) {
        return Err(bad(format!(
            "{file:?} leads out of the folder {}",
            folder.display()
        )));
    }
    let found = tokio::fs::metadata(&path).await.map_err(unreadable)?;
    if !found.is_file() || found.len() > most_bytes {
        return Err(bad(format!(
            "{file:?} is not a file of at most {most_bytes} bytes"
        )));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::file_below;

    #[tokio::test]
    async fn no_path_leaves_the_folder() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("inner");
        std::fs::create_dir_all(folder.join("sub")).expect("a folder");
        std::fs::write(outer.path().join("secret"), "x").expect("a file");
        std::fs::write(folder.join("sub/a.yaml"), "x").expect("a file");
        std::fs::write(folder.join("large"), "xxxxx").expect("a file");
        std::os::unix::fs::symlink("../secret", folder.join("link")).expect("a link");
        std::os::unix::fs::symlink("sub/a.yaml", folder.join("near")).expect("a link");
        for file in [
            "",
            "../secret",
            "/etc/passwd",
            "sub/../../secret",
            "link",
            "sub",
            "none",
            "large",
            ".",
        ] {
            let found = file_below("file", &folder, file, 4).await;
            assert!(found.is_err(), "{file}: {found:?}");
        }
        for file in ["sub/a.yaml", "near"] {
            let found = file_below("file", &folder, file, 4).await;
            assert!(found.is_ok(), "{file}: {found:?}");
        }
    }
}
