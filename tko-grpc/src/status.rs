//! Errors over gRPC: the one mapping of [`tko_core::Error`] to [`tonic::Status`] and back.
//!
//! | kind | code |
//! |---|---|
//! | bad argument | `INVALID_ARGUMENT` |
//! | not found | `NOT_FOUND` |
//! | already exists | `ALREADY_EXISTS` |
//! | conflict, busy, timeout | `ABORTED` |
//! | expired | `OUT_OF_RANGE` |
//! | unauthenticated | `UNAUTHENTICATED` |
//! | forbidden | `PERMISSION_DENIED` |
//! | not implemented | `UNIMPLEMENTED` |
//! | unavailable | `UNAVAILABLE` |
//! | internal | `INTERNAL` |
//!
//! `google.rpc.ErrorInfo` in the details has the kind as its `reason`, and in its metadata what
//! the error speaks of; `google.rpc.BadRequest` has every violation. The text says all of it too.
//! A status travels in HTTP headers, of which many clients take 8 KiB at most, so what is longer is
//! cut and says so; whoever takes more asks for it by the metadata entry `tko-details: full` and
//! gets a `tko.v1alpha2.Error`, from which [`to_error`] makes the error as it was.
//!
//! What lies behind an unavailable or internal error stays in the server's log.

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
pub(crate) use encode::log;
pub(crate) use full::{pack, unpack};

/// The domain of `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "tko";

/// The metadata entry of requests whose caller takes long statuses: its value is `full`.
pub const DETAILS: &str = "tko-details";

/// The value of [`DETAILS`].
pub const FULL: &str = "full";

/// How much of an error a caller takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What fits in the headers that any client takes: about 7 KiB.
    Short,
    /// All of it.
    Full,
}

impl Detail {
    /// What a request asks for.
    pub fn of(metadata: &MetadataMap) -> Self {
        match metadata.get(DETAILS) {
            Some(value) if value == FULL => Self::Full,
            _ => Self::Short,
        }
    }
}

/// The code of a kind.
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
        ErrorKind::Internal => Code::Internal,
    }
}

/// The kind in upper snake case, as `google.rpc.ErrorInfo` has it.
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
        ErrorKind::Internal => "INTERNAL",
    }
}
