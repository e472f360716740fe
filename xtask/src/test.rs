//! `cargo xtask test`: all tests, with nothing but a Rust toolchain to begin with.

use crate::install::provide;
use crate::machine::{Here, Machine};
use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, ExitCode, ExitStatus};

/// Mounts a file system that goes with this command, as tests of a full disk do.
const MOUNT: &str = "test $(id -u) = 0 || set -- --user --map-root-user; \
     exec unshare --mount \"$@\" mount -t tmpfs tmpfs /tmp";

/// Says to those tests that there is no such thing.
const WITHOUT_DISK: &str = "TKO_TEST_WITHOUT_DISK";

/// Runs all tests; first installs what they need and the machine has not
#[derive(Args)]
pub(crate) struct TestArgs {
    /// For `cargo test --workspace`
    #[arg(value_name = "ARGUMENTS", allow_hyphen_values = true)]
    cargo: Vec<OsString>,
    /// For the tests
    #[arg(last = true, value_name = "TEST ARGUMENTS")]
    tests: Vec<OsString>,
}

impl TestArgs {
    /// Answers with the exit code of the tests.
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<ExitCode> {
        provide(&Here, out)?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(&cargo);
        command.args(self.arguments());
        // What cargo says to this chore is not meant for another cargo: with it, crates whose build
        // looks at it would be built once more.
        for (name, _) in std::env::vars_os() {
            if is_ours(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        if !has_disks(&Here) {
            writeln!(
                out,
                "this machine lets you mount no file system: tests that fill a disk are left out"
            )?;
            command.env(WITHOUT_DISK, "1");
        }
        let status = command
            .status()
            .with_context(|| format!("could not run {}", cargo.display()))?;
        Ok(code(status))
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["test".into(), "--workspace".into()];
        all.extend(self.cargo.iter().cloned());
        if !self.tests.is_empty() {
            all.push("--".into());
            all.extend(self.tests.iter().cloned());
        }
        all
    }
}

/// Whether a test can have a file system of its own: containers often forbid it.
fn has_disks(machine: &dyn Machine) -> bool {
    machine.ask("sh", &["-c", MOUNT, "sh"]).is_some()
}

/// Whether cargo sets this variable for the package whose program it runs.
fn is_ours(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"].contains(&variable)
}

/// Any but 0 if the tests were killed.
fn code(status: ExitStatus) -> ExitCode {
    match status.code() {
        Some(code) => u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from),
        None => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::{MOUNT, TestArgs, code, has_disks, is_ours};
    use crate::machine::fake::Fake;
    use clap::Parser;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitCode, ExitStatus};

    #[derive(Parser)]
    struct Chore {
        #[command(flatten)]
        test: TestArgs,
    }

    fn passed_on(given: &[&str]) -> Vec<String> {
        let chore = Chore::try_parse_from([&["test"], given].concat()).expect("it takes anything");
        let arguments = chore.test.arguments();
        arguments
            .into_iter()
            .map(|argument| argument.into_string().expect("text"))
            .collect()
    }

    #[test]
    fn arguments_are_passed_on_as_they_are() {
        for given in [
            &[][..],
            &["--no-fail-fast"],
            &["--exclude", "tko-grpc", "-q", "leases"],
            &["--", "--nocapture"],
            &["--release", "-j1", "--", "--ignored", "--test-threads", "1"],
        ] {
            let expected = [&["test", "--workspace"], given].concat();
            assert_eq!(passed_on(given), expected);
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_tests() {
        let ended = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(code(ended(0)), ExitCode::SUCCESS);
        assert_eq!(code(ended(101)), ExitCode::from(101));
        let killed = ExitStatus::from_raw(9);
        assert_eq!(code(killed), ExitCode::FAILURE);
    }

    #[test]
    fn disks_are_filled_where_they_can_be_mounted() {
        assert!(!has_disks(&Fake::default()));
        let mounts = format!("sh -c {MOUNT} sh");
        assert!(has_disks(&Fake::default().with(&mounts, "")));
    }

    #[test]
    fn what_cargo_says_to_this_chore_is_kept_from_the_tests() {
        assert!(is_ours("CARGO_MANIFEST_DIR") && is_ours("CARGO_PKG_NAME"));
        assert!(!is_ours("CARGO_TARGET_DIR") && !is_ours("CARGO_INCREMENTAL"));
    }
}
