//! How much one input may ask of its reader.
//!
//! [`Limits`] is what callers set, [`Budget`] what one reading has used of it. Every value, every
//! level and every copy that an alias makes is counted before memory is spent on it, so hostile
//! input costs at most what the limits say.

use std::fmt::{self, Display, Formatter};

use super::error::Fault;

/// The deepest nesting that any reader follows, whatever [`Limits::depth`] says.
///
/// Values are read, copied and dropped recursively; this bounds the stack they take, and stays
/// below the 127 levels at which common JSON readers stop.
pub const MAX_DEPTH: usize = 120;

/// How much one input may ask of its reader; beyond it the input is refused as a whole.
///
/// The defaults take every bundle met in practice, a thousand and more large manifests in one
/// stream included. Change one with `Limits { bytes: 1 << 20, ..Limits::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of input. Default: 32 MiB.
    pub bytes: usize,
    /// Levels of maps and lists in one resource, its own map being the first.
    ///
    /// More than [`MAX_DEPTH`] counts as that. Default: 100.
    pub depth: usize,
    /// Values in the whole input: every text, number, boolean, null, list and map (not keys),
    /// copies made by YAML aliases included. Default: 4 million, of which manifests reach about
    /// half at 32 MiB.
    pub values: usize,
    /// YAML documents, and resources after lists are taken apart. Default: 100,000.
    pub documents: usize,
    /// Values copied by YAML anchors, aliases and merge keys. Default: 1 million.
    pub alias_values: usize,
    /// Bytes of text copied by YAML anchors, aliases and merge keys. Default: 32 MiB.
    pub alias_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            depth: 100,
            values: 4_000_000,
            documents: 100_000,
            alias_values: 1_000_000,
            alias_bytes: 32 << 20,
        }
    }
}

/// Which of the [`Limits`] an input went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::values`].
    Values,
    /// [`Limits::documents`].
    Documents,
    /// [`Limits::alias_values`].
    AliasValues,
    /// [`Limits::alias_bytes`].
    AliasBytes,
}

impl Limit {
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Bytes | Self::Values | Self::Documents => "split it, or raise that limit",
            Self::Depth => "nest them less",
            Self::AliasValues | Self::AliasBytes => "write what differs out, or raise that limit",
        }
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Depth => "levels of maps and lists",
            Self::Values => "values",
            Self::Documents => "documents",
            Self::AliasValues => "values copied by aliases",
            Self::AliasBytes => "bytes of text copied by aliases",
        })
    }
}

/// What one reading has used of its limits.
#[derive(Debug)]
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    values: usize,
    documents: usize,
    alias_values: usize,
    alias_bytes: usize,
}

impl<'a> Budget<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            values: 0,
            documents: 0,
            alias_values: 0,
            alias_bytes: 0,
        }
    }

    /// Counts one value.
    pub(super) fn value(&mut self) -> Result<(), Fault> {
        self.values += 1;
        within(self.values, self.limits.values, Limit::Values)
    }

    /// Checks that there may be this many resources.
    pub(super) fn resources(&self, count: usize) -> Result<(), Fault> {
        within(count, self.limits.documents, Limit::Documents)
    }

    /// Counts one document of a stream.
    pub(super) fn document(&mut self) -> Result<(), Fault> {
        self.documents += 1;
        within(self.documents, self.limits.documents, Limit::Documents)
    }

    /// Checks that a value may reach down to this level.
    pub(super) fn depth(&self, level: usize) -> Result<(), Fault> {
        within(level, self.limits.depth.min(MAX_DEPTH), Limit::Depth)
    }

    /// Counts a copy of this many values with this many bytes of text.
    pub(super) fn copy(&mut self, values: usize, bytes: usize) -> Result<(), Fault> {
        self.values += values;
        self.alias_values += values;
        self.alias_bytes += bytes;
        within(self.values, self.limits.values, Limit::Values)?;
        within(
            self.alias_values,
            self.limits.alias_values,
            Limit::AliasValues,
        )?;
        within(self.alias_bytes, self.limits.alias_bytes, Limit::AliasBytes)
    }
}

/// Refuses `used` beyond `most`.
pub(super) fn within(used: usize, most: usize, limit: Limit) -> Result<(), Fault> {
    if used > most {
        return Err(Fault::Limit { limit, most });
    }
    Ok(())
}
