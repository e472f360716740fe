//! Exit codes that a script can use.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed, for a reason of its own |
//! | 2 | bad argument: mend the command or the package |
//! | 3 | not found |
//! | 4 | conflict, busy, exists already, or a token whose time is over: read again and retry |
//! | 5 | unavailable: retry later |
//! | 6 | not authenticated, or not allowed |

use std::process::ExitCode;
use tko_core::ErrorKind;

/// Reports a failure on standard error and gives its code.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if is_read_no_further(&error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("tko: {}", told(&error));
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tko_core::Error>())
        .map(tko_core::Error::kind);
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
        Some(ErrorKind::Expired | ErrorKind::NotImplemented | ErrorKind::Internal) | None => 1,
    })
}

/// Whether whoever reads our output has seen enough, as `head` has: that is no failure. A server
/// that breaks off the connection is one; what is told of it comes as an error of `tko_core`.
fn is_read_no_further(error: &anyhow::Error) -> bool {
    error
        .chain()
        .take_while(|cause| !cause.is::<tko_core::Error>())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The whole chain; of a refused package, one violation a line.
fn told(error: &anyhow::Error) -> String {
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
    use super::is_read_no_further;
    use anyhow::Context;
    use std::io::{Error, ErrorKind};

    #[test]
    fn only_a_reader_of_ours_may_break_off() {
        let broken = || Error::from(ErrorKind::BrokenPipe);
        let printing = Err::<(), _>(broken()).context("print the list");
        assert!(is_read_no_further(&printing.expect_err("it is one")));
        let server = tko_core::Error::unavailable("list entities", broken());
        assert!(!is_read_no_further(&server.into()));
        let other = Error::from(ErrorKind::NotFound);
        assert!(!is_read_no_further(&other.into()));
    }
}
