//! The names of executors.

use tko_core::{Error, Result};

/// Refuses an executor that is not known. `of` says of what it is, such as `a catalog`.
///
/// # Errors
/// `BadArgument`: there is no such executor.
pub(crate) fn check_executor(name: &str, of: &str, known: &[&str]) -> Result<()> {
    if known.contains(&name) {
        return Ok(());
    }
    Err(unknown_executor(name, of, known))
}

/// The error of an executor that is not known. The arguments are as in [`check_executor`].
pub(crate) fn unknown_executor(name: &str, of: &str, known: &[&str]) -> Error {
    let why = format!(
        "unknown executor {name:?} of {of}; expected {}",
        known.join(", ")
    );
    Error::bad("executor", why)
}
