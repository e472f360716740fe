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
    /// Maximum number of bytes of the clone of a git repository, with the files that are not part of
    /// the package. Default: 4 GiB.
    pub max_clone_bytes: u64,
    /// Maximum wait for a server to accept a connection, and for its next bytes. Default: 30 s.
    pub stall_timeout: Duration,
    /// Minimum number of bytes per second of a download on average, after the first
    /// [`stall_timeout`](Self::stall_timeout); 0 for none. Default: 1,024.
    pub min_rate: u64,
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

    /// Sets [`max_clone_bytes`](Self::max_clone_bytes).
    #[must_use]
    pub fn with_max_clone_bytes(mut self, max_clone_bytes: u64) -> Self {
        self.max_clone_bytes = max_clone_bytes;
        self
    }

    /// Sets [`stall_timeout`](Self::stall_timeout).
    #[must_use]
    pub fn with_stall_timeout(mut self, stall_timeout: Duration) -> Self {
        self.stall_timeout = stall_timeout;
        self
    }

    /// Sets [`min_rate`](Self::min_rate).
    #[must_use]
    pub fn with_min_rate(mut self, min_rate: u64) -> Self {
        self.min_rate = min_rate;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Longest time after which a download has more than `bytes` bytes:
    /// [`stall_timeout`](Self::stall_timeout), and the time of these bytes at
    /// [`min_rate`](Self::min_rate).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tko_source::SourceLimits;
    ///
    /// let limits = SourceLimits::default();
    /// assert_eq!(limits.download_time(0), Duration::from_secs(30));
    /// assert_eq!(limits.download_time(10 << 10), Duration::from_secs(40));
    /// ```
    pub fn download_time(&self, bytes: u64) -> Duration {
        match bytes.saturating_mul(1_000).checked_div(self.min_rate) {
            Some(milliseconds) => self
                .stall_timeout
                .saturating_add(Duration::from_millis(milliseconds)),
            None => Duration::MAX,
        }
    }
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_unpacked_bytes: 1 << 30,
            max_files: 100_000,
            max_depth: 64,
            max_clone_bytes: 4 << 30,
            stall_timeout: Duration::from_secs(30),
            min_rate: 1 << 10,
            timeout: Duration::from_mins(10),
        }
    }
}
