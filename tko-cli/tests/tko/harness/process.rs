//! One command, from its arguments to what it printed.

use serde_json::Value;
use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longest wait for anything at all: far more than it takes, for a machine that is busy.
pub(crate) const TIME: Duration = Duration::from_secs(90);

/// A command that is about to run.
pub(crate) struct Run {
    command: Command,
    shown: String,
    /// What comes after all other arguments.
    last: String,
    stdin: Vec<u8>,
}

/// `tko`, with arguments that are separated by spaces.
pub(crate) fn tko(arguments: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tko"));
    // What whoever runs the tests has set is not for them.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"TKO_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments.split_whitespace())
        // What is killed leaves its temporary folders: where the build's own are.
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
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
    /// One more argument, which may hold spaces.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        self.shown = format!("{} {}", self.shown, argument.to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// With these, separated by spaces, after all others.
    pub(crate) fn last(mut self, arguments: String) -> Self {
        self.last = arguments;
        self
    }

    /// With a variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Fed with this.
    pub(crate) fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = input.into();
        self
    }

    /// The command itself, for what is not waited for.
    pub(crate) fn into_command(mut self) -> Command {
        self.command.args(self.last.split_whitespace());
        self.command
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Output {
        let shown = format!("{} {}", self.shown, self.last);
        let stdin = self.stdin.clone();
        let mut command = self.into_command();
        let work = async {
            let mut child = command.stdin(Stdio::piped()).spawn()?;
            let mut pipe = child.stdin.take().expect("it is piped");
            let feed = async {
                // It may end without reading all of it.
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

    /// Runs it to its good end.
    #[track_caller]
    pub(crate) fn good(self) -> impl Future<Output = Output> {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.run().await;
            assert_eq!(output.code(), Some(0), "{caller}: {output}");
            output
        }
    }

    /// Runs it to an end with this code, nothing on standard output, and what it says is returned.
    #[track_caller]
    pub(crate) fn bad(self, code: i32) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.run().await;
            assert_eq!(output.code(), Some(code), "{caller}: {output}");
            assert!(output.stdout.is_empty(), "{caller}: {output}");
            assert!(!output.stderr.is_empty(), "{caller}: it does not say why");
            output.stderr
        }
    }
}

/// How a command ended.
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

    /// What it printed, as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("it printed text")
    }

    /// What it printed, less the line feed.
    pub(crate) fn line(&self) -> &str {
        let text = self.text();
        let line = text.strip_suffix('\n').unwrap_or(text);
        assert!(!line.contains('\n'), "more than a line: {text}");
        line
    }

    /// What it printed, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Of each item that it printed as JSON, this key.
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

/// The path of one of the packages or plugins that are shown to people, such as `packages/upf`.
pub(crate) fn example(path: &str) -> String {
    format!("{}/../examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The path of a plugin for these tests alone.
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
