//! Content hashes: equal hashes mean equal content.

use serde_json::Value;
use std::fmt;
use std::io::BufWriter;

/// Size of the hasher's buffer, in bytes.
const PIECE: usize = 8_192;

/// The BLAKE3 hash of some content in its canonical encoding.
///
/// The encoding is compact JSON that preserves the order of keys. Contents that differ in the order
/// of keys, or in the kind of a number (`1` and `1.0`), have different hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// Hashes one value.
    pub fn of(value: &Value) -> Self {
        Self::with_size(value).0
    }

    /// Hashes one value, and counts the bytes of its encoding.
    pub(crate) fn with_size(value: &Value) -> (Self, usize) {
        // JSON is written in very small pieces; hashing large pieces is three times as fast.
        let mut hasher = BufWriter::with_capacity(PIECE, blake3::Hasher::new());
        serde_json::to_writer(&mut hasher, value)
            .expect("a JSON value always encodes, and a hasher takes every write");
        let hasher = hasher.into_inner();
        let hasher = hasher.expect("a hasher takes every write");
        let size = usize::try_from(hasher.count()).unwrap_or(usize::MAX);
        (Self(*hasher.finalize().as_bytes()), size)
    }

    /// Hashes a sequence of hashes, in order.
    pub fn of_all(hashes: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for hash in hashes {
            hasher.update(&hash.0);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// The number of bytes of a value as compact JSON.
pub fn size_of_value(value: &Value) -> usize {
    struct Counter(usize);

    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value)
        .expect("a JSON value always encodes, and a counter takes every write");
    counter.0
}

/// Formats the hash in lower-case hexadecimal.
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
