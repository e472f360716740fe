//! Shared values: bytes that processes share through the backend to save work.

use crate::builder::chainable;
use std::time::Duration;

/// Maximum size of one shared value, in bytes.
pub const MAX_SHARED: usize = 4 << 20;

/// The limits of all shared values together. They hold after
/// [`Backend::put_shared`](crate::Backend::put_shared).
///
/// The values that were shared earliest are forgotten first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedLimits {
    /// Maximum number of values. Default: 4,096.
    pub values: usize,
    /// Maximum sum of the sizes of all values, in bytes. Default: 256 MiB.
    pub bytes: u64,
    /// Age from which a value is forgotten. Default: a week.
    pub age: Duration,
}

impl Default for SharedLimits {
    fn default() -> Self {
        Self {
            values: 4_096,
            bytes: 256 << 20,
            age: Duration::from_hours(7 * 24),
        }
    }
}

impl SharedLimits {
    /// The highest limits that a [`Store`](crate::Store) passes on, because a backend examines all
    /// values when one is shared.
    pub const MAX: Self = Self {
        values: 16_384,
        bytes: 16 << 30,
        age: Duration::from_hours(365 * 24),
    };

    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    chainable! {
        /// Sets the maximum number of values.
        values: usize;
        /// Sets the maximum sum of sizes.
        bytes: u64;
        /// Sets the age from which a value is forgotten.
        age: Duration;
    }

    /// Whether a value of this size is shared at all.
    pub fn admit(&self, size: usize) -> bool {
        size <= MAX_SHARED && size as u64 <= self.bytes && self.values > 0
    }

    /// These limits, each reduced to that of [`MAX`](Self::MAX) if it is higher.
    pub(crate) fn bounded(self) -> Self {
        Self {
            values: self.values.min(Self::MAX.values),
            bytes: self.bytes.min(Self::MAX.bytes),
            age: self.age.min(Self::MAX.age),
        }
    }
}
