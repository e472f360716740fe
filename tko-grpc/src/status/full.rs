//! Errors as messages, complete except for the source, which stays in the server's log.

use super::encode::states_reason;
use crate::proto::v1alpha2 as wire;
use crate::wire::scalar::{identifier, key, unpack_identifier, unpack_key};
use tko_core::{Error, Key, Result, Revision, Subject, Violation};

/// The source of a remote error.
const ELSEWHERE: &str = "the server's log has the cause";
/// The source of a remote error that states its reason.
const LATER: &str = "try again later";

/// Converts an error to a message.
pub(crate) fn pack(error: &Error) -> wire::Error {
    let mut packed = wire::Error {
        kind: super::reason(error.kind()).to_owned(),
        ..wire::Error::default()
    };
    match error {
        Error::BadArgument {
            argument,
            message,
            violations,
        } => {
            packed.subject = argument.to_string();
            packed.violations = violations.iter().map(pack_violation).collect();
            if !says_the_same(message, violations) {
                packed.message.clone_from(message);
            }
        }
        Error::NotFound(Subject::Entity(of))
        | Error::AlreadyExists(of)
        | Error::Busy(of)
        | Error::ClaimExpired(of) => packed.keys.push(key(of)),
        Error::NotFound(Subject::Claim(of)) => {
            packed.keys.push(key(of));
            packed.claim = true;
        }
        Error::Conflict(keys) => packed.keys = keys.iter().map(key).collect(),
        Error::Expired { oldest } => packed.oldest = oldest.0,
        Error::Unauthenticated(message) | Error::Forbidden(message) => {
            packed.message.clone_from(message);
        }
        Error::NotImplemented(what) => packed.message = what.to_string(),
        Error::Unavailable { action, .. } | Error::Internal { action, .. } => {
            packed.subject = action.to_string();
        }
        // A variant that this version does not know keeps its kind and text.
        other => packed.message = other.to_string(),
    }
    packed
}

/// Converts a message to the error.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): this version does not know the kind.
pub(crate) fn unpack(error: wire::Error) -> Result<Error> {
    let first = |keys: &[wire::Key]| -> Result<Key> {
        unpack_key(crate::wire::scalar::required("key", keys.first())?)
    };
    Ok(match error.kind.as_str() {
        "BAD_ARGUMENT" if error.message.is_empty() && !error.violations.is_empty() => {
            let violations = error.violations.into_iter().map(unpack_violation);
            Error::invalid(error.subject, violations.collect())
        }
        "BAD_ARGUMENT" => Error::BadArgument {
            argument: error.subject.into(),
            message: error.message,
            violations: error.violations.into_iter().map(unpack_violation).collect(),
        },
        "NOT_FOUND" if error.claim => Error::NotFound(Subject::Claim(first(&error.keys)?)),
        "NOT_FOUND" => Error::NotFound(Subject::Entity(first(&error.keys)?)),
        "ALREADY_EXISTS" => Error::AlreadyExists(first(&error.keys)?),
        "BUSY" => Error::Busy(first(&error.keys)?),
        "TIMEOUT" => Error::ClaimExpired(first(&error.keys)?),
        "CONFLICT" => Error::Conflict(error.keys.iter().map(unpack_key).collect::<Result<_>>()?),
        "EXPIRED" => Error::Expired {
            oldest: Revision(error.oldest),
        },
        "UNAUTHENTICATED" => Error::Unauthenticated(error.message),
        "FORBIDDEN" => Error::Forbidden(error.message),
        "NOT_IMPLEMENTED" => Error::NotImplemented(error.message.into()),
        "UNAVAILABLE" => {
            let source = if states_reason(&error.subject) {
                LATER
            } else {
                ELSEWHERE
            };
            Error::unavailable(error.subject, source)
        }
        "INTERNAL" => Error::internal(error.subject, ELSEWHERE),
        other => return Err(Error::bad("error", format!("unknown kind {other:?}"))),
    })
}

/// Whether the message repeats the violations, so that it can be left out.
fn says_the_same(message: &str, violations: &[Violation]) -> bool {
    let Error::BadArgument { message: made, .. } = Error::invalid("", violations.to_vec()) else {
        return false;
    };
    made == message
}

fn pack_violation(violation: &Violation) -> wire::Violation {
    wire::Violation {
        resource: violation.resource.as_ref().map(identifier),
        path: violation.path.clone(),
        message: violation.message.clone(),
    }
}

fn unpack_violation(violation: wire::Violation) -> Violation {
    Violation::new(violation.message)
        .resource(violation.resource.map(unpack_identifier))
        .path(violation.path)
}
