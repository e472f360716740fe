//! Finding the installation of PostgreSQL.

use crate::error::StartError;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest supported version.
const OLDEST: u32 = 15;

/// Folders in which packages install, with one subfolder per version.
const USUAL: [&str; 4] = [
    "/usr/lib/postgresql",
    "/usr",
    "/opt/homebrew/opt",
    "/usr/local/opt",
];

/// The programs of one version.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) initdb: PathBuf,
    pub(crate) postgres: PathBuf,
    pub(crate) pg_basebackup: PathBuf,
    pub(crate) psql: PathBuf,
}

impl Installation {
    /// Finds the installation in `TKO_POSTGRES_BIN`, or else the newest one.
    pub(crate) fn find() -> Result<Self, StartError> {
        if let Some(named) = env::var_os("TKO_POSTGRES_BIN") {
            let named = PathBuf::from(named);
            return match version(&named) {
                Some(_) => Ok(Self::of(&named)),
                None => Err(StartError::Named(named)),
            };
        }
        let newest = folders()
            .into_iter()
            .filter_map(|folder| Some((version(&folder)?, folder)))
            // Among equal versions, the first folder wins.
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        newest
            .map(|(_, folder)| Self::of(&folder))
            .ok_or(StartError::Missing)
    }

    fn of(folder: &Path) -> Self {
        // Packages may install clients in another folder.
        let client = |name: &str| {
            let beside = folder.join(name);
            if beside.exists() {
                beside
            } else {
                PathBuf::from(name)
            }
        };
        Self {
            initdb: folder.join("initdb"),
            postgres: folder.join("postgres"),
            pg_basebackup: client("pg_basebackup"),
            psql: client("psql"),
        }
    }
}

/// All possible folders, in the order of preference.
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = Vec::new();
    for folder in env::split_paths(&path) {
        // A program in PATH may be a link; the others are then next to its target.
        if let Ok(real) = fs::canonicalize(folder.join("postgres")) {
            folders.extend(real.parent().map(Path::to_owned));
        }
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let said = String::from_utf8_lossy(&output.stdout);
        folders.push(PathBuf::from(said.trim()));
    }
    for usual in USUAL {
        let entries = fs::read_dir(usual).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path().join("bin")));
    }
    folders
}

/// The major and minor version in a folder, if it is supported.
fn version(folder: &Path) -> Option<(u32, u32)> {
    if !folder.is_absolute() || !folder.join("initdb").exists() {
        return None;
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let version = parse(&String::from_utf8_lossy(&output.stdout))?;
    (version.0 >= OLDEST).then_some(version)
}

/// Parses `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or `... 19beta1`.
fn parse(said: &str) -> Option<(u32, u32)> {
    let number = said.split_whitespace().nth(2)?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = if number.contains('.') {
        parts.next()?.parse().ok()?
    } else {
        0
    };
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_are_read() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse(debian), Some((15, 18)));
        assert_eq!(parse("postgres (PostgreSQL) 19beta1\n"), Some((19, 0)));
        assert_eq!(parse("postgres (PostgreSQL) 9.6.24\n"), Some((9, 6)));
        assert_eq!(parse("postgres: command not found"), None);
        assert_eq!(parse(""), None);
    }
}
