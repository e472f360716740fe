//! Limits on the cost of one input.
//!
//! Callers set [`Limits`]; [`Budget`] counts what one read has used of them. Every value, every
//! level and every alias copy is counted before memory is allocated for it, so hostile input costs
//! at most the limits.

use std::fmt::{self, Display, Formatter};

use super::error::DecodeFault;

/// The deepest nesting that any reader accepts, even if [`Limits::depth`] is higher.
///
/// Values are read, copied and dropped recursively. This bounds the stack that they need, and is
/// below the 127 levels at which common JSON readers stop.
pub const MAX_DEPTH: usize = 120;

/// The largest stored value that a backend or a backup reads, in bytes: 512 MiB. A larger one is
/// damage.
pub const MAX_STORED: usize = 512 << 20;

/// Limits on one input; an input beyond them is refused as a whole.
///
/// The defaults accept every bundle met in practice, including more than a thousand large manifests
/// in one stream. Change one with `Limits::new().bytes(1 << 20)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The size of the input in bytes. Default: 32 MiB.
    pub bytes: usize,
    /// The levels of maps and lists in one resource, including its own map. At most [`MAX_DEPTH`].
    /// Default: 100.
    pub depth: usize,
    /// The values in the whole input: every text, number, boolean, null, list and map, but not
    /// keys. Copies made by YAML aliases count. Default: 4 million, twice the values of typical
    /// manifests of 32 MiB.
    pub values: usize,
    /// The number of YAML documents, and of resources once lists are split. Default: 100,000.
    pub documents: usize,
    /// The values copied by YAML anchors, aliases and merge keys, and from lists to their items. A
    /// short input may copy fewer: 10,000, and 4 for each of its bytes. Default: 1 million.
    pub alias_values: usize,
    /// The bytes of text copied by YAML anchors, aliases and merge keys, and from lists to their
    /// items. A short input may copy fewer: 1 MiB, and 64 for each of its bytes. Default: 32 MiB.
    pub alias_bytes: usize,
}

impl Limits {
    /// The limits that fit most inputs.
    pub const fn new() -> Self {
        Self {
            bytes: 32 << 20,
            depth: 100,
            values: 4_000_000,
            documents: 100_000,
            alias_values: 1_000_000,
            alias_bytes: 32 << 20,
        }
    }

    /// The limits for values that a backend or a backup stored: up to [`MAX_STORED`] bytes and
    /// [`MAX_DEPTH`] levels.
    ///
    /// They are wider than those for inputs. A stored package may need more bytes than the input
    /// that it came from, and everything that was stored must be readable.
    pub const fn stored() -> Self {
        Self::new()
            .bytes(MAX_STORED)
            .depth(MAX_DEPTH)
            .values(64_000_000)
            .documents(1_000_000)
    }

    /// Sets the maximum size of the input in bytes.
    #[must_use]
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the maximum number of levels of maps and lists in one resource.
    #[must_use]
    pub const fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the maximum number of values in the whole input.
    #[must_use]
    pub const fn values(mut self, values: usize) -> Self {
        self.values = values;
        self
    }

    /// Sets the maximum number of documents and resources.
    #[must_use]
    pub const fn documents(mut self, documents: usize) -> Self {
        self.documents = documents;
        self
    }

    /// Sets the maximum number of values that aliases copy.
    #[must_use]
    pub const fn alias_values(mut self, values: usize) -> Self {
        self.alias_values = values;
        self
    }

    /// Sets the maximum number of bytes of text that aliases copy.
    #[must_use]
    pub const fn alias_bytes(mut self, bytes: usize) -> Self {
        self.alias_bytes = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// One of the [`Limits`].
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
            Self::AliasValues => "values copied by aliases or from lists to their items",
            Self::AliasBytes => "bytes of text copied by aliases or from lists to their items",
        })
    }
}

/// The part of the limits that one read has used.
#[derive(Debug)]
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    values: usize,
    documents: usize,
    alias_values: usize,
    alias_bytes: usize,
    /// The size of the input in bytes.
    input: usize,
}

/// The values that aliases may copy: a fixed number, plus a number for each byte of the input.
const ALIAS_VALUES: (usize, usize) = (10_000, 4);

/// The bytes of text that aliases may copy: a fixed number, plus a number for each byte of the
/// input.
const ALIAS_BYTES: (usize, usize) = (1 << 20, 64);

impl<'a> Budget<'a> {
    /// The same budget for an input of this many bytes.
    pub(super) fn with_input(self, input: usize) -> Self {
        Self { input, ..self }
    }

    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            values: 0,
            documents: 0,
            alias_values: 0,
            alias_bytes: 0,
            input: 0,
        }
    }

    /// Counts one value.
    pub(super) fn value(&mut self) -> Result<(), DecodeFault> {
        self.values += 1;
        within(self.values, self.limits.values, Limit::Values)
    }

    /// Checks the number of resources.
    pub(super) fn resources(&self, count: usize) -> Result<(), DecodeFault> {
        within(count, self.limits.documents, Limit::Documents)
    }

    /// Counts one document of a stream.
    pub(super) fn document(&mut self) -> Result<(), DecodeFault> {
        self.documents += 1;
        within(self.documents, self.limits.documents, Limit::Documents)
    }

    /// Checks the depth of a value.
    pub(super) fn depth(&self, level: usize) -> Result<(), DecodeFault> {
        within(level, self.limits.depth.min(MAX_DEPTH), Limit::Depth)
    }

    /// Counts a copy of this many values with this many bytes of text.
    pub(super) fn copy(&mut self, values: usize, bytes: usize) -> Result<(), DecodeFault> {
        self.values += values;
        self.alias_values += values;
        self.alias_bytes += bytes;
        // A short input must not cost as much as a long one, so copies are limited by its length.
        let most = ALIAS_VALUES.0 + ALIAS_VALUES.1.saturating_mul(self.input);
        let most_values = most.min(self.limits.alias_values);
        let most = ALIAS_BYTES.0 + ALIAS_BYTES.1.saturating_mul(self.input);
        let most_bytes = most.min(self.limits.alias_bytes);
        within(self.values, self.limits.values, Limit::Values)?;
        within(self.alias_values, most_values, Limit::AliasValues)?;
        within(self.alias_bytes, most_bytes, Limit::AliasBytes)
    }
}

/// Refuses a number above `most`.
pub(super) fn within(used: usize, most: usize, limit: Limit) -> Result<(), DecodeFault> {
    if used > most {
        return Err(DecodeFault::Limit { limit, most });
    }
    Ok(())
}
