//! `cargo xtask test`: builds the tests once, then runs their programs side by side.
//!
//! `cargo test` runs one test program after the other. Many of ours wait most of the time: for
//! leases, for timeouts, for processes that start. Two or three at once take the same processor
//! time and end much earlier.

mod build;
mod programs;

use crate::install::provide;
use crate::machine::{Here, Machine};
use anyhow::Result;
use build::{Built, build};
use clap::Args;
use programs::{Job, Times, run_all};
use std::ffi::OsString;
use std::io::Write;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Mounts a file system that goes with this command, as tests of a full disk do.
const MOUNT: &str = "test $(id -u) = 0 || set -- --user --map-root-user; \
     exec unshare --mount \"$@\" mount -t tmpfs tmpfs /tmp";

/// Tells those tests that no file system can be mounted.
const WITHOUT_DISK: &str = "TKO_TEST_WITHOUT_DISK";

/// Names programs that are absent, separated by commas: their tests are skipped.
const WITHOUT: &str = "TKO_TEST_WITHOUT";

/// The crate that is a Python package; a script builds and tests it.
const PYTHON_CRATE: &str = "tko-python";

/// The crate of the program `tko`.
const PROGRAM_CRATE: &str = "tko-cli";

/// Names the `tko` that the tests of the Python package and of the Ansible collection use.
const PROGRAM: &str = "TKO_TEST_PROGRAM";

/// A test program whose tests wait for a server most of the time, and the number of them to run at
/// once. `--test-threads` among the test arguments takes precedence.
const WAITING: (&str, &str, &str) = ("tko-backend-postgres", "tests/conformance.rs", "6");

/// How long each test program took when it last ran, relative to the workspace.
const TIMES: &str = "target/test-times.json";

