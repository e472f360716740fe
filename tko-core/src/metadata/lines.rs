//! Metadata as lines of text, for storage: fast to decode, and readable for people.
//!
//! Each pair is one line: the key, a tab, the value. The escapes keep separators out of keys and
//! values, and NUL out of the text, because PostgreSQL cannot store it. Lines that this module
//! wrote are in the order of their keys. Without escapes they are copied into the layout in memory
//! as a whole, which makes decoding fast.

use super::Metadata;
use super::growing::{Growing, NEWLINE, TAB};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// The escaped characters, each with the letter that follows the backslash.
///
/// Each of the four letters is distinct, so that both directions search this one table.
const ESCAPED: [(char, char); 4] = [('\\', '\\'), (TAB, 't'), (NEWLINE, 'n'), ('\0', '0')];

impl Metadata {
    /// Encodes the map as lines of key, tab and value, in the order of the keys, separated by
    /// newlines. An empty map becomes an empty text.
    ///
    /// A backslash is written as `\\`, a tab as `\t`, a newline as `\n` and NUL as `\0`. This is
    /// much like the text format of PostgreSQL's `COPY`
    /// (<https://www.postgresql.org/docs/current/sql-copy.html>).
    ///
    /// The result never contains NUL. Equal maps have equal lines.
    pub fn to_lines(&self) -> String {
        let mut lines = String::new();
        for (at, (key, value)) in self.iter().enumerate() {
            if at > 0 {
                lines.push(NEWLINE);
            }
            escape(key, &mut lines);
            lines.push(TAB);
            escape(value, &mut lines);
        }
        lines
    }

    /// Decodes the text of [`to_lines`](Self::to_lines). Lines may be in any order; if several
    /// lines have the same key, the last one wins. Empty text becomes an empty map.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: a line does not have exactly one tab, or an escape is unknown. This
    /// includes empty lines, and so a newline at the end.
    pub fn from_lines(lines: &str) -> Result<Self> {
        if lines.is_empty() {
            return Ok(Self::default());
        }
        if let Some(growing) = Growing::of(lines) {
            return Ok(growing.finish());
        }
        let pairs: Vec<_> = lines.split(NEWLINE).map(pair).collect::<Result<_>>()?;
        Ok(pairs.into_iter().collect())
    }
}

/// Appends a key or value, with its special characters escaped.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match ESCAPED.into_iter().find(|(escaped, _)| *escaped == c) {
            Some((_, letter)) => into.extend(['\\', letter]),
            None => into.push(c),
        }
    }
}

/// Splits one line into its key and value, without their escapes.
///
/// # Errors
/// As for `from_lines`. The message quotes the line, or the key or value with the unknown escape.
fn pair(line: &str) -> Result<(Cow<'_, str>, Cow<'_, str>)> {
    let pair = line.split_once(TAB);
    let (key, value) = pair
        .filter(|(_, value)| !value.contains(TAB))
        .ok_or_else(|| malformed(line, "does not have exactly one tab, between key and value"))?;
    Ok((unescape(key)?, unescape(value)?))
}

/// Replaces the escapes in a key or value; borrows the text if it has none.
///
/// # Errors
/// `BadArgument`: a backslash is last, or precedes a letter that is not in `ESCAPED`.
fn unescape(text: &str) -> Result<Cow<'_, str>> {
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(text));
    }
    let (mut plain, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(mut c) = chars.next() {
        if c == '\\' {
            let letter = chars.next();
            let known = ESCAPED.iter().find(|(_, known)| Some(*known) == letter);
            (c, _) = *known.ok_or_else(|| {
                malformed(
                    text,
                    "has an unknown escape; expected a backslash before \\, t, n or 0",
                )
            })?;
        }
        plain.push(c);
    }
    Ok(Cow::Owned(plain))
}

/// The error for a part of the lines, which it quotes; `what` is the rest of the sentence.
fn malformed(text: &str, what: &str) -> Error {
    Error::bad("metadata in lines", format!("{text:?} {what}"))
}

#[cfg(test)]
mod tests {
    use super::Metadata;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let texts = [
            "",
            "a",
            "b c",
            "\t",
            "\n",
            "\\",
            "\\t",
            "\0",
            "é\n\u{1}",
            "a\tb\\n",
        ];
        let pairs = texts.iter().zip(texts.iter().rev());
        for few in 0..texts.len() {
            let some = pairs.clone().cycle().skip(few);
            for count in 0..=texts.len() {
                let metadata: Metadata = some.clone().take(count).collect();
                let lines = metadata.to_lines();
                assert!(!lines.contains('\0'), "{lines:?}");
                let read = Metadata::from_lines(&lines).expect("lines");
                assert_eq!(read, metadata, "{lines:?}");
            }
        }
        let metadata = Metadata::from_iter([("rack", "r1"), ("note", "two\nlines")]);
        assert_eq!(metadata.to_lines(), "note\ttwo\\nlines\nrack\tr1");
    }

    #[test]
    fn lines_in_another_order_say_the_same() {
        let expected = Metadata::from_iter([("a", "1"), ("b", "2")]);
        for lines in ["a\t1\nb\t2", "b\t2\na\t1", "a\t0\nb\t2\na\t1"] {
            assert_eq!(Metadata::from_lines(lines).expect("lines"), expected);
        }
    }

    #[test]
    fn what_are_no_lines_is_refused_and_nothing_of_it_stays() {
        for lines in [
            "a", "a\nb\t1", "a\t1\nb", "a\t1\n", "\n", "a\tb\tc", "a\\\tb", "a\tb\\", "a\tb\\x",
        ] {
            let error = Metadata::from_lines(lines).expect_err("no lines");
            assert!(error.to_string().contains("metadata in lines"), "{error}");
            let next = Metadata::from_lines("k\tv").expect("a line");
            assert!(next.iter().eq([("k", "v")]), "after {lines:?}");
        }
    }
}
