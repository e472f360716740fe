//! Patterns for ids and metadata values, compiled once.
//!
//! A pattern is for the whole text, case-sensitive. In an id pattern `*` stands for any run of
//! characters within a segment, also none, and `**` for any run at all; segments end at `/` and
//! `:`. In a value pattern every run of `*` stands for anything. `\` takes the next character
//! literally.
//!
//! Invariants:
//! - matching takes time proportional to pattern × text at worst, whatever the two are;
//! - the text of a pattern, sent elsewhere and compiled again, matches the same.
//!
//! ```
//! use tko_core::pattern::Pattern;
//!
//! let sites = Pattern::id("india/*/south-*")?;
//! assert!(sites.matches("india/bangalore/south-100"));
//! assert!(!sites.matches("india/bangalore/south-100/rack"));
//! assert_eq!(sites.literal_prefix(), "india/");
//! # Ok::<(), tko_core::pattern::PatternError>(())
//! ```

use std::fmt::{self, Debug, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

mod matching;

#[cfg(test)]
mod tests;

/// The longest text, in bytes, that [`Pattern::id`] and [`Pattern::value`] compile.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// A compiled pattern; clones share it.
///
/// Two patterns are equal if they are of one kind and were compiled from the same text.
#[derive(Clone)]
pub struct Pattern(Arc<Compiled>);

struct Compiled {
    kind: PatternKind,
    source: Box<str>,
    parts: Box<[Part]>,
}

/// What a pattern is made of. No two wildcards and no two texts follow one another, and no text
/// is empty.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// Any run without `/` and `:`.
    Segment,
    /// Any run.
    Any,
}

/// How the text of a pattern is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatternKind {
    /// Made by [`Pattern::id`].
    Id,
    /// Made by [`Pattern::value`].
    Value,
    /// Made by [`Pattern::literal`].
    Literal,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The last character is a `\` that escapes nothing.
    #[error("pattern {pattern:?} ends in a lone backslash; write two to match one")]
    NothingEscaped {
        /// The whole pattern.
        pattern: String,
    },
    /// It has more than [`MAX_PATTERN_BYTES`].
    #[error("pattern of {bytes} bytes is too long; use at most {MAX_PATTERN_BYTES}")]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
}

impl Pattern {
    /// A pattern for ids: `*` stays within a segment, `**` crosses `/` and `:`.
    ///
    /// # Errors
    /// - [`PatternError::NothingEscaped`]: it ends in a lone `\`.
    /// - [`PatternError::TooLong`]: it has more than [`MAX_PATTERN_BYTES`].
    pub fn id(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, PatternKind::Id)
    }

    /// A pattern for metadata values: `*` stands for anything.
    ///
    /// # Errors
    /// As [`Pattern::id`].
    pub fn value(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, PatternKind::Value)
    }

    /// A pattern for exactly this text, of any length.
    ///
    /// Its own text ([`Pattern::as_str`]) is this one with `*` and `\` escaped: as an id or value
    /// pattern it matches the same.
    pub fn literal(text: &str) -> Self {
        let mut source = String::with_capacity(text.len());
        for character in text.chars() {
            if matches!(character, '*' | '\\') {
                source.push('\\');
            }
            source.push(character);
        }
        let parts = match text {
            "" => Vec::new(),
            text => vec![Part::Text(text.into())],
        };
        Self::new(PatternKind::Literal, source, parts)
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        matching::matches(&self.0.parts, text)
    }

    /// What every matching text starts with; empty if that is unknown.
    pub fn literal_prefix(&self) -> &str {
        match self.0.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The only text that matches, if there is only one.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.0.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The prefix that decides alone: some if exactly the texts that start with it match, as for
    /// the id pattern `india/**`, which gives `india/`. Empty if everything matches.
    pub fn path_prefix(&self) -> Option<&str> {
        match &*self.0.parts {
            [Part::Any] => Some(""),
            [Part::Text(text), Part::Any] => Some(text),
            _ => None,
        }
    }

    /// Whether every text matches.
    pub fn matches_everything(&self) -> bool {
        matches!(&*self.0.parts, [Part::Any])
    }

    /// The text that it was compiled from; of a literal, the text with `*` and `\` escaped.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// How its text is understood.
    pub fn kind(&self) -> PatternKind {
        self.0.kind
    }

    fn compile(source: &str, kind: PatternKind) -> Result<Self, PatternError> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong {
                bytes: source.len(),
            });
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '\\' => text.push(rest.next().ok_or_else(|| PatternError::NothingEscaped {
                    pattern: source.to_owned(),
                })?),
                '*' => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text).into()));
                    }
                    let mut any = kind == PatternKind::Value;
                    while rest.next_if_eq(&'*').is_some() {
                        any = true;
                    }
                    parts.push(if any { Part::Any } else { Part::Segment });
                }
                character => text.push(character),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Self::new(kind, source.to_owned(), parts))
    }

    fn new(kind: PatternKind, source: String, parts: Vec<Part>) -> Self {
        Self(Arc::new(Compiled {
            kind,
            source: source.into(),
            parts: parts.into(),
        }))
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Debug for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind(), self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.kind(), self.as_str()) == (other.kind(), other.as_str())
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind(), self.as_str()).hash(state);
    }
}
