//! Reasons why a call failed, worded for the person who reads the condition.

use crate::stderr::{Tail, printable};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Reason why a call failed. Includes the end of stderr, so that a person can fix the plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The program did not start.
    #[error("cannot run {program}: {advice}")]
    Start {
        /// The program as the plugin names it.
        program: String,
        /// The remedy.
        advice: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The program exited with a code other than 0.
    #[error("{program} exited with code {code}{}; {stderr}", missing_sdk(.stderr))]
    Exit {
        /// The program as the plugin names it.
        program: String,
        /// Exit code, 1 to 255.
        code: i32,
        /// The end of stderr.
        stderr: Tail,
    },
    /// A signal that TKO did not send ended the program.
    #[error("{program} was killed by signal {signal}{}; {stderr}", hint(*.signal))]
    Signal {
        /// The program as the plugin names it.
        program: String,
        /// Signal number, for example 9.
        signal: i32,
        /// The end of stderr.
        stderr: Tail,
    },
    /// As many programs as may run at the same time were running, so the call was not made.
    #[error(
        "no process was free within {} for {program}, so it was not called; {remedy}",
        seconds(*.after)
    )]
    NoProcess {
        /// The program as the plugin names it.
        program: String,
        /// How long the call may wait for a process: as long as its time limit.
        after: Duration,
        /// The remedy, such as `run more controllers`.
        remedy: &'static str,
    },
    /// The program exceeded its time limit.
    #[error(
        "{program} did not finish within {} and was killed with its children; make it faster or raise its time limit; {stderr}",
        seconds(*.after)
    )]
    Timeout {
        /// The program as the plugin names it.
        program: String,
        /// The time limit.
        after: Duration,
        /// The end of stderr.
        stderr: Tail,
    },
    /// A worker exceeded the time limit of one call, and abandoned it when it was cancelled.
    #[error(
        "{program} did not finish within {} and cancelled the call; make it faster or raise its time limit; {stderr}",
        seconds(*.after)
    )]
    Cancelled {
        /// The program as the plugin names it.
        program: String,
        /// The time limit.
        after: Duration,
        /// The end of stderr.
        stderr: Tail,
    },
    /// A worker did not answer the first frame in time.
    #[error(
        "{program} did not say hello within {} and was killed; it must speak the worker protocol, as Python scripts do that call tko.prepare, tko.schedule or tko.validate; {stderr}",
        seconds(*.after)
    )]
    Silent {
        /// The program as the plugin names it.
        program: String,
        /// The time limit.
        after: Duration,
        /// The end of stderr.
        stderr: Tail,
    },
    /// A worker broke the protocol, or its process ended in another way that ends its calls.
    #[error("{program} {why}; {stderr}")]
    Worker {
        /// The program as the plugin names it.
        program: String,
        /// A verb phrase, such as `broke the worker protocol: …`.
        why: String,
        /// The end of stderr.
        stderr: Tail,
    },
    /// The program printed too much to stdout.
    #[error(
        "{program} printed more than {limit} bytes to stdout and was killed; print only the answer there and log lines to stderr; {stderr}"
    )]
    TooMuch {
        /// The program as the plugin names it.
        program: String,
        /// Limit in bytes.
        limit: usize,
        /// The end of stderr.
        stderr: Tail,
    },
    /// The program exited with 0, but its answer is invalid.
    #[error("the answer of {program} on stdout is invalid: {why}; {stderr}")]
    Answer {
        /// The program as the plugin names it.
        program: String,
        /// The problem with the answer.
        why: String,
        /// The end of stderr.
        stderr: Tail,
    },
    /// The program exited with 0 and reported an error.
    #[error("the plugin reported: {0}")]
    Said(String),
    /// TKO itself failed, before or while the program ran.
    #[error("could not {action}")]
    Here {
        /// A verb phrase, such as `open its log`.
        action: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Failure {
    /// Creates the failure of a program that did not start, with advice for the operating system's
    /// error.
    pub fn start(program: &str, source: io::Error) -> Self {
        let there = program.contains('/') && Path::new(program).exists();
        let advice = match source.kind() {
            io::ErrorKind::NotFound if there => {
                "the interpreter that its first line (#!) names does not exist; install it or correct the line".to_owned()
            }
            io::ErrorKind::NotFound if program.contains('/') => {
                "no such file on the machine that runs it; copy it there or name an absolute path".to_owned()
            }
            io::ErrorKind::NotFound => {
                "not found in the PATH of the process that runs it; install it or name an absolute path".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "permission denied for the user that runs it; make it executable with chmod +x".to_owned()
            }
            _ if Errno::from_io_error(&source) == Some(Errno::NOEXEC) => {
                "not an executable format; start a script with a line such as #!/usr/bin/env python3, or build the binary for this machine".to_owned()
            }
            _ => "the operating system refused".to_owned(),
        };
        Self::Start {
            program: program.to_owned(),
            advice,
            source,
        }
    }

    /// Creates a failure on TKO's side; `action` is a verb phrase.
    pub fn here(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Here { action, source }
    }
}

/// Reason why an answer is invalid, with the beginning of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; expected one YAML map{}", beginning(.begins))]
pub struct Unreadable {
    problem: String,
    begins: String,
}

impl Unreadable {
    /// Creates the error. `problem` is a clause about the answer; `bytes` is the answer.
    pub fn new(problem: String, bytes: &[u8]) -> Self {
        const SHOWN: usize = 100;
        let shown = &bytes[..bytes.len().min(SHOWN)];
        let mut begins = printable(shown.trim_ascii());
        if bytes.len() > SHOWN {
            begins.push('…');
        }
        Self { problem, begins }
    }
}

fn beginning(begins: &str) -> String {
    if begins.is_empty() {
        String::new()
    } else {
        format!(", found: {begins}")
    }
}

fn hint(signal: i32) -> &'static str {
    match signal {
        9 => " (SIGKILL; it may have run out of memory)",
        11 => " (SIGSEGV; it crashed)",
        6 => " (SIGABRT; it aborted)",
        _ => "",
    }
}

/// The remedy for a Python script whose interpreter has no SDK.
fn missing_sdk(stderr: &Tail) -> &'static str {
    if stderr.contains("No module named 'tko'") {
        ": its Python interpreter has no package tko; install TKO's SDK for it with pip, or name an environment that has it in PYTHON_ENV"
    } else {
        ""
    }
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn advice_distinguishes_a_missing_program_from_a_missing_interpreter() {
        for (program, advice) in [
            ("/nowhere/plugin.py", "no such file"),
            ("no-such-program", "not found in the PATH"),
            ("/", "first line (#!)"),
        ] {
            let failure = Failure::start(program, io::ErrorKind::NotFound.into());
            assert!(failure.to_string().contains(advice), "{failure}");
            // Functions on a command line have neither a controller nor a plugin.
            for word in ["controller", "register"] {
                assert!(!failure.to_string().contains(word), "{failure}");
            }
        }
        let failure = Failure::start("/", io::Error::from(Errno::NOEXEC));
        assert!(
            failure.to_string().contains("not an executable format"),
            "{failure}"
        );
    }
}
