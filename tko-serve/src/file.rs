//! Reads files of certificates, keys and tokens, up to a size limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use tko_core::{Error, Result};

/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a file. It can be a pipe, which has its content only once.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bad = |reason: String| Error::bad("file", format!("{}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| bad(error.to_string()))?;
    // The size of a pipe or a device is not known before.
    let mut file = file.take(MAX_FILE + 1);
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.map_err(|error| bad(error.to_string()))?;
    if file.limit() == 0 {
        return Err(bad(format!("the file has more than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}
