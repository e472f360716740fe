//! Bounds and `LIKE` operands from prefixes and patterns.

use tko_core::Pattern;
use tko_core::pattern::PatternKind;

/// Returns the first text after all texts with this prefix; `None` if there is none.
pub(super) fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Characters and their UTF-8 bytes have the same order.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// Returns the longest literal prefix of these patterns.
pub(super) fn longest_prefix(patterns: &[Pattern]) -> &str {
    patterns
        .iter()
        .map(Pattern::literal_prefix)
        .max_by_key(|prefix| prefix.len())
        .unwrap_or_default()
}

/// Converts a pattern to an operand of `LIKE` that accepts all matches. Returns whether it accepts
/// nothing else.
pub(super) fn like(pattern: &Pattern) -> (String, bool) {
    let mut text = String::with_capacity(pattern.as_str().len() + 4);
    let mut exact = true;
    let mut characters = pattern.as_str().chars().peekable();
    while let Some(character) = characters.next() {
        let literal = match character {
            '*' => {
                let mut run = 1;
                while characters.next_if_eq(&'*').is_some() {
                    run += 1;
                }
                exact &= run > 1 || pattern.kind() != PatternKind::Id;
                text.push('%');
                continue;
            }
            '\\' => characters.next().unwrap_or('\\'),
            literal => literal,
        };
        if matches!(literal, '%' | '_' | '\\') {
            text.push('\\');
        }
        text.push(literal);
    }
    (text, exact)
}

#[cfg(test)]
mod tests {
    use super::{after_prefix, like};
    use tko_core::Pattern;

    #[test]
    fn the_bound_of_a_prefix_is_tight() {
        for prefix in ["a", "a/b", "a\u{7f}", "\u{d7ff}", "z\u{10ffff}"] {
            let end = after_prefix(prefix).expect("something comes after");
            assert!(!end.starts_with(prefix) && *end > *prefix);
            assert!(
                *format!("{prefix}\u{10ffff}\u{10ffff}") < *end,
                "{prefix:?}"
            );
        }
        assert_eq!(
            after_prefix("a").as_deref(),
            Some("b"),
            "nothing lies between"
        );
        assert_eq!(after_prefix("z\u{10ffff}").as_deref(), Some("{"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }

    #[test]
    fn patterns_become_like_operands() {
        let id = |text| like(&Pattern::id(text).expect("a pattern"));
        let value = |text| like(&Pattern::value(text).expect("a pattern"));
        assert_eq!(id("a/*/b"), ("a/%/b".to_owned(), false));
        assert_eq!(id("a/**"), ("a/%".to_owned(), true));
        assert_eq!(value("a_*%"), ("a\\_%\\%".to_owned(), true));
        assert_eq!(value("\\*\\\\"), ("*\\\\".to_owned(), true));
        let literal = like(&Pattern::literal("*\\%"));
        assert_eq!(literal, ("*\\\\\\%".to_owned(), true));
    }
}
