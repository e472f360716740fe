//! Differences, as terminals show them.

use crate::printable::printable;
use std::fmt::Write;
use std::time::Instant;
use tko_core::diff::DiffDeadline;

/// Starts the search of a command for the smallest differences.
pub(crate) fn start_search() -> DiffDeadline {
    DiffDeadline::new(Instant::now(), DiffDeadline::SEARCH)
}

/// A difference as it is printed: safe for terminals and, if wanted, with colours.
pub(crate) fn printed(difference: &str, colours: bool) -> String {
    let mut shown = String::with_capacity(difference.len());
    for line in difference.split_terminator('\n') {
        let colour = match line.as_bytes().first() {
            Some(b'-') if colours => "\x1b[31m",
            Some(b'+') if colours => "\x1b[32m",
            Some(b'@') if colours => "\x1b[36m",
            _ => "",
        };
        let end = if colour.is_empty() { "" } else { "\x1b[0m" };
        // Otherwise an edit could hide itself from the person who approves it.
        let line = printable(line, &['\t']);
        writeln!(shown, "{colour}{line}{end}").expect("a string takes every write");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printed;

    #[test]
    fn added_lines_have_a_colour_if_wanted() {
        let shown = " 9\n-10\n+ten\n 11\n";
        assert!(printed(shown, true).contains("\x1b[32m+ten\x1b[0m\n"));
        assert_eq!(printed(shown, false), shown);
    }

    #[test]
    fn characters_that_a_terminal_interprets_are_escaped() {
        assert_eq!(
            printed("+a: \x1b[2K\u{202e}\tb\n", false),
            "+a: \\u{1b}[2K\\u{202e}\tb\n"
        );
    }
}
