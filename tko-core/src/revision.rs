//! Revisions, versions, generations and timestamps.

use std::fmt;
use std::time::Duration;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A position in a store's change feed. Revisions are dense, start at 1, and follow the order of
    /// commits; 0 is before every change. A change gets its revision after its commit.
    ///
    /// Used for feeds, listings and history.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    Revision
);
number!(
    /// The version of one entity's row; differs after every change, and is known at commit.
    ///
    /// Used for optimistic concurrency. Versions can be compared for equality only.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    Version
);
number!(
    /// The number of changes of one entity's package, from 1. For a plugin, the number of changes
    /// of the plugin itself.
    ///
    /// Changes of conditions, of metadata given out of band, and of bookkeeping do not count.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    Generation
);

impl Generation {
    /// The next generation.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A time by the store's clock, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time after this duration; saturates at the largest timestamp.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// The duration from `earlier` to this time; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
