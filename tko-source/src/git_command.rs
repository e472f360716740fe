//! [`git_command`]: the environment in which TKO starts the program git.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Variables that would point git to another repository, as when a hook of git started this process,
/// or have it start another program.
const FOREIGN_VARIABLES: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_EXTERNAL_DIFF",
];

/// A command that starts git, from this path or the `PATH`. It is for no other repository than its
/// arguments name, without prompts or standard input, and with messages in English.
///
/// The configuration and credentials of the user apply, unless the arguments override them.
pub fn git_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in FOREIGN_VARIABLES {
        command.env_remove(name);
    }
    // Without an askpass program, SSH would prompt at the terminal. git would ask it as well, unless
    // it has one of its own, which may be empty.
    if std::env::var_os("SSH_ASKPASS").is_none() {
        command.env("SSH_ASKPASS", "false");
        if std::env::var_os("GIT_ASKPASS").is_none() {
            command.env("GIT_ASKPASS", "");
        }
    }
    command
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::git_command;
    use std::collections::BTreeMap;

    #[test]
    fn git_works_on_no_other_repository_and_does_not_ask() {
        let command = git_command("git");
        let set: BTreeMap<_, _> = command
            .get_envs()
            .map(|(name, value)| (name.to_str(), value.and_then(|value| value.to_str())))
            .collect();
        for (name, value) in [
            ("GIT_DIR", None),
            ("GIT_INDEX_FILE", None),
            ("GIT_TERMINAL_PROMPT", Some("0")),
            ("SSH_ASKPASS_REQUIRE", Some("force")),
            ("LC_ALL", Some("C")),
        ] {
            assert_eq!(set.get(&Some(name)), Some(&value), "{name}");
        }
    }
}
