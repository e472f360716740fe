//! Line differences between two texts, by the algorithm of Myers (1986), within limits.

use super::html::Html;

/// Maximum number of lines of each text.
const MAX_LINES: usize = 20_000;

/// Maximum number of differences. Texts that differ more are shown one after the other.
const MAX_DIFFERENCES: usize = 1_000;

/// Lines without differences that are shown around a difference.
const CONTEXT: usize = 3;

/// One line of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiffLine<'a> {
    Same(&'a str),
    Added(&'a str),
    Removed(&'a str),
}

/// The differences as HTML, and how many lines were added and removed.
pub(super) fn diff(before: &str, after: &str) -> (Html, usize, usize) {
    let before: Vec<&str> = before.lines().take(MAX_LINES).collect();
    let after: Vec<&str> = after.lines().take(MAX_LINES).collect();
    let lines = compare(&before, &after);
    let added = lines
        .iter()
        .filter(|line| matches!(line, DiffLine::Added(_)))
        .count();
    let removed = lines
        .iter()
        .filter(|line| matches!(line, DiffLine::Removed(_)))
        .count();
    (shown(&lines), added, removed)
}

fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<DiffLine<'a>> {
    let start = before
        .iter()
        .zip(after)
        .take_while(|(one, two)| one == two)
        .count();
    let most = before.len().min(after.len()) - start;
    let end = before.iter().rev().zip(after.iter().rev()).take(most);
    let end = end.take_while(|(one, two)| one == two).count();
    let (old, new) = (
        &before[start..before.len() - end],
        &after[start..after.len() - end],
    );
    let mut lines: Vec<DiffLine<'a>> = before[..start]
        .iter()
        .copied()
        .map(DiffLine::Same)
        .collect();
    lines.extend(middle(old, new).unwrap_or_else(|| {
        let removed = old.iter().copied().map(DiffLine::Removed);
        removed
            .chain(new.iter().copied().map(DiffLine::Added))
            .collect()
    }));
    lines.extend(
        before[before.len() - end..]
            .iter()
            .copied()
            .map(DiffLine::Same),
    );
    lines
}

/// The shortest edit script; `None` if it is longer than the limit.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Option<Vec<DiffLine<'a>>> {
    let most = (old.len() + new.len()).min(MAX_DIFFERENCES);
    // furthest[k + most]: how far diagonal k reaches in the old text.
    let mut furthest = vec![0_usize; 2 * most + 3];
    let mut trace = Vec::new();
    for depth in 0..=most {
        trace.push(furthest[most - depth..=most + depth + 2].to_vec());
        for at in (0..=2 * depth).step_by(2) {
            // The index of diagonal `at - depth`, shifted so that both neighbours exist.
            let k = most + 1 + at - depth;
            let down = at == 0 || (at != 2 * depth && furthest[k - 1] < furthest[k + 1]);
            let mut x = if down {
                furthest[k + 1]
            } else {
                furthest[k - 1] + 1
            };
            let mut y = (x + depth).checked_sub(at)?;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                x += 1;
                y += 1;
            }
            furthest[k] = x;
            if x >= old.len() && y >= new.len() {
                return Some(walk(old, new, &trace, depth));
            }
        }
    }
    None
}

/// Walks the trace back from the end.
fn walk<'a>(
    old: &[&'a str],
    new: &[&'a str],
    trace: &[Vec<usize>],
    depth: usize,
) -> Vec<DiffLine<'a>> {
    let mut lines = Vec::new();
    let (mut x, mut y) = (old.len(), new.len());
    for depth in (0..=depth).rev() {
        // `reached[i]` is diagonal `i - depth - 1`.
        let reached = &trace[depth];
        let at = x + depth - y;
        let down = at == 0 || (at != 2 * depth && reached[at] < reached[at + 2]);
        let from = if depth == 0 {
            0
        } else if down {
            reached[at + 2]
        } else {
            reached[at] + 1
        };
        while x > from && y > 0 && old[x - 1] == new[y - 1] {
            lines.push(DiffLine::Same(old[x - 1]));
            x -= 1;
            y -= 1;
        }
        if depth == 0 {
            break;
        }
        if down {
            y -= 1;
            lines.push(DiffLine::Added(new[y]));
        } else {
            x -= 1;
            lines.push(DiffLine::Removed(old[x]));
        }
    }
    lines.reverse();
    lines
}

fn shown(lines: &[DiffLine<'_>]) -> Html {
    let is_near = |at: usize| {
        let near = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len());
        lines[near]
            .iter()
            .any(|line| !matches!(line, DiffLine::Same(_)))
    };
    let mut html = Html::default();
    let mut skipped = false;
    for (at, line) in lines.iter().enumerate() {
        if !is_near(at) {
            skipped = true;
            continue;
        }
        if std::mem::take(&mut skipped) {
            html.push_raw("<span class=\"gap\">⋯</span>");
        }
        let (markup, sign, text) = match line {
            DiffLine::Same(text) => ("<span>", "  ", text),
            DiffLine::Added(text) => ("<span class=\"add\">", "+ ", text),
            DiffLine::Removed(text) => ("<span class=\"del\">", "- ", text),
        };
        html.push_raw(markup);
        html.push(sign);
        html.push(text);
        html.push_raw("</span>");
    }
    if html.len() == 0 {
        html.push_raw("<span class=\"c\">No differences.</span>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::{DiffLine, compare};

    fn applied(before: &[&str], after: &[&str]) -> usize {
        let lines = compare(before, after);
        let old = lines.iter().filter_map(|line| match line {
            DiffLine::Same(text) | DiffLine::Removed(text) => Some(*text),
            DiffLine::Added(_) => None,
        });
        assert!(old.eq(before.iter().copied()), "{lines:?}");
        let new = lines.iter().filter_map(|line| match line {
            DiffLine::Same(text) | DiffLine::Added(text) => Some(*text),
            DiffLine::Removed(_) => None,
        });
        assert!(new.eq(after.iter().copied()), "{lines:?}");
        lines
            .iter()
            .filter(|line| !matches!(line, DiffLine::Same(_)))
            .count()
    }

    #[test]
    fn the_differences_turn_one_text_into_the_other_and_are_few() {
        for (before, after, differences) in [
            ("", "", 0),
            ("a", "a", 0),
            ("", "ab", 2),
            ("abc", "", 3),
            ("abcabba", "cbabac", 5),
            ("xaxbxc", "abc", 3),
            ("kspec", "kspxec", 1),
        ] {
            let split = |text: &'static str| -> Vec<&'static str> {
                text.split("").filter(|one| !one.is_empty()).collect()
            };
            assert_eq!(
                applied(&split(before), &split(after)),
                differences,
                "{before} {after}"
            );
        }
    }

    #[test]
    fn texts_that_differ_too_much_are_shown_one_after_the_other() {
        let old: Vec<String> = (0..3_000).map(|n| format!("a{n}")).collect();
        let new: Vec<String> = (0..3_000).map(|n| format!("b{n}")).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        assert_eq!(applied(&old, &new), 6_000);
    }
}
