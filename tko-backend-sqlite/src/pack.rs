//! Rows, packages and work items as stored bytes.

use tko_core::codec::{CodecError, Stored, decode, encode};
use tko_core::{Error, Limits, Result};

/// The largest value that is stored, in bytes; SQLite itself stops at a billion.
const MAX_BYTES: usize = 512 << 20;

/// The limits for values that this program wrote. They are wider than those of input, because a
/// stored package may need more bytes than the input that it came from.
fn limits() -> Limits {
    Limits::new()
        .bytes(MAX_BYTES)
        .values(64_000_000)
        .documents(1_000_000)
}

/// Encodes a value for storage.
pub(crate) fn pack<T: Stored>(value: &T) -> Vec<u8> {
    encode(value)
}

/// Decodes a stored value.
pub(crate) fn unpack<T: Stored>(bytes: &[u8]) -> Result<T> {
    decode(bytes, &limits())
        .map_err(|error: CodecError| Error::internal("read a stored row", error))
}
