//! [`PluginPolicy`]: which programs plugins may run.

use crate::program::Program;
use std::path::{Path, PathBuf};
use tko_core::{Error, Result};

/// Which programs plugins may run. Default: any, because callers who may register plugins are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PluginPolicy {
    /// Any program of this machine.
    #[default]
    Any,
    /// No program.
    Off,
    /// Programs in these folders and below. Links are followed first, so a link in such a folder
    /// does not permit what is elsewhere.
    Within(Vec<PathBuf>),
}

impl PluginPolicy {
    /// Checks a program. With [`PluginPolicy::Within`], returns its path without links, so that a
    /// link that changes later does not matter.
    ///
    /// # Errors
    /// [`Forbidden`](Error::Forbidden): the policy does not permit the program.
    pub(crate) fn permitted(&self, program: Program) -> Result<Program> {
        let folders = match self {
            Self::Any => return Ok(program),
            Self::Off => {
                return Err(Error::Forbidden(
                    "plugins are turned off on this machine; start TKO without --plugins off"
                        .to_owned(),
                ));
            }
            Self::Within(folders) => folders,
        };
        let found = find(&program.path).and_then(|path| path.canonicalize().ok());
        let permitted = found.filter(|path| {
            let mut folders = folders
                .iter()
                .filter_map(|folder| folder.canonicalize().ok());
            folders.any(|folder| path.starts_with(folder))
        });
        if let Some(path) = permitted.as_deref().and_then(Path::to_str) {
            let path = path.to_owned();
            return Ok(Program { path, ..program });
        }
        let folders: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
        Err(Error::Forbidden(format!(
            "{:?} is not a program in {}; copy it there and register the plugin again, or add its \
             folder with --plugins",
            program.path,
            folders.join(" or ")
        )))
    }
}

/// The file of a program: a path, or a name in `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::PluginPolicy;
    use crate::program::Program;
    use std::os::unix::fs::symlink;

    #[test]
    fn s10_plugins_are_limited_to_folders_whatever_links_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        for path in [&inside, &outside] {
            std::fs::create_dir(path).expect("a folder");
            std::fs::write(path.join("a"), "").expect("a file");
        }
        symlink(outside.join("a"), inside.join("link")).expect("a link");
        let policy = PluginPolicy::Within(vec![inside.clone()]);
        let permitted = |policy: &PluginPolicy, path: String| {
            let program = Program {
                path,
                arguments: Vec::new(),
            };
            policy.permitted(program).is_ok()
        };
        let text = |path: std::path::PathBuf| path.display().to_string();
        for (path, expected) in [
            (text(inside.join("a")), true),
            (text(inside.join("../in/a")), true),
            (text(inside.join("link")), false),
            (text(inside.join("../out/a")), false),
            (text(outside.join("a")), false),
            (text(inside.join("absent")), false),
            ("sh".to_owned(), false),
        ] {
            assert_eq!(permitted(&policy, path.clone()), expected, "{path}");
        }
        assert!(permitted(&PluginPolicy::Any, "sh".to_owned()));
        assert!(!permitted(&PluginPolicy::Off, text(inside.join("a"))));
    }
}