/// Build the tests once and run them side by side; install what they need first
///
/// Without --package, all crates are tested. Each program's output is printed when the program
/// ends, and that of failed programs again at the end.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Test only this crate, and build only what it needs; repeat for several
    #[arg(short, long, value_name = "CRATE")]
    package: Vec<String>,
    /// Leave out this crate; repeat for several
    #[arg(long, value_name = "CRATE", conflicts_with = "package")]
    exclude: Vec<String>,
    /// Run only this file of tests/; repeat for several
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Run only the tests inside libraries
    #[arg(long)]
    lib: bool,
    /// Leave out the documentation tests
    #[arg(long)]
    no_doc: bool,
    /// Run this many test programs at a time
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(2).expect("not zero"))]
    programs: NonZeroUsize,
    /// Run a test program that failed again, alone, up to this many times; one that then passes is
    /// reported as unstable
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u8,
    /// Kill a test program that is not done after this many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = NonZeroU32::new(20).expect("not zero"))]
    limit: NonZeroU32,
    /// Pass this option to cargo as well, such as --release
    #[arg(long = "cargo", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<OsString>,
    /// Run only tests whose names contain this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Pass these arguments to every test program
    #[arg(last = true, value_name = "TEST ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl TestArgs {
    /// Returns 0 if all tests passed, otherwise the exit code of a program that failed.
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<ExitCode> {
        let absent = provide(&Here, out)?;
        let without_disk = !has_disks(&Here);
        if without_disk {
            writeln!(
                out,
                "cannot mount a file system on this machine: skipping the tests that fill a disk"
            )?;
        }
        out.flush()?;
        let built = build(cargo().args(self.build_arguments()))?;
        let mut jobs: Vec<Job> = built.iter().map(|built| self.program(built)).collect();
        if self.has_doc_tests(&built) {
            let mut command = cargo();
            command.args(self.doc_arguments());
            jobs.push(Job::new("documentation tests", command));
        }
        if self.has_python_tests() {
            jobs.push(Job::new(PYTHON_CRATE, self.python_tests()));
        }
        for job in &mut jobs {
            job.limit = Duration::from_mins(self.limit.get().into());
            if without_disk {
                job.command.env(WITHOUT_DISK, "1");
            }
            if !absent.is_empty() {
                let names: Vec<&str> = absent.iter().map(|need| need.name()).collect();
                job.command.env(WITHOUT, names.join(","));
            }
        }
        let times = Path::new(TIMES);
        let mut known = Times::read(times);
        let code = run_all(jobs, self.programs.get(), self.retries, &mut known, out)?;
        // Only the order of the next run depends on this file.
        if let Err(error) = known.write(times) {
            writeln!(out, "could not write {TIMES}: {error}")?;
        }
        Ok(code)
    }

    /// The crates to test, as both `cargo test` commands take them.
    fn selection(&self) -> Vec<OsString> {
        let mut all = Vec::new();
        if self.package.is_empty() {
            all.push("--workspace".into());
        }
        let mut each = |option: &str, values: &[String]| {
            for value in values {
                all.extend([option.into(), value.into()]);
            }
        };
        each("--package", &self.package);
        each("--exclude", &self.exclude);
        all.extend(self.options.iter().cloned());
        all
    }

    fn build_arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["test".into(), "--no-run".into()];
        all.push("--message-format=json-render-diagnostics".into());
        all.extend(self.selection());
        for test in &self.test {
            all.extend(["--test".into(), test.into()]);
        }
        if self.lib {
            all.push("--lib".into());
        }
        all
    }

    fn doc_arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["test".into(), "--doc".into(), "--quiet".into()];
        all.extend(self.selection());
        all.push("--".into());
        all.extend(self.test_arguments());
        all
    }

    fn test_arguments(&self) -> impl Iterator<Item = OsString> {
        let filter = self.filter.iter().map(OsString::from);
        filter.chain(self.arguments.iter().cloned())
    }

    fn program(&self, built: &Built) -> Job {
        let mut command = Command::new(&built.program);
        command
            .args(self.test_arguments())
            .current_dir(&built.folder)
            // As cargo does when it runs tests.
            .env("CARGO_MANIFEST_DIR", &built.folder)
            .env("CARGO_PKG_NAME", &built.package);
        let (package, target, threads) = WAITING;
        let is_set = std::env::var_os("RUST_TEST_THREADS").is_some();
        if !is_set && (package, target) == (&*built.package, &*built.target) {
            command.env("RUST_TEST_THREADS", threads);
        }
        Job::new(&format!("{} {}", built.package, built.target), command)
    }

    /// The tests of the Python package have no files in `tests` that cargo knows.
    fn has_python_tests(&self) -> bool {
        self.selects(PYTHON_CRATE) && self.test.is_empty() && !self.lib
    }

    /// Whether the tests of this crate are built.
    fn selects(&self, name: &str) -> bool {
        if self.package.is_empty() {
            !self.exclude.iter().any(|other| other == name)
        } else {
            self.package.iter().any(|other| other == name)
        }
    }

    /// Builds the wheel with the tests' profile in the same target folder, and tests it.
    fn python_tests(&self) -> Command {
        let mut command = Command::new("python3");
        command.arg("tko-python/test.py");
        let is_release = self.options.iter().any(|option| option == "--release");
        if is_release {
            command.args(["--profile", "release"]);
        }
        // Cargo builds the programs of all crates whose tests it builds.
        if self.selects(PROGRAM_CRATE) {
            let profile = if is_release { "release" } else { "debug" };
            let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
            command.env(PROGRAM, Path::new(&target).join(profile).join("tko"));
        }
        if let Some(filter) = &self.filter {
            command.args(["-k", filter]);
        }
        for (name, _) in std::env::vars_os() {
            if is_of_this_package(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Cargo refuses `--doc` if none of the crates has a library.
    fn has_doc_tests(&self, built: &[Built]) -> bool {
        let every_target = self.test.is_empty() && !self.lib && !self.no_doc;
        every_target && (self.package.is_empty() || built.iter().any(|built| built.is_library))
    }
}

/// Cargo, without the variables that it set for this program.
///
/// With them, crates whose build scripts look at those variables would be built once more.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if is_of_this_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a test can mount a separate file system: containers often forbid it.
fn has_disks(machine: &dyn Machine) -> bool {
    machine.ask("sh", &["-c", MOUNT, "sh"]).is_some()
}

/// Whether cargo sets this variable for the package whose program it runs.
fn is_of_this_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"].contains(&variable)
}

#[cfg(test)]
mod tests {
    use super::{Built, MOUNT, PROGRAM, TestArgs, has_disks, is_of_this_package};
    use crate::machine::fake::Fake;
    use clap::Parser;
    use std::ffi::OsString;

    #[derive(Parser)]
    struct Chore {
        #[command(flatten)]
        test: TestArgs,
    }

    fn parsed(given: &[&str]) -> TestArgs {
        let chore = Chore::try_parse_from([&["test"], given].concat());
        chore.unwrap_or_else(|error| panic!("{error}")).test
    }

    fn words(arguments: impl IntoIterator<Item = OsString>) -> String {
        let words = arguments.into_iter().map(OsString::into_string);
        let words: Result<Vec<String>, OsString> = words.collect();
        words.expect("text").join(" ")
    }

    const BUILD: &str = "test --no-run --message-format=json-render-diagnostics";

    #[test]
    fn all_crates_are_built_once_and_their_documentation_is_tested() {
        let test = parsed(&[]);
        assert_eq!(
            words(test.build_arguments()),
            format!("{BUILD} --workspace")
        );
        assert_eq!(
            words(test.doc_arguments()),
            "test --doc --quiet --workspace --"
        );
        assert!(test.has_doc_tests(&[]));
    }

    #[test]
    fn a_crate_is_built_alone() {
        let test = parsed(&["-p", "tko-core", "--cargo", "--all-features"]);
        assert_eq!(
            words(test.build_arguments()),
            format!("{BUILD} --package tko-core --all-features")
        );
        assert_eq!(
            words(test.doc_arguments()),
            "test --doc --quiet --package tko-core --all-features --"
        );
    }

    #[test]
    fn test_programs_get_the_filter_and_the_arguments() {
        let test = parsed(&[
            "--exclude",
            "tko-grpc",
            "leases",
            "--",
            "--nocapture",
            "--exact",
        ]);
        assert_eq!(
            words(test.build_arguments()),
            format!("{BUILD} --workspace --exclude tko-grpc")
        );
        assert_eq!(words(test.test_arguments()), "leases --nocapture --exact");
        let built = built("tko-core", false);
        let job = test.program(&built);
        let given: Vec<_> = job.command.get_args().map(OsString::from).collect();
        assert_eq!(words(given), "leases --nocapture --exact");
        assert_eq!(job.command.get_current_dir(), Some(built.folder.as_path()));
    }

    #[test]
    fn one_file_of_tests_runs_without_the_documentation() {
        let test = parsed(&["-p", "tko-core", "--test", "lease"]);
        assert_eq!(
            words(test.build_arguments()),
            format!("{BUILD} --package tko-core --test lease")
        );
        assert!(!test.has_doc_tests(&[built("tko-core", true)]));
    }

    fn built(package: &str, is_library: bool) -> Built {
        Built {
            package: package.to_owned(),
            target: "src/lib.rs".to_owned(),
            folder: "/workspace/folder".into(),
            program: "/workspace/target/program".into(),
            is_library,
        }
    }

    #[test]
    fn a_crate_without_a_library_has_no_documentation_tests() {
        let test = parsed(&["-p", "tko-cli"]);
        assert!(!test.has_doc_tests(&[built("tko-cli", false)]));
        assert!(test.has_doc_tests(&[built("tko-core", true), built("tko-cli", false)]));
    }

    #[test]
    fn the_python_package_is_tested_like_a_crate() {
        assert!(parsed(&[]).has_python_tests());
        assert!(parsed(&["-p", "tko-python"]).has_python_tests());
        assert!(!parsed(&["-p", "tko-core"]).has_python_tests());
        assert!(!parsed(&["--exclude", "tko-python"]).has_python_tests());
        assert!(!parsed(&["--test", "lease"]).has_python_tests());
        let command = parsed(&["--cargo", "--release", "packages"]).python_tests();
        let given = command.get_args().map(OsString::from);
        assert_eq!(
            words(given),
            "tko-python/test.py --profile release -k packages"
        );
    }

    #[test]
    fn python_is_tested_with_the_program_that_was_built() {
        let program = |given: &[&str]| {
            let command = parsed(given).python_tests();
            let mut set = command.get_envs();
            let found = set.find_map(|(name, value)| (name == PROGRAM).then_some(value));
            found.flatten().map(std::path::PathBuf::from)
        };
        let is_in =
            |given: &[&str], end: &str| program(given).is_some_and(|path| path.ends_with(end));
        assert!(is_in(&[], "debug/tko"));
        assert!(is_in(&["--cargo", "--release"], "release/tko"));
        assert!(is_in(&["-p", "tko-python", "-p", "tko-cli"], "debug/tko"));
        assert_eq!(program(&["-p", "tko-python"]), None);
        assert_eq!(program(&["--exclude", "tko-cli"]), None);
    }

    #[test]
    fn disks_are_filled_where_they_can_be_mounted() {
        assert!(!has_disks(&Fake::default()));
        let mounts = format!("sh -c {MOUNT} sh");
        assert!(has_disks(&Fake::default().with(&mounts, "")));
    }

    #[test]
    fn variables_of_this_package_are_kept_from_the_tests() {
        assert!(is_of_this_package("CARGO_MANIFEST_DIR") && is_of_this_package("CARGO_PKG_NAME"));
        assert!(
            !is_of_this_package("CARGO_TARGET_DIR") && !is_of_this_package("CARGO_INCREMENTAL")
        );
    }
}
