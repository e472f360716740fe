//! Tests of patterns: tables, and agreement with a matcher that is obviously right and slow.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use proptest::prelude::{ProptestConfig, Strategy, prop_assert_eq, proptest};

use super::{MAX_PATTERN_BYTES, Pattern, PatternError, PatternKind};

/// Tries every length for every wildcard.
fn naive(kind: PatternKind, pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['\\', literal, rest @ ..] => {
            text.first() == Some(literal) && naive(kind, rest, &text[1..])
        }
        ['*', ..] => {
            let stars = pattern.iter().take_while(|&&c| c == '*').count();
            let any = stars > 1 || kind == PatternKind::Value;
            (0..=text.len())
                .take_while(|&end| any || !text[..end].iter().any(|c| matches!(c, '/' | ':')))
                .any(|end| naive(kind, &pattern[stars..], &text[end..]))
        }
        [literal, rest @ ..] => text.first() == Some(literal) && naive(kind, rest, &text[1..]),
    }
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn id(text: &str) -> Pattern {
    Pattern::id(text).expect(text)
}

fn value(text: &str) -> Pattern {
    Pattern::value(text).expect(text)
}

#[test]
fn id_patterns_match_within_and_across_segments() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("a", "a", true),
        ("a", "A", false),
        ("a", "ab", false),
        ("*", "", true),
        ("*", "south-1.2_x", true),
        ("*", "a/b", false),
        ("*", "a:b", false),
        ("**", "", true),
        ("**", "a/b:c", true),
        ("***", "a/b", true),
        ("edge/*", "edge/1", true),
        ("edge/*", "edge/", true),
        ("edge/*", "edge", false),
        ("edge/*", "edge/1/2", false),
        ("edge/**", "edge/1/2", true),
        ("edge/**", "edge", false),
        ("*/1", "edge/1", true),
        ("*/1", "x/edge/1", false),
        ("**/1", "x/edge/1", true),
        ("**/1", "/1", true),
        ("nf/*:v1.*", "nf/upf:v1.0.0", true),
        ("nf/*:v1.*", "nf/a/upf:v1.0.0", false),
        ("nf/**:v1.*", "nf/a/upf:v1.0.0", true),
        ("nf/**:v1.*", "nf/a:v1.0/upf:v2", false),
        ("**a*b", "a/ab", true),
        ("**a*b", "ab/a", false),
        ("*a*", "bab", true),
        ("*a*/*b*", "xax/xbx", true),
        ("*a*/*b*", "xa/x/xbx", false),
        ("a**a", "a", false),
        ("a**a", "aa", true),
        (r"\*", "*", true),
        (r"\*", "a", false),
        (r"\\", r"\", true),
        (r"\a", "a", true),
        (r"*\**", "a*b", true),
        (r"*\**", "ab", false),
        ("é*", "éü", true),
        ("*ü", "éü", true),
        ("*\u{bc}", "ü", false),
    ] {
        assert_eq!(id(pattern).matches(text), expected, "{pattern} on {text}");
    }
}

#[test]
fn value_patterns_match_anything_with_one_star() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "a/b:c\nd", true),
        ("GDC-*", "GDC-E/1", true),
        ("GDC-*", "gdc-E", false),
        ("*-E", "GDC-E", true),
        ("a*b*c", "a/b/c", true),
        ("a*b*c", "acb", false),
        (r"1\*", "1*", true),
        ("[a]?", "[a]?", true),
    ] {
        assert_eq!(
            value(pattern).matches(text),
            expected,
            "{pattern} on {text}"
        );
    }
}

#[test]
fn literals_match_only_themselves_and_survive_the_wire() {
    for text in [
        "",
        "a",
        "a*b",
        r"a\b",
        "**",
        r"\",
        "é/:",
        &"x*".repeat(2000),
    ] {
        let literal = Pattern::literal(text);
        assert_eq!(literal.kind(), PatternKind::Literal);
        assert_eq!(literal.as_literal(), Some(text));
        assert_eq!(literal.literal_prefix(), text);
        assert!(literal.matches(text), "{text}");
        assert!(!literal.matches(&format!("{text}x")), "{text}");
        if literal.as_str().len() <= MAX_PATTERN_BYTES {
            assert_eq!(id(literal.as_str()).as_literal(), Some(text));
            assert_eq!(value(literal.as_str()).as_literal(), Some(text));
        }
    }
}

