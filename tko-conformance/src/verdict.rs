//! Common assertions about errors.

use std::fmt::Debug;
use tko_core::{Error, ErrorKind, Key, Result};

/// Asserts that a call is refused with one of these kinds of errors, and returns the error.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T>, kinds: &[ErrorKind], what: &str) -> Error {
    match result {
        Err(error) if kinds.contains(&error.kind()) => error,
        other => panic!("{what} must be refused with {kinds:?}, but the answer is {other:?}"),
    }
}

/// Asserts that a conflict names exactly these keys, in any order.
#[track_caller]
pub(crate) fn names(error: &Error, keys: &[Key]) {
    let mut expected = keys.to_vec();
    expected.sort();
    let Error::Conflict(named) = error else {
        panic!("a conflict that names {expected:?}, but it is {error:?}");
    };
    let mut named = named.clone();
    named.sort();
    named.dedup();
    assert_eq!(named, expected, "a conflict names every failing key");
}
