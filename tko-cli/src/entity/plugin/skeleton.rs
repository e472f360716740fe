//! `tko plugin new`: skeletons of plugins, each with a test.

use crate::console::Console;
use anyhow::{Context, bail};
use clap::Args;
use std::fs;
use std::path::PathBuf;
use tko_core::{PluginId, PluginType};

/// The flags of `plugin new`.
#[derive(Debug, Args)]
pub(crate) struct NewPluginArgs {
    /// Language of the plugin
    #[arg(value_name = "LANGUAGE")]
    language: PluginLanguage,
    /// Name of the plugin and of its files
    name: String,
    /// Folder for the plugin; by default a new one with its name
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// A language with a skeleton.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PluginLanguage {
    /// A script with TKO's Python SDK
    Python,
    /// A crate with a native preparer
    Rust,
    /// A shell script with jq
    Sh,
}

/// A file of a skeleton: its path, its text, and whether it is a program. `NAME` in both stands for
/// the name of the plugin.
type SkeletonFile = (&'static str, &'static str, bool);

const INPUT: SkeletonFile = (
    "input.yaml",
    include_str!("skeletons/input.yaml.txt"),
    false,
);

impl PluginLanguage {
    fn files(self) -> Vec<SkeletonFile> {
        match self {
            Self::Python => vec![
                ("NAME.py", include_str!("skeletons/plugin.py.txt"), true),
                (
                    "test_NAME.py",
                    include_str!("skeletons/test_plugin.py.txt"),
                    false,
                ),
                INPUT,
            ],
            Self::Sh => vec![
                ("NAME.sh", include_str!("skeletons/plugin.sh.txt"), true),
                (
                    "test_NAME.sh",
                    include_str!("skeletons/test_plugin.sh.txt"),
                    true,
                ),
                INPUT,
            ],
            Self::Rust => vec![
                (
                    "Cargo.toml",
                    include_str!("skeletons/Cargo.toml.txt"),
                    false,
                ),
                ("src/lib.rs", include_str!("skeletons/lib.rs.txt"), false),
            ],
        }
    }
}

impl NewPluginArgs {
    /// Writes the files. If one already exists, returns an error and leaves it unchanged.
    pub(super) fn run(&self, console: &Console<'_>) -> anyhow::Result<()> {
        PluginId::new(PluginType::Prepare, &self.name)?;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if !self.name.chars().all(is_plain) {
            bail!(
                "{:?} cannot name files of a plugin; use lower-case letters, digits, - and _",
                self.name
            );
        }
        let folder = self
            .folder
            .clone()
            .unwrap_or_else(|| self.name.clone().into());
        for (path, text, is_program) in self.language.files() {
            let path = folder.join(path.replace("NAME", &self.name));
            let shown = || format!("cannot write {}", path.display());
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_context(shown)?;
            }
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .open(&path)
                .with_context(shown)?;
            let text = text.replace("NAME", &self.name);
            std::io::Write::write_all(&mut file, text.as_bytes()).with_context(shown)?;
            if is_program {
                make_executable(&path).with_context(shown)?;
            }
            console.done(&format!("wrote {}", path.display()));
        }
        Ok(())
    }
}

#[cfg(unix)]
fn make_executable(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}
