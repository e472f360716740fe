//! Decoding errors and their positions.
//!
//! A reader may find a fault without knowing its place, for example in a visitor of `serde_json`.
//! It returns a `DecodeFault`, and the code that knows the place turns this into a [`DecodeError`].

use std::fmt::{self, Display, Formatter};

use super::{Format, Limit};

/// An error in decoding a list of resources.
///
/// The variants differ in the remedy. Every message gives the place: the document or item, then
/// line and column (YAML, JSON) or the byte (CBOR).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not valid in this format: correct them, or name their actual format.
    #[error("{at}: {problem}")]
    Malformed {
        /// The place where reading stopped.
        at: InputPlace,
        /// The problem at that place.
        problem: String,
    },
    /// A map has a key twice, so that one of two values would be lost: remove one.
    #[error("{at}: key {key} is given twice in one map; remove one of them")]
    DuplicateKey {
        /// The place of the second occurrence.
        at: InputPlace,
        /// The key, quoted, and truncated if it is long.
        key: String,
    },
    /// The input is well-formed, but the data model cannot represent it: follow the advice.
    #[error("{at}: {problem}; {advice}")]
    Unsupported {
        /// The place of the value.
        at: InputPlace,
        /// The value that cannot be represented, such as an integer of 30 digits.
        problem: String,
        /// The form to use instead.
        advice: &'static str,
    },
    /// A document or an item of a list is not a map, so it cannot be a resource.
    #[error("{at}: expected a map (a resource), found {found}; remove it or make it a map")]
    NotAMap {
        /// The place of the document or item.
        at: InputPlace,
        /// The type that was found, such as `text`.
        found: &'static str,
    },
    /// The input exceeds the [`Limits`](super::Limits): make it smaller, or raise the limit.
    #[error("{at}: more than {most} {limit}; {}", limit.advice())]
    LimitExceeded {
        /// The place where the limit was reached.
        at: InputPlace,
        /// The limit that was exceeded.
        limit: Limit,
        /// The value of the limit.
        most: usize,
    },
}

impl DecodeError {
    /// The place of the error in the input.
    pub fn place(&self) -> &InputPlace {
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
pub struct InputPlace {
    /// The format that the input was read as.
    pub format: Format,
    /// The document of the stream, from 1; empty documents count. `None` outside all documents.
    pub document: Option<usize>,
    /// The item of the document's list, from 1; `None` if the document is not a list.
    pub item: Option<usize>,
    /// The position in the bytes, if it is known.
    pub position: Option<Position>,
}

impl InputPlace {
    /// The input as a whole, without document, item or position.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            document: None,
            item: None,
            position: None,
        }
    }

    /// Sets the document, which counts from 1.
    pub(super) fn document(self, document: usize) -> Self {
        Self {
            document: Some(document),
            ..self
        }
    }

    /// Sets the item, which counts from 1, or clears it.
    pub(super) fn item(self, item: Option<usize>) -> Self {
        Self { item, ..self }
    }

    /// Sets the position in the bytes.
    pub(super) fn position(self, position: Position) -> Self {
        Self {
            position: Some(position),
            ..self
        }
    }
}

/// Writes the name of the format, then the parts that are known, separated by commas.
impl Display for InputPlace {
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
    /// The line and column in a text format, both from 1. Columns count characters.
    Text {
        /// The line, from 1.
        line: usize,
        /// The column, in characters from 1.
        column: usize,
    },
    /// The byte in a binary format, from 0.
    Byte(usize),
}

impl Position {
    /// The position of a byte in a text.
    ///
    /// The byte counts from 0; one after the end means the end. This scans the text up to the byte,
    /// so it is for errors only.
    pub(super) fn in_text(text: &str, byte: usize) -> Self {
        let before = &text.as_bytes()[..byte.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |i| i + 1);
        Self::Text {
            line: before.split(|&b| b == b'\n').count(),
            // Continuation bytes of UTF-8 do not begin a column.
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

/// A [`DecodeError`] without its place.
///
/// Each variant becomes the variant of that error with the same meaning.
#[derive(Debug)]
pub(super) enum DecodeFault {
    /// The problem, for [`DecodeError::Malformed`].
    Malformed(String),
    /// The quoted key, for [`DecodeError::DuplicateKey`].
    DuplicateKey(String),
    /// A value without an equivalent, for [`DecodeError::Unsupported`].
    Unsupported {
        problem: String,
        advice: &'static str,
    },
    /// The type that was found, for [`DecodeError::NotAMap`].
    NotAMap(&'static str),
    /// A limit that was exceeded, for [`DecodeError::LimitExceeded`].
    Limit { limit: Limit, most: usize },
}

impl DecodeFault {
    /// The fault for a repeated key, which is quoted here for the message.
    pub(super) fn duplicate(key: &str) -> Self {
        Self::DuplicateKey(quoted(key))
    }

    /// Adds the place, which completes the error.
    pub(super) fn at(self, at: InputPlace) -> DecodeError {
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

/// Quotes text of the input for a message: escaped, and truncated after 60 characters.
///
/// Truncated text ends in `…` after the closing quote.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
