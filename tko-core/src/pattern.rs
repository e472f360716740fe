//! Patterns for ids and metadata values.
//!
//! A pattern matches the whole text and is case-sensitive. In an id pattern `*` matches any
//! characters within a segment, and `**` matches any characters at all; segments end at `/` and
//! `:`. In a value pattern `*` matches any characters. Each may match the empty text. `\` escapes
//! the next character.
//!
//! Invariants:
//! - matching takes at most time proportional to the length of the pattern times that of the text;
//! - a pattern that is compiled again from its text matches the same texts.
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

/// Maximum number of bytes of the text of a pattern, except of a [literal](Pattern::literal).
pub const MAX_PATTERN_BYTES: usize = 1024;

/// A compiled pattern. Cloning copies a pointer.
///
/// Two patterns are equal if they have the same kind and the same text.
#[derive(Clone)]
pub struct Pattern(Arc<CompiledPattern>);

struct CompiledPattern {
    kind: PatternKind,
    source: Box<str>,
    parts: Box<[PatternPart]>,
}

/// One part of a pattern. No two wildcards and no two texts follow each other, and no text is empty.
#[derive(Debug, PartialEq, Eq)]
enum PatternPart {
    Text(Box<str>),
    /// Any characters except `/` and `:`.
    Segment,
    /// Any characters.
    Any,
}

/// The kind of a pattern: the rules by which its text is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatternKind {
    /// An id pattern, made by [`Pattern::id`].
    Id,
    /// A value pattern, made by [`Pattern::value`].
    Value,
    /// A literal text, made by [`Pattern::literal`].
    Literal,
}

/// The error of compiling a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The last character is a `\` that escapes nothing.
    #[error("pattern {pattern:?} ends in a lone backslash; write two to match one")]
    NothingEscaped {
        /// The whole pattern.
        pattern: String,
    },
    /// The text has more than [`MAX_PATTERN_BYTES`].
    #[error("pattern of {bytes} bytes is too long; use at most {MAX_PATTERN_BYTES}")]
    TooLong {
        /// The number of bytes of the text.
        bytes: usize,
    },
}

impl Pattern {
    /// Compiles a pattern for ids: `*` matches within a segment, `**` across `/` and `:`.
    ///
    /// # Errors
    /// - [`PatternError::NothingEscaped`]: the text ends in a lone `\`.
    /// - [`PatternError::TooLong`]: the text has more than [`MAX_PATTERN_BYTES`].
    pub fn id(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, PatternKind::Id)
    }

    /// Compiles a pattern for metadata values: `*` matches any characters.
    ///
    /// # Errors
    /// As [`Pattern::id`].
    pub fn value(text: &str) -> Result<Self, PatternError> {
        Self::compile(text, PatternKind::Value)
    }

    /// Creates a pattern that matches exactly this text, of any length.
    ///
    /// [`Pattern::as_str`] returns the text with `*` and `\` escaped, so if it is compiled as an id
    /// or value pattern, it matches the same text.
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
            text => vec![PatternPart::Text(text.into())],
        };
        Self::new(PatternKind::Literal, source, parts)
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        matching::matches(&self.0.parts, text)
    }

    /// The prefix of every matching text; empty if there is none.
    pub fn literal_prefix(&self) -> &str {
        match self.0.parts.first() {
            Some(PatternPart::Text(text)) => text,
            _ => "",
        }
    }

    /// The only matching text, if there is exactly one.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.0.parts {
            [] => Some(""),
            [PatternPart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The prefix that is equivalent to the pattern, if exactly the texts that start with it match.
    /// For example, it is `india/` for the id pattern `india/**`. Empty if every text matches.
    pub fn path_prefix(&self) -> Option<&str> {
        match &*self.0.parts {
            [PatternPart::Any] => Some(""),
            [PatternPart::Text(text), PatternPart::Any] => Some(text),
            _ => None,
        }
    }

    /// Whether every text matches.
    pub fn matches_everything(&self) -> bool {
        matches!(&*self.0.parts, [PatternPart::Any])
    }

    /// The text from which it was compiled; for a literal, with `*` and `\` escaped.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// The kind of the pattern.
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
                        parts.push(PatternPart::Text(std::mem::take(&mut text).into()));
                    }
                    let mut any = kind == PatternKind::Value;
                    while rest.next_if_eq(&'*').is_some() {
                        any = true;
                    }
                    parts.push(if any {
                        PatternPart::Any
                    } else {
                        PatternPart::Segment
                    });
                }
                character => text.push(character),
            }
        }
        if !text.is_empty() {
            parts.push(PatternPart::Text(text.into()));
        }
        Ok(Self::new(kind, source.to_owned(), parts))
    }

    fn new(kind: PatternKind, source: String, parts: Vec<PatternPart>) -> Self {
        Self(Arc::new(CompiledPattern {
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
