//! Differences of texts, line by line, as `diff -u` shows them.

use crate::printable::printable;
use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, DiffOp, TextDiff};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The longest search for the smallest differences in one command.
const SEARCH: Duration = Duration::from_secs(5);

/// The longest text in which the smallest difference is searched, in lines.
const MAX_LINES: usize = 100_000;

/// The time until which a command searches for the smallest differences.
///
/// Later differences are right, too, but larger: from the first line that differs to the last. The
/// search can take very long if large texts have little in common.
#[derive(Clone, Copy)]
pub(crate) struct DiffDeadline(Instant);

impl DiffDeadline {
    /// Starts the search time of a command.
    pub(crate) fn start() -> Self {
        Self(Instant::now() + SEARCH)
    }
}

/// The difference, with `…` between its parts; empty if the texts are equal.
pub(crate) fn difference(before: &str, after: &str, deadline: DiffDeadline) -> String {
    let between = |part: usize, _: &[DiffOp]| (part > 0).then(|| "…\n".to_owned());
    parts(before, after, deadline, between)
}

/// The difference in the format of `diff -u`, without the names of files; empty if the texts are
/// equal.
pub(crate) fn unified(before: &str, after: &str, deadline: DiffDeadline) -> String {
    let header = |_: usize, part: &[DiffOp]| Some(format!("{}\n", UnifiedHunkHeader::new(part)));
    parts(before, after, deadline, header)
}

/// The parts of the difference, each after its header.
fn parts(
    before: &str,
    after: &str,
    deadline: DiffDeadline,
    header: impl Fn(usize, &[DiffOp]) -> Option<String>,
) -> String {
    let is_long = [before, after]
        .iter()
        .any(|text| text.lines().count() > MAX_LINES);
    let deadline = if is_long { Instant::now() } else { deadline.0 };
    let diff = TextDiff::configure()
        .deadline(deadline)
        .diff_lines(before, after);
    let mut shown = String::new();
    for (at, part) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        shown.extend(header(at, part));
        for change in part
            .iter()
            .flat_map(|operation| diff.iter_changes(operation))
        {
            shown.push(match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            });
            shown.push_str(change.value().trim_end_matches('\n'));
            shown.push('\n');
        }
    }
    shown
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
    use super::{DiffDeadline, MAX_LINES, difference, printed, unified};
    use std::fmt::Write;
    use std::time::Instant;

    fn lines(count: usize) -> String {
        (0..count).fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").expect("into memory");
            text
        })
    }

    #[test]
    fn changed_lines_are_shown_with_some_around() {
        let before = lines(20);
        let after = before.replace("10\n", "ten\n");
        let deadline = DiffDeadline::start();
        let shown = difference(&before, &after, deadline);
        assert_eq!(shown, " 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n");
        assert!(printed(&shown, true).contains("\x1b[32m+ten\x1b[0m\n"));
        assert_eq!(printed(&shown, false), shown);
        assert_eq!(
            unified(&before, &after, deadline),
            format!("@@ -8,7 +8,7 @@\n{shown}")
        );
        assert_eq!(difference(&before, &before, deadline), "");
        assert_eq!(unified(&before, &before, deadline), "");
    }

    #[test]
    fn parts_are_separate() {
        let before = lines(40);
        let after = before.replace("10\n", "ten\n").replace("30\n", "thirty\n");
        let deadline = DiffDeadline::start();
        let shown = difference(&before, &after, deadline);
        assert!(shown.contains(" 13\n…\n 27\n"), "{shown}");
        let shown = unified(&before, &after, deadline);
        assert!(shown.contains(" 13\n@@ -28,7 +28,7 @@\n 27\n"), "{shown}");
    }

    #[test]
    fn characters_that_a_terminal_interprets_are_escaped() {
        assert_eq!(
            printed("+a: \x1b[2K\u{202e}\tb\n", false),
            "+a: \\u{1b}[2K\\u{202e}\tb\n"
        );
    }

    #[test]
    fn differences_that_are_not_searched_are_larger_but_right() {
        let passed = DiffDeadline(Instant::now());
        let shown = difference("a\n1\nb\n2\nc\n", "a\n3\nb\n4\nc\n", passed);
        assert_eq!(shown, " a\n-1\n-b\n-2\n+3\n+b\n+4\n c\n");
        // The texts share every second line, so a search would take minutes.
        let text = |word: &str| {
            (0..=MAX_LINES).fold(String::new(), |mut text, line| {
                let _ = writeln!(text, "{}", if line % 2 == 0 { "same" } else { word });
                text
            })
        };
        let shown = unified(&text("old"), &text("new"), DiffDeadline::start());
        assert_eq!(shown.matches("-old\n").count(), MAX_LINES / 2);
    }
}
