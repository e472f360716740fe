//! The bounds of what is read from one source.

use std::time::Duration;

/// Bounds of what is read from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLimits {
    /// Most bytes of one file or archive, and of all YAML files of a source together. Default:
    /// 256 MiB.
    pub max_bytes: u64,
    /// Most bytes that a compressed tar archive may unpack to, whatever is in it. Default: 1 GiB.
    pub max_unpacked_bytes: u64,
    /// Most files and folders that are looked at in a folder or an archive. Default: 100,000.
    pub max_files: usize,
    /// Most folders within each other below the folder that is read. Default: 64.
    pub max_depth: usize,
    /// Longest wait for a server to accept a connection, and for its next bytes. Default: 30 s.
    pub stall_timeout: Duration,
    /// Longest time for reading one source. Default: 10 min.
    pub timeout: Duration,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_unpacked_bytes: 1 << 30,
            max_files: 100_000,
            max_depth: 64,
            stall_timeout: Duration::from_secs(30),
            timeout: Duration::from_mins(10),
        }
    }
}
