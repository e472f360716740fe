//! Why bytes could not be read, and where.

use std::fmt::{self, Display, Formatter};

use super::{Format, Limit};

/// Why bytes could not be read as a list of maps.
///
/// A variant is what the caller, or whoever wrote the input, can do about it. Every message says
/// where: the document or item, then line and column (YAML, JSON) or the byte (CBOR).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not of this format: mend them, or name the format that they are of.
    #[error("{at}: {problem}")]
    Malformed {
        /// Where reading stopped.
        at: Place,
        /// What is wrong there.
        problem: String,
    },
    /// A map has a key twice, so that one of two values would be lost: remove one.
    #[error("{at}: key {key} is given twice in one map; remove one of them")]
    DuplicateKey {
        /// Where the key is given again.
        at: Place,
        /// The key, quoted, and cut if it is long.
        key: String,
    },
    /// The input is well-formed and says something that the data model has no place for: say it
    /// as the advice does.
    #[error("{at}: {problem}; {advice}")]
    Unsupported {
        /// Where it says so.
        at: Place,
        /// What has no place, such as an integer of 30 digits.
        problem: String,
        /// What to write instead.
        advice: &'static str,
    },
    /// A document or an item of a list is not a map, so it cannot be a resource.
    #[error("{at}: expected a map (a resource), found {found}; remove it or make it a map")]
    NotAMap {
        /// The document or item.
        at: Place,
        /// What it is instead, such as `text`.
        found: &'static str,
    },
    /// The input asks for more than the [`Limits`](super::Limits) allow: make it smaller, or raise
    /// the limit.
    #[error("{at}: more than {most} {limit}; {}", limit.advice())]
    LimitExceeded {
        /// Where the limit was reached.
        at: Place,
        /// Which limit.
        limit: Limit,
        /// What it allows.
        most: usize,
    },
}

impl DecodeError {
    /// Where in the input it happened.
    pub fn place(&self) -> &Place {
        match self {
            Self::Malformed { at, .. }
            | Self::DuplicateKey { at, .. }
            | Self::Unsupported { at, .. }
            | Self::NotAMap { at, .. }
            | Self::LimitExceeded { at, .. } => at,
        }
    }
}

/// A place in an input, as precisely as its format allows.
///
/// `Display` gives, for example, `YAML document 2, item 3, line 14, column 7`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The format that the input was read as.
    pub format: Format,
    /// Which document of the stream, from 1; empty ones count. Absent outside all documents.
    pub document: Option<usize>,
    /// Which item of that document's list, from 1; absent if it is no list.
    pub item: Option<usize>,
    /// Where in the bytes, if known.
    pub position: Option<Position>,
}

impl Place {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            document: None,
            item: None,
            position: None,
        }
    }

    pub(super) fn document(self, document: usize) -> Self {
        Self {
            document: Some(document),
            ..self
        }
    }

    pub(super) fn item(self, item: Option<usize>) -> Self {
        Self { item, ..self }
    }

    pub(super) fn position(self, position: Position) -> Self {
        Self {
            position: Some(position),
            ..self
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.format {
            Format::Yaml => "YAML",
            Format::Json => "JSON",
            Format::Cbor => "CBOR",
        })?;
        let mut separator = " ";
        if let Some(document) = self.document {
            write!(f, "{separator}document {document}")?;
            separator = ", ";
        }
        if let Some(item) = self.item {
            write!(f, "{separator}item {item}")?;
            separator = ", ";
        }
        match self.position {
            None => Ok(()),
            Some(position) => write!(f, "{separator}{position}"),
        }
    }
}

/// A position in the bytes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// In a text format: line and column, both from 1. Columns are characters.
    Text {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// In a binary format: the byte, from 0.
    Byte(usize),
}

impl Position {
    /// The position of a byte in a text.
    pub(super) fn in_text(text: &str, byte: usize) -> Self {
        let before = &text.as_bytes()[..byte.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |i| i + 1);
        Self::Text {
            line: before.split(|&b| b == b'\n').count(),
            // Bytes that continue a character do not make a column of their own.
            column: before[line_start..]
                .iter()
                .filter(|&&b| b & 0xc0 != 0x80)
                .count()
                + 1,
        }
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, column } => write!(f, "line {line}, column {column}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// A [`DecodeError`] that does not know its place yet.
#[derive(Debug)]
pub(super) enum Fault {
    Malformed(String),
    DuplicateKey(String),
    Unsupported {
        problem: String,
        advice: &'static str,
    },
    NotAMap(&'static str),
    Limit {
        limit: Limit,
        most: usize,
    },
}

impl Fault {
    pub(super) fn duplicate(key: &str) -> Self {
        Self::DuplicateKey(quoted(key))
    }

    pub(super) fn at(self, at: Place) -> DecodeError {
        match self {
            Self::Malformed(problem) => DecodeError::Malformed { at, problem },
            Self::DuplicateKey(key) => DecodeError::DuplicateKey { at, key },
            Self::Unsupported { problem, advice } => DecodeError::Unsupported {
                at,
                problem,
                advice,
            },
            Self::NotAMap(found) => DecodeError::NotAMap { at, found },
            Self::Limit { limit, most } => DecodeError::LimitExceeded { at, limit, most },
        }
    }
}

/// Text of the input as a message shows it: quoted, escaped, and cut after 60 characters.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
