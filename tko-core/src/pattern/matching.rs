//! Matching of a text against the parts of a pattern.
//!
//! The parts are processed in order. After each one, a table holds every place in the text where it
//! can end. There is no backtracking, so no pattern is slow.
//!
//! Comparing bytes is correct for UTF-8: text parts begin and end at character boundaries, so
//! wildcards match whole characters.
//!
//! A match takes at most time proportional to the length of the pattern times that of the text. Up
//! to 255 bytes of text need no allocation.
//!
//! Literal parts at both ends are compared first, and only the text between them enters the table.
//! They cannot overlap, because the prefix is removed before the suffix is compared.

use super::PatternPart;

/// Whether the whole text matches.
///
/// Without parts, only the empty text matches.
pub(super) fn matches(parts: &[PatternPart], text: &str) -> bool {
    // For most patterns, the literal start and end alone decide.
    let (parts, text) = match parts {
        [PatternPart::Text(prefix), rest @ ..] => match text.strip_prefix(&**prefix) {
            Some(text) => (rest, text),
            None => return false,
        },
        parts => (parts, text),
    };
    let (parts, text) = match parts {
        [rest @ .., PatternPart::Text(suffix)] => match text.strip_suffix(&**suffix) {
            Some(text) => (rest, text),
            None => return false,
        },
        parts => (parts, text),
    };
    match parts {
        [] => text.is_empty(),
        [PatternPart::Any] => true,
        [PatternPart::Segment] => !text.bytes().any(ends_segment),
        parts => walk(parts, text.as_bytes()),
    }
}

/// Tracks where each part can end: `ends[i]` is whether it can end before byte `i`.
///
/// Before the first part only `ends[0]` is set. The text matches if the last part can end at its
/// end. If a part cannot end anywhere, nothing matches.
fn walk(parts: &[PatternPart], text: &[u8]) -> bool {
    // Ids and values are usually short; allocate only for long ones.
    let mut short = [false; 256];
    let mut long = Vec::new();
    let ends = if text.len() < short.len() {
        &mut short[..=text.len()]
    } else {
        long.resize(text.len() + 1, false);
        &mut long[..]
    };
    ends[0] = true;
    for part in parts {
        let reachable = match part {
            PatternPart::Text(literal) => after_literal(ends, text, literal.as_bytes()),
            PatternPart::Segment => after_segment(ends, text),
            PatternPart::Any => after_any(ends),
        };
        if !reachable {
            return false;
        }
    }
    ends[text.len()]
}

/// Moves each place behind the literal that begins there; places without it are cleared.
///
/// Returns whether any place remains.
fn after_literal(ends: &mut [bool], text: &[u8], literal: &[u8]) -> bool {
    let mut reachable = false;
    // Backwards, because entries are overwritten in place.
    for end in (0..=text.len()).rev() {
        ends[end] = end
            .checked_sub(literal.len())
            .is_some_and(|start| ends[start] && text[start..end] == *literal);
        reachable |= ends[end];
    }
    reachable
}

/// Extends each place to the right, up to and including the place before the next `/` or `:`.
///
/// Returns true: a wildcard may match the empty text, so every place remains.
fn after_segment(ends: &mut [bool], text: &[u8]) -> bool {
    let mut inside = false;
    for (index, end) in ends.iter_mut().enumerate() {
        inside |= *end;
        *end = inside;
        inside &= text
            .get(index)
            .copied()
            .is_some_and(|byte| !ends_segment(byte));
    }
    true
}

/// Extends the first place to the end of the text.
///
/// Returns true: a wildcard may match the empty text, so every place remains.
fn after_any(ends: &mut [bool]) -> bool {
    let first = ends.iter().position(|&end| end).unwrap_or(ends.len());
    ends[first..].fill(true);
    true
}

/// Whether a byte ends a segment of an id. Both are ASCII, so no longer character contains them.
fn ends_segment(byte: u8) -> bool {
    matches!(byte, b'/' | b':')
}
