//! Reads files of certificates, keys and tokens, up to a size limit.

use std::path::Path;
use tko_core::{Error, Result};

/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 1 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bad = |reason: String| Error::bad("file", format!("{}: {reason}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if size > MAX_FILE {
        return Err(bad(format!(
            "the file has {size} bytes; at most {MAX_FILE} are allowed"
        )));
    }
    std::fs::read(path).map_err(|error| bad(error.to_string()))
}
