//! Program output made safe to show to people.

use crate::redaction::redacted;
use std::fmt::{self, Display, Formatter};

/// The last bytes of a program's stderr, at most [`Tail::MOST`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Maximum bytes kept: enough for the relevant end of a traceback.
    pub const MOST: usize = 4096;

    /// Appends bytes and drops all but the last [`Tail::MOST`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes
            .extend_from_slice(&bytes[bytes.len().saturating_sub(Self::MOST)..]);
        let over = self.bytes.len().saturating_sub(Self::MOST);
        self.cut |= over > 0 || bytes.len() > Self::MOST;
        self.bytes.drain(..over);
    }

    /// Whether this text is in the tail.
    pub(crate) fn contains(&self, text: &str) -> bool {
        let mut windows = self.bytes.windows(text.len().max(1));
        windows.any(|window| window == text.as_bytes())
    }

    /// Returns the last line that is not blank.
    pub fn last_line(&self) -> Option<String> {
        let text = printable(self.bytes.trim_ascii_end());
        let line = text.lines().next_back()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

impl Display for Tail {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = printable(self.bytes.trim_ascii());
        match (text.is_empty(), self.cut) {
            (true, _) => f.write_str("stderr is empty"),
            (false, false) => write!(f, "stderr: {text}"),
            (false, true) => write!(f, "stderr ends: …{text}"),
        }
    }
}

/// Converts bytes to text that is safe to show.
///
/// Invalid UTF-8 and control characters other than tab and line feed become U+FFFD. A carriage
/// return before a line feed is removed. Text that looks like a secret is hidden; see the module
/// `redaction`.
pub fn printable(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .replace("\r\n", "\n")
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    redacted(&text)
}

#[cfg(test)]
mod tests {
    use super::{Tail, printable};

    #[test]
    fn a_tail_keeps_the_end_for_any_chunks() {
        let mut tail = Tail::default();
        assert_eq!(tail.to_string(), "stderr is empty");
        tail.push(b"short\n\n");
        assert_eq!(tail.to_string(), "stderr: short");
        assert_eq!(tail.last_line().as_deref(), Some("short"));
        tail.push(&vec![b'x'; 3 * Tail::MOST]);
        tail.push(b"\nthe end\n");
        let text = tail.to_string();
        assert!(text.starts_with("stderr ends: …xxx"));
        assert!(text.ends_with("x\nthe end"));
        assert!(text.len() < Tail::MOST + 50);
        assert_eq!(tail.last_line().as_deref(), Some("the end"));
    }

    #[test]
    fn control_characters_and_what_is_no_utf8_are_not_shown() {
        assert_eq!(
            printable(b"a\x1b[31m\r\n\tb\xff\0"),
            "a\u{fffd}[31m\n\tb\u{fffd}\u{fffd}"
        );
    }
}
