//! Differences of texts, line by line, as `diff -u` shows them.

use similar::{ChangeTag, TextDiff};
use std::fmt::Write;

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The difference, empty if the texts are equal. With `colours`, for a terminal.
pub(super) fn difference(before: &str, after: &str, colours: bool) -> String {
    let diff = TextDiff::from_lines(before, after);
    let mut shown = String::new();
    for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            shown.push_str("…\n");
        }
        for change in group
            .iter()
            .flat_map(|operation| diff.iter_changes(operation))
        {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ('-', "\x1b[31m"),
                ChangeTag::Insert => ('+', "\x1b[32m"),
                ChangeTag::Equal => (' ', ""),
            };
            let line = change.value().trim_end_matches('\n');
            let end = if colour.is_empty() { "" } else { "\x1b[0m" };
            // Writing to a String cannot fail.
            let _ = if colours {
                writeln!(shown, "{colour}{sign}{line}{end}")
            } else {
                writeln!(shown, "{sign}{line}")
            };
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn changed_lines_are_shown_with_some_around() {
        let before = (0..20).fold(String::new(), |text, line| text + &format!("{line}\n"));
        let after = before.replace("10\n", "ten\n");
        assert_eq!(
            difference(&before, &after, false),
            " 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
        );
        assert!(difference(&before, &after, true).contains("\x1b[32m+ten\x1b[0m\n"));
        assert_eq!(difference(&before, &before, true), "");
    }
}
