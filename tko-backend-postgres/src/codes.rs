//! Numbers that stand for kinds, stages and durations in the database.

use std::time::Duration;
use tko_core::{Error, Key, Kind, Result, Stage};

/// The number of [`Kind::Deployment`], for partial indexes and statements about deployments.
pub(crate) const DEPLOYMENT: i16 = 2;

/// The number of a kind.
pub(crate) fn kind_number(kind: Kind) -> i16 {
    match kind {
        Kind::Template => 0,
        Kind::Site => 1,
        Kind::Deployment => DEPLOYMENT,
        Kind::Plugin => 3,
    }
}

/// The number of a stage.
pub(crate) fn stage_number(stage: Stage) -> i16 {
    match stage {
        Stage::Prepare => 0,
        Stage::Schedule => 1,
        Stage::Delete => 2,
    }
}

/// A set of stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stages(u8);

impl Stages {
    /// All stages.
    pub(crate) const ALL: Self = Self(u8::MAX);

    /// The set with these bits, as [`bits`](Self::bits) returns them.
    pub(crate) fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// One bit for each stage.
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether the set contains a stage.
    pub(crate) fn has(self, stage: Stage) -> bool {
        self.0 & (1 << stage_number(stage)) != 0
    }
}

impl FromIterator<Stage> for Stages {
    fn from_iter<I: IntoIterator<Item = Stage>>(stages: I) -> Self {
        let bits = stages.into_iter().map(|stage| 1 << stage_number(stage));
        Self(bits.fold(0, |all, bit: u8| all | bit))
    }
}

/// The key of a stored kind and id.
pub(crate) fn key_of(kind: i16, id: &str) -> Result<Key> {
    let kind = Kind::ALL
        .into_iter()
        .find(|known| kind_number(*known) == kind)
        .ok_or_else(|| broken(format!("{id} has the unknown kind {kind}")))?;
    Key::new(kind, id).map_err(|error| Error::internal(READ, error))
}

/// The stage of a stored number.
pub(crate) fn stage_of(number: i16) -> Result<Stage> {
    Stage::ALL
        .into_iter()
        .find(|stage| stage_number(*stage) == number)
        .ok_or_else(|| broken(format!("the stage {number} is unknown")))
}

/// Kinds and ids of keys, for two arrays that a statement unnests.
pub(crate) fn key_arrays<'a>(keys: impl IntoIterator<Item = &'a Key>) -> (Vec<i16>, Vec<String>) {
    keys.into_iter()
        .map(|key| (kind_number(key.kind()), key.id().to_owned()))
        .unzip()
}

/// A number as a value for a column of type `bigint`, which is signed.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count for a parameter of type `bigint`.
pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A duration in microseconds, small enough to be added to any time.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

const READ: &str = "read the database";

/// The error for stored data that this program cannot have written.
pub(crate) fn broken(what: String) -> Error {
    Error::internal(READ, what)
}
