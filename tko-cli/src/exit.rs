//! Exit codes for scripts.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed for another reason |
//! | 2 | bad argument: correct the command or the package |
//! | 3 | not found |
//! | 4 | conflict, busy, already exists, or an expired token: read again and retry |
//! | 5 | unavailable: retry later |
//! | 6 | not authenticated or not allowed |
//! | 7 | `deployment diff --exit-code` found a difference |
//! | 129, 130, 131, 143 | stopped by SIGHUP, Ctrl-C, SIGQUIT or SIGTERM while a command read a git repository |

use crate::console::to_stderr;
use crate::entity::diff::PackagesDiffer;
use crate::interrupt::Interrupted;
use std::process::ExitCode;
use tko_core::ErrorKind;

/// Prints an error to standard error and returns the exit code.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return ExitCode::from(interrupted.code);
    }
    let message = message(&error);
    to_stderr(format_args!("tko: {message}"));
    if error.is::<PackagesDiffer>() {
        return ExitCode::from(7);
    }
    let cause = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tko_core::Error>());
    let kind = cause.map(|cause| {
        if names_nothing(cause) {
            ErrorKind::NotFound
        } else {
            cause.kind()
        }
    });
    ExitCode::from(match kind {
        Some(ErrorKind::BadArgument) => 2,
        Some(ErrorKind::NotFound) => 3,
        Some(
            ErrorKind::Conflict
            | ErrorKind::Busy
            | ErrorKind::AlreadyExists
            | ErrorKind::ClaimExpired,
        ) => 4,
        Some(ErrorKind::Unavailable) => 5,
        Some(ErrorKind::Unauthenticated | ErrorKind::Forbidden) => 6,
        // Expired, not implemented, internal, and kinds that a later version adds.
        Some(_) | None => 1,
    })
}

/// Whether a command names another entity that does not exist, such as the template of a new
/// deployment. To a script that is the same as an unknown id.
fn names_nothing(error: &tko_core::Error) -> bool {
    matches!(
        error,
        tko_core::Error::BadArgument { argument, message, .. }
            if argument.ends_with(" id") && message.contains("does not exist")
    )
}

/// Whether the reader of standard output closed the pipe, as `head` does. That is not a failure. A
/// connection broken by a server is a failure; it arrives as an error of `tko_core`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .take_while(|cause| !cause.is::<tko_core::Error>())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The error with all its causes; a refused package has one violation per line.
fn message(error: &anyhow::Error) -> String {
    let violations =
        error
            .chain()
            .find_map(|cause| match cause.downcast_ref::<tko_core::Error>() {
                Some(tko_core::Error::BadArgument { violations, .. }) if violations.len() > 1 => {
                    Some(violations)
                }
                _ => None,
            });
    match violations {
        Some(violations) => {
            let lines: Vec<String> = violations.iter().map(|v| format!("  {v}")).collect();
            format!("{} violations:\n{}", violations.len(), lines.join("\n"))
        }
        None => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::is_closed_pipe;
    use anyhow::Context;
    use std::io::{Error, ErrorKind};

    #[test]
    fn only_a_closed_standard_output_is_no_failure() {
        let broken = || Error::from(ErrorKind::BrokenPipe);
        let printing = Err::<(), _>(broken()).context("print the list");
        assert!(is_closed_pipe(&printing.expect_err("an error")));
        let server = tko_core::Error::unavailable("list entities", broken());
        assert!(!is_closed_pipe(&server.into()));
        let other = Error::from(ErrorKind::NotFound);
        assert!(!is_closed_pipe(&other.into()));
    }
}
