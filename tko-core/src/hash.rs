//! Content hashes: equal hash, equal content.

use serde_json::Value;
use std::fmt;
use std::io::BufWriter;

/// How much is hashed at a time, in bytes.
const PIECE: usize = 8_192;

/// BLAKE3 of the content in its canonical encoding: compact JSON with keys in their order, so that
/// what differs in order or in the kind of a number (`1` and `1.0`) differs in hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// Of one value.
    pub fn of(value: &Value) -> Self {
        // Gathered: JSON is written in very small pieces, and hashed three times as fast in large ones.
        let mut hasher = BufWriter::with_capacity(PIECE, blake3::Hasher::new());
        serde_json::to_writer(&mut hasher, value)
            .expect("a JSON value always encodes, and a hasher takes every write");
        let hasher = hasher.into_inner();
        let hasher = hasher.expect("a hasher takes every write");
        Self(*hasher.finalize().as_bytes())
    }

    /// Of a sequence of hashes, in order.
    pub fn of_all(hashes: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for hash in hashes {
            hasher.update(&hash.0);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
