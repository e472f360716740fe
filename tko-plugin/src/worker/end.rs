//! How the process of a worker ended, and the consequence for its calls.

use super::frame::PROTOCOL;
use crate::failure::{Failure, seconds};
use crate::stderr::Tail;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// The reason why a process ended.
#[derive(Debug)]
pub(super) enum EndReason {
    /// It did not start.
    NotStarted(io::Error),
    /// It ended by itself.
    Exited(Option<ExitStatus>),
    /// It did not say hello within this time.
    Silent(Duration),
    /// It broke the protocol; the text is the beginning of a sentence.
    Garbage(String),
    /// It is not compatible with this controller; the text is a verb phrase.
    Unsuitable(String),
    /// A call did not end after its time limit.
    Hung,
    /// It did not answer a health check within this time.
    Unhealthy(Duration),
    /// The controller stopped it.
    Stopped,
}

/// A process that ended.
#[derive(Debug)]
pub(super) struct ProcessEnd {
    pub(super) reason: EndReason,
    pub(super) stderr: Tail,
}

impl ProcessEnd {
    /// The end of a process that never ran.
    pub(super) fn early(reason: EndReason) -> Self {
        Self {
            reason,
            stderr: Tail::default(),
        }
    }

    /// Whether the calls of the process did not cause its end, because another call hung, or the
    /// process was stopped. They are made again without being counted.
    pub(super) fn is_collateral(&self) -> bool {
        matches!(self.reason, EndReason::Hung | EndReason::Stopped)
    }

    /// The failure of a call of the process.
    pub(super) fn failure(&self, program: &str, timeout: Duration) -> Failure {
        let stderr = self.stderr.clone();
        let program = program.to_owned();
        let worker = |why: String, stderr| Failure::Worker {
            program: program.clone(),
            why,
            stderr,
        };
        match &self.reason {
            EndReason::NotStarted(error) => {
                // The original error goes to everyone who waits for the process.
                let error = match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(error.kind(), error.to_string()),
                };
                Failure::start(&program, error)
            }
            EndReason::Exited(status) => match status.map(|status| (status.code(), status)) {
                Some((Some(0), _)) => worker(
                    "exited with code 0 before it had answered; a worker must read frames until it is told to stop".to_owned(),
                    stderr,
                ),
                Some((Some(code), _)) => Failure::Exit {
                    program,
                    code,
                    stderr,
                },
                Some((None, status)) => Failure::Signal {
                    program,
                    signal: status.signal().unwrap_or_default(),
                    stderr,
                },
                None => worker("ended".to_owned(), stderr),
            },
            EndReason::Silent(after) => Failure::Silent {
                program,
                after: *after,
                stderr,
            },
            EndReason::Garbage(why) => {
                worker(format!("broke the worker protocol, version {PROTOCOL}, and was killed: {why}"), stderr)
            }
            EndReason::Unsuitable(why) => worker(why.clone(), stderr),
            EndReason::Hung => Failure::Timeout {
                program,
                after: timeout,
                stderr,
            },
            EndReason::Unhealthy(after) => worker(
                format!("did not answer a health check within {} and was killed", seconds(*after)),
                stderr,
            ),
            EndReason::Stopped => worker("was stopped with the controller".to_owned(), stderr),
        }
    }
}
