//! One command, from its arguments to its output.

use serde_json::Value;
use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The longest wait for anything: far more than a busy machine needs.
pub(crate) const TIME: Duration = Duration::from_secs(90);

/// A command that is about to run.
pub(crate) struct Run {
    command: Command,
    shown: String,
    /// Arguments that come after all others.
    last: String,
    stdin: Vec<u8>,
}

/// Runs `tko` with arguments that are separated by spaces: another build of it, if
/// `TKO_TEST_PROGRAM` names one.
pub(crate) fn tko(arguments: &str) -> Run {
    let other = std::env::var_os("TKO_TEST_PROGRAM");
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_tko").into()));
    // Variables of the person who runs the tests must not reach the command.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"TKO_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments.split_whitespace())
        // A killed process leaves its temporary folders behind: put them into the build folder.
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        // Servers of several tests run at the same time; each takes a separate port.
        .env("TKO_WEB_PORT", "0")
        // Nothing is written to the home of the person who runs the tests. Tests that need data to
        // last name a place for them.
        .env("TKO_BACKEND", "memory")
        .env("XDG_DATA_HOME", env!("CARGO_TARGET_TMPDIR"))
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Run {
        command,
        shown: format!("tko {arguments}"),
        last: String::new(),
        stdin: Vec::new(),
    }
}

impl Run {
    /// Adds one argument, which may contain spaces.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        self.shown = format!("{} {}", self.shown, argument.to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// Adds arguments, separated by spaces, after all others.
    pub(crate) fn last(mut self, arguments: String) -> Self {
        self.last = arguments;
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes an environment variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the standard input.
    pub(crate) fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = input.into();
        self
    }

    /// The command itself, for processes that keep running.
    pub(crate) fn into_command(mut self) -> Command {
        self.command.args(self.last.split_whitespace());
        self.command
    }

    /// Runs the command to its end.
    pub(crate) async fn run(self) -> Output {
        let shown = format!("{} {}", self.shown, self.last);
        let stdin = self.stdin.clone();
        let mut command = self.into_command();
        let work = async {
            let mut child = command.stdin(Stdio::piped()).spawn()?;
            let mut pipe = child.stdin.take().expect("a pipe");
            let feed = async {
                // The command may end before it has read everything.
                let _ = pipe.write_all(&stdin).await;
                drop(pipe);
            };
            let (output, ()) = tokio::join!(child.wait_with_output(), feed);
            output
        };
        let output = tokio::time::timeout(TIME, work)
            .await
            .unwrap_or_else(|_| panic!("{shown}: no end after {TIME:?}"))
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        Output {
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
            shown,
        }
    }

    /// Runs the command and checks that it succeeds.
    #[track_caller]
    pub(crate) fn good(self) -> impl Future<Output = Output> {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.run().await;
            assert_eq!(output.code(), Some(0), "{caller}: {output}");
            output
        }
    }

    /// Runs the command and checks its exit code and that standard output is empty; returns
    /// standard error.
    #[track_caller]
    pub(crate) fn bad(self, code: i32) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.run().await;
            assert_eq!(output.code(), Some(code), "{caller}: {output}");
            assert!(output.stdout.is_empty(), "{caller}: {output}");
            assert!(!output.stderr.is_empty(), "{caller}: no error message");
            output.stderr
        }
    }
}

/// The result of a command.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    shown: String,
}

impl Output {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("it printed text")
    }

    /// Standard output without the line feed.
    pub(crate) fn line(&self) -> &str {
        let text = self.text();
        let line = text.strip_suffix('\n').unwrap_or(text);
        assert!(!line.contains('\n'), "more than a line: {text}");
        line
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The value of one key in each item of the JSON list on standard output.
    pub(crate) fn column(&self, key: &str) -> Vec<String> {
        let list = self.json();
        let items = list.as_array().expect("a list").iter();
        items
            .map(|item| item[key].as_str().expect("a text").to_owned())
            .collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out = String::from_utf8_lossy(&self.stdout);
        let out: String = out.chars().take(4_000).collect();
        write!(
            f,
            "{}: {}\nstdout: {out}\nstderr: {}",
            self.shown, self.status, self.stderr
        )
    }
}

/// Whether `TKO_TEST_WITHOUT` names programs whose tests are switched off.
pub(crate) fn is_without(programs: &str) -> bool {
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    without.split(',').any(|name| name == programs)
}

/// The path of an example package or plugin, such as `packages/upf`.
pub(crate) fn example(path: &str) -> String {
    format!("{}/../examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The path of a plugin that only these tests use.
pub(crate) fn own_plugin(name: &str) -> String {
    format!("{}/tests/plugins/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The path of a plugin for tests, such as `hang.py`.
pub(crate) fn plugin(name: &str) -> String {
    format!(
        "{}/../tko-plugin/tests/plugins/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}
