//! What programs wrote, made safe to show to people.

use std::fmt::{self, Display, Formatter};

/// The end of what a program wrote to stderr, at most [`Tail::MOST`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Most bytes that are kept: enough for the interesting end of a traceback.
    pub const MOST: usize = 4096;

    /// Adds to the end, and forgets what is before the last [`Tail::MOST`] bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes
            .extend_from_slice(&bytes[bytes.len().saturating_sub(Self::MOST)..]);
        let over = self.bytes.len().saturating_sub(Self::MOST);
        self.cut |= over > 0 || bytes.len() > Self::MOST;
        self.bytes.drain(..over);
    }

    /// The last line with anything in it.
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
            (true, _) => f.write_str("it wrote nothing to stderr"),
            (false, false) => write!(f, "on stderr it wrote: {text}"),
            (false, true) => write!(f, "what it wrote to stderr ends: …{text}"),
        }
    }
}

/// Text that is safe to show: what is no UTF-8, and control characters except tabs and line
/// feeds, become U+FFFD; carriage returns before line feeds go.
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .replace("\r\n", "\n")
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Tail, printable};

    #[test]
    fn a_tail_keeps_the_end_however_it_comes() {
        let mut tail = Tail::default();
        assert_eq!(tail.to_string(), "it wrote nothing to stderr");
        tail.push(b"short\n\n");
        assert_eq!(tail.to_string(), "on stderr it wrote: short");
        assert_eq!(tail.last_line().as_deref(), Some("short"));
        tail.push(&vec![b'x'; 3 * Tail::MOST]);
        tail.push(b"\nthe end\n");
        let text = tail.to_string();
        assert!(text.starts_with("what it wrote to stderr ends: …xxx"));
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
