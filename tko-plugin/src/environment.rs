//! The environment of plugins: programs get what they need to run, and none of the controller's
//! secrets.

use crate::program::Program;
use std::ffi::{OsStr, OsString};
use std::io;
use std::iter;
use std::path::Path;
use tokio::process::Command;

/// Names of the variables that every plugin inherits. A final `*` matches any ending.
///
/// They locate programs, home directories and certificates, and configure how to show text. Usually
/// none of them contains a secret.
pub const INHERITED: [&str; 14] = [
    "HOME",
    "KUBECONFIG",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_*",
];

/// Builds the command of a plugin with a clean environment.
///
/// The program inherits the variables [`INHERITED`] and those that `names` lists, where a final `*`
/// matches any ending. For `*.py` programs, the `bin` of the Python environment comes first in
/// `PATH`, if it exists.
///
/// # Errors
/// The path of the Python environment contains a colon.
pub fn command(
    program: &Program,
    python_env: Option<&Path>,
    names: &[String],
) -> io::Result<Command> {
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).env_clear();
    let inherited = std::env::vars_os().filter(|(name, _)| is_inherited(name, names));
    command.envs(inherited);
    if let Some(path) = search_path(program, python_env)? {
        command.env("PATH", path);
    }
    Ok(command)
}

/// Whether a plugin inherits this variable.
fn is_inherited(name: &OsStr, names: &[String]) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let listed = INHERITED.into_iter();
    let mut listed = listed.chain(names.iter().map(String::as_str));
    listed.any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    })
}

/// The `PATH` of a Python program, if it differs from the controller's.
fn search_path(program: &Program, python_env: Option<&Path>) -> io::Result<Option<OsString>> {
    let is_python = Path::new(&program.path)
        .extension()
        .is_some_and(|extension| extension == "py");
    let bin = match python_env.map(|env| env.join("bin")) {
        Some(bin) if is_python && bin.is_dir() => bin,
        _ => return Ok(None),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let rest = std::env::split_paths(&path).filter(|part| !part.as_os_str().is_empty());
    std::env::join_paths(iter::once(bin).chain(rest))
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests {
    use super::is_inherited;
    use std::ffi::OsStr;

    #[test]
    fn plugins_inherit_what_is_listed_only() {
        let names = ["PLUGIN_*".to_owned(), "POOL".to_owned()];
        for (name, expected) in [
            ("PATH", true),
            ("PATHS", false),
            ("LC_ALL", true),
            ("TKO_GRPC_TOKENS", false),
            ("PGPASSWORD", false),
            ("PLUGIN_A", true),
            ("POOL", true),
            ("POOLS", false),
        ] {
            assert_eq!(is_inherited(OsStr::new(name), &names), expected, "{name}");
        }
    }
}
