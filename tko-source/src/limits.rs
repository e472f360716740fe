//! The limits for one source.

use std::time::Duration;

/// The limits for one source.
///
/// ```
/// use std::time::Duration;
/// use tko_source::{SourceLimits, SourceReader};
///
/// let limits = SourceLimits::default()
///     .with_max_bytes(10 << 20)
///     .with_timeout(Duration::from_secs(20));
/// let reader = SourceReader::new().with_limits(limits);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLimits {
    /// Maximum number of bytes of one file or archive, and of all YAML files of a source together.
    /// Default: 256 MiB.
    pub max_bytes: u64,
    /// Maximum number of bytes of a tar archive after decompression. Default: 1 GiB.
    pub max_unpacked_bytes: u64,
    /// Maximum number of entries of a folder or an archive, YAML files and others. Default:
    /// 100,000.
    pub max_files: usize,
    /// Maximum number of levels of folders below the folder that is read. Default: 64.
    pub max_depth: usize,
    /// Maximum wait for a server to accept a connection, and for its next bytes. Default: 30 s.
    pub stall_timeout: Duration,
    /// Longest time for reading one source. Default: 10 min.
    pub timeout: Duration,
}

impl SourceLimits {
    /// Sets [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets [`max_unpacked_bytes`](Self::max_unpacked_bytes).
    #[must_use]
    pub fn with_max_unpacked_bytes(mut self, max_unpacked_bytes: u64) -> Self {
        self.max_unpacked_bytes = max_unpacked_bytes;
        self
    }

    /// Sets [`max_files`](Self::max_files).
    #[must_use]
    pub fn with_max_files(mut self, max_files: usize) -> Self {
        self.max_files = max_files;
        self
    }

    /// Sets [`max_depth`](Self::max_depth).
    #[must_use]
    pub fn with_max_depth(mut self, max_depth: usize) -> Self {
        self.max_depth = max_depth;
        self
    }

    /// Sets [`stall_timeout`](Self::stall_timeout).
    #[must_use]
    pub fn with_stall_timeout(mut self, stall_timeout: Duration) -> Self {
        self.stall_timeout = stall_timeout;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
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
