//! Why a call failed, in words for the person who reads the condition.

use crate::stderr::{Tail, printable};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why a call failed. Carries what a person needs to mend it, the end of stderr included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The program never ran.
    #[error("cannot run {program}: {advice}")]
    Start {
        /// As the plugin names it.
        program: String,
        /// What to do.
        advice: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with an exit code other than 0.
    #[error("{program} ended with exit code {code}; {stderr}")]
    Exit {
        /// As the plugin names it.
        program: String,
        /// From 1 to 255.
        code: i32,
        /// Its end.
        stderr: Tail,
    },
    /// It was ended by a signal that was not from here.
    #[error("{program} was killed by signal {signal}{}; {stderr}", hint(*.signal))]
    Signal {
        /// As the plugin names it.
        program: String,
        /// By number, such as 9.
        signal: i32,
        /// Its end.
        stderr: Tail,
    },
    /// Its time was over.
    #[error(
        "{program} did not end within {} and was killed with all its children; make it faster, or allow it more time; {stderr}",
        seconds(*.after)
    )]
    Timeout {
        /// As the plugin names it.
        program: String,
        /// What it was given.
        after: Duration,
        /// Its end.
        stderr: Tail,
    },
    /// It printed too much.
    #[error(
        "{program} printed more than {limit} bytes to stdout and was killed; only the answer belongs there, log lines go to stderr; {stderr}"
    )]
    TooMuch {
        /// As the plugin names it.
        program: String,
        /// In bytes.
        limit: usize,
        /// Its end.
        stderr: Tail,
    },
    /// It ended well, and its answer makes no sense.
    #[error("the answer of {program} on stdout makes no sense: {why}; {stderr}")]
    Answer {
        /// As the plugin names it.
        program: String,
        /// What is wrong with it.
        why: String,
        /// Its end.
        stderr: Tail,
    },
    /// It ended well, and says that it failed.
    #[error("it says: {0}")]
    Said(String),
    /// This side failed, before or while the program ran.
    #[error("could not {action}")]
    Here {
        /// A verb phrase, such as `open its log`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Failure {
    /// A program that could not be started, with advice by what the system said.
    pub fn start(program: &str, source: io::Error) -> Self {
        let there = program.contains('/') && Path::new(program).exists();
        let advice = match source.kind() {
            io::ErrorKind::NotFound if there => {
                "the program that its first line (#!) names is not there; install that, or mend the line".to_owned()
            }
            io::ErrorKind::NotFound if program.contains('/') => {
                "there is no such file where the controller runs; put it there, or register the plugin with its absolute path".to_owned()
            }
            io::ErrorKind::NotFound => {
                "it is nowhere in PATH where the controller runs; install it, or register the plugin with its absolute path".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "the controller's user may not execute it; allow that with chmod +x".to_owned()
            }
            _ if Errno::from_io_error(&source) == Some(Errno::NOEXEC) => {
                "it must be a script whose first line is such as #!/usr/bin/env python3, or a binary for this machine".to_owned()
            }
            _ => "the system where the controller runs refuses".to_owned(),
        };
        Self::Start {
            program: program.to_owned(),
            advice,
            source,
        }
    }

    /// Something that failed on this side; `action` is a verb phrase.
    pub fn here(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Here { action, source }
    }
}

/// Why an answer cannot be understood, and how it begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; a plugin answers with one YAML map{}", beginning(.begins))]
pub struct Unreadable {
    problem: String,
    begins: String,
}

impl Unreadable {
    /// `problem` is a clause about the answer, which is `bytes`.
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
        format!(", and it begins: {begins}")
    }
}

fn hint(signal: i32) -> &'static str {
    match signal {
        9 => " (SIGKILL; perhaps it ran out of memory)",
        11 => " (SIGSEGV; it crashed)",
        6 => " (SIGABRT; it gave up)",
        _ => "",
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn advice_tells_a_missing_program_from_a_missing_interpreter() {
        for (program, advice) in [
            ("/nowhere/plugin.py", "there is no such file"),
            ("no-such-program", "nowhere in PATH"),
            ("/", "first line (#!)"),
        ] {
            let failure = Failure::start(program, io::ErrorKind::NotFound.into());
            assert!(failure.to_string().contains(advice), "{failure}");
        }
        let failure = Failure::start("/", io::Error::from(Errno::NOEXEC));
        assert!(
            failure.to_string().contains("must be a script"),
            "{failure}"
        );
    }
}
