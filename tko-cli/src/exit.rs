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
    // A reader that has seen enough, such as `head`, is no failure.
    let broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
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
            ErrorKind::Conflict | ErrorKind::Busy | ErrorKind::AlreadyExists | ErrorKind::Timeout,
        ) => 4,
        Some(ErrorKind::Unavailable) => 5,
        Some(ErrorKind::Unauthenticated | ErrorKind::Forbidden) => 6,
        Some(ErrorKind::Expired | ErrorKind::NotImplemented | ErrorKind::Internal) | None => 1,
    })
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
