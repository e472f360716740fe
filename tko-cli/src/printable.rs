//! Makes foreign text safe for terminals and logs: control characters are escaped.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes control characters, apart from those in `keep`: an escape sequence becomes `\u{1b}…`.
pub(crate) fn printable<'a>(text: &'a str, keep: &[char]) -> Cow<'a, str> {
    let is_plain = |c: char| !is_unsafe(c) || keep.contains(&c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            escaped.push(c);
        } else {
            write!(escaped, "{}", c.escape_default()).expect("a string takes every write");
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal may interpret or hide the character. Unsafe characters are control
/// characters, those that change the direction of text around them, and those without width, which
/// make different texts look the same. Joiners are not among them: scripts and emoji need them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn s14_control_characters_are_escaped() {
        for (text, keep, shown) in [
            ("plain é", &[][..], "plain é"),
            ("\u{1b}[2J\u{7}", &[], "\\u{1b}[2J\\u{7}"),
            ("a\nb", &[], "a\\nb"),
            ("a\nb\u{9b}", &['\n'], "a\nb\\u{9b}"),
            ("\u{202e}evil", &[], "\\u{202e}evil"),
            ("a\u{200b}b\u{feff}", &[], "a\\u{200b}b\\u{feff}"),
            ("\u{200d}", &[], "\u{200d}"),
        ] {
            assert_eq!(printable(text, keep), shown);
        }
    }
}