#[test]
fn patterns_tell_backends_what_to_seek() {
    for (pattern, prefix, literal, path, everything) in [
        (id(""), "", Some(""), None, false),
        (id("a/b"), "a/b", Some("a/b"), None, false),
        (id(r"a\*"), "a*", Some("a*"), None, false),
        (id("a/*"), "a/", None, None, false),
        (id("a/**"), "a/", None, Some("a/"), false),
        (id("a/**x"), "a/", None, None, false),
        (id("*"), "", None, None, false),
        (id("**"), "", None, Some(""), true),
        (id("****"), "", None, Some(""), true),
        (value("*"), "", None, Some(""), true),
        (value("**"), "", None, Some(""), true),
        (value("ab*"), "ab", None, Some("ab"), false),
        (value("*ab"), "", None, None, false),
        (Pattern::literal("**"), "**", Some("**"), None, false),
    ] {
        assert_eq!(pattern.literal_prefix(), prefix, "{pattern:?}");
        assert_eq!(pattern.as_literal(), literal, "{pattern:?}");
        assert_eq!(pattern.path_prefix(), path, "{pattern:?}");
        assert_eq!(pattern.matches_everything(), everything, "{pattern:?}");
    }
}

#[test]
fn a_lone_backslash_at_the_end_is_refused() {
    for pattern in [r"\", r"a*\", r"\\\"] {
        let error = Pattern::id(pattern).expect_err(pattern);
        assert_eq!(Pattern::value(pattern), Err(error.clone()));
        assert!(matches!(error, PatternError::NothingEscaped { .. }));
        assert!(error.to_string().contains("ends in a lone backslash"));
    }
}

#[test]
fn patterns_beyond_the_length_limit_are_refused() {
    assert!(Pattern::id(&"a".repeat(MAX_PATTERN_BYTES)).is_ok());
    let long = "a".repeat(MAX_PATTERN_BYTES + 1);
    let error = PatternError::TooLong {
        bytes: MAX_PATTERN_BYTES + 1,
    };
    assert_eq!(Pattern::id(&long), Err(error.clone()));
    assert_eq!(Pattern::value(&long), Err(error));
}

#[test]
fn equality_and_hash_are_by_kind_and_text() {
    let patterns = HashSet::from([id("a*"), value("a*"), id("a*"), Pattern::literal("a")]);
    assert_eq!(patterns.len(), 3);
    assert_ne!(id("a"), Pattern::literal("a"));
    assert_eq!(id("a*").clone(), id("a*"));
    assert_eq!(
        format!("{} {:?}", id("a*"), value(r"\*")),
        r#"a* Value("\\*")"#
    );
}

#[test]
fn no_pattern_takes_exponential_time() {
    let stars = "a*".repeat(MAX_PATTERN_BYTES / 2 - 1) + "b";
    let both = "**a*".repeat(MAX_PATTERN_BYTES / 4 - 1) + "b";
    let text = "a".repeat(10_000);
    let started = Instant::now();
    for pattern in [id(&stars), value(&stars), id(&both)] {
        assert!(!pattern.matches(&text));
        assert!(pattern.matches(&format!("{text}b")));
    }
    // Milliseconds; backtracking would outlast the universe.
    assert!(started.elapsed() < Duration::from_secs(30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn patterns_agree_with_the_naive_matcher(
        pattern in r"([ab/:é*]|\*\*|\\[*\\a]){0,9}",
        text in r"[ab/:é*\\]{0,12}",
    ) {
        for compiled in [id(&pattern), value(&pattern)] {
            prop_assert_eq!(
                compiled.matches(&text),
                naive(compiled.kind(), &chars(&pattern), &chars(&text)),
                "{:?} on {:?}", compiled, text
            );
        }
    }

    #[test]
    fn prefixes_hold_for_what_matches(
        pattern in r"([ab/:é]|\*|\\[*\\a]){0,5}".prop_filter("short", |p| p.len() < 20),
        text in "[ab/:é*]{0,6}",
    ) {
        for compiled in [id(&pattern), value(&pattern)] {
            if compiled.matches(&text) {
                assert!(text.starts_with(compiled.literal_prefix()));
            }
            if let Some(only) = compiled.as_literal() {
                prop_assert_eq!(compiled.matches(&text), text == only);
            }
            if let Some(prefix) = compiled.path_prefix() {
                prop_assert_eq!(compiled.matches(&text), text.starts_with(prefix));
            }
        }
    }
}
