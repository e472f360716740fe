//! Errors over gRPC: maps [`tko_core::Error`] to [`tonic::Status`] and back.
//!
//! | kind | code |
//! |---|---|
//! | bad argument | `INVALID_ARGUMENT` |
//! | not found | `NOT_FOUND` |
//! | already exists | `ALREADY_EXISTS` |
//! | conflict, busy, claim expired | `ABORTED` |
//! | expired | `OUT_OF_RANGE` |
//! | unauthenticated | `UNAUTHENTICATED` |
//! | forbidden | `PERMISSION_DENIED` |
//! | not implemented | `UNIMPLEMENTED` |
//! | unavailable | `UNAVAILABLE` |
//! | internal | `INTERNAL` |
//!
//! `google.rpc.ErrorInfo` in the details has the kind as its `reason`, and the argument, keys or
//! action in its metadata. `google.rpc.BadRequest` lists the violations. The text repeats all of it.
//!
//! A status travels in HTTP headers, and many clients accept at most 8 KiB of them, so longer
//! details are truncated and marked as truncated. A request with the metadata entry `tko-details:
//! full` gets a `tko.v1alpha2.Error` instead, from which [`to_error`] restores the error.
//!
//! The source of an unavailable or internal error stays in the server's log.

mod decode;
mod encode;
mod full;

#[cfg(test)]
mod tests;

use tko_core::ErrorKind;
use tonic::Code;
use tonic::metadata::MetadataMap;

pub use decode::to_error;
pub use encode::from_error;
#[cfg(feature = "server")]
pub(crate) use encode::log;
pub(crate) use full::{pack, unpack};

/// The domain of `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "tko";

/// The metadata key with which a request asks for full details; the value is [`FULL`].
pub const DETAILS: &str = "tko-details";

/// The value of [`DETAILS`].
pub const FULL: &str = "full";

/// How much of an error fits into the status that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// About 7 KiB, which every client accepts.
    Short,
    /// The whole error.
    Full,
}

impl Detail {
    /// The detail that a request asks for.
    pub fn of(metadata: &MetadataMap) -> Self {
        match metadata.get(DETAILS) {
            Some(value) if value == FULL => Self::Full,
            _ => Self::Short,
        }
    }
}

/// The gRPC code of an error kind.
pub fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::BadArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Conflict | ErrorKind::Busy | ErrorKind::ClaimExpired => Code::Aborted,
        ErrorKind::Expired => Code::OutOfRange,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotImplemented => Code::Unimplemented,
        ErrorKind::Unavailable => Code::Unavailable,
        // Internal, and kinds that a later version adds.
        _ => Code::Internal,
    }
}

/// The `reason` of `google.rpc.ErrorInfo` for an error kind, in upper snake case.
pub fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::BadArgument => "BAD_ARGUMENT",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::AlreadyExists => "ALREADY_EXISTS",
        ErrorKind::Conflict => "CONFLICT",
        ErrorKind::Busy => "BUSY",
        ErrorKind::ClaimExpired => "TIMEOUT",
        ErrorKind::Expired => "EXPIRED",
        ErrorKind::Unauthenticated => "UNAUTHENTICATED",
        ErrorKind::Forbidden => "FORBIDDEN",
        ErrorKind::NotImplemented => "NOT_IMPLEMENTED",
        ErrorKind::Unavailable => "UNAVAILABLE",
        // Internal, and kinds that a later version adds.
        _ => "INTERNAL",
    }
}
