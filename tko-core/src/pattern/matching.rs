//! Whether a text fits the parts of a pattern, in time proportional to pattern × text.
//!
//! The parts are taken one by one, and after each it is known at which places in the text it may
//! have ended. Nothing is tried twice, so no pattern is slow.
//!
//! Comparing bytes is enough for UTF-8: a text part begins and ends at characters, so the
//! wildcards between them take whole ones.

use super::Part;

/// Whether the whole text fits.
pub(super) fn matches(parts: &[Part], text: &str) -> bool {
    // The usual patterns are decided by what they begin and end with.
    let (parts, text) = match parts {
        [Part::Text(prefix), rest @ ..] => match text.strip_prefix(&**prefix) {
            Some(text) => (rest, text),
            None => return false,
        },
        parts => (parts, text),
    };
    let (parts, text) = match parts {
        [rest @ .., Part::Text(suffix)] => match text.strip_suffix(&**suffix) {
            Some(text) => (rest, text),
            None => return false,
        },
        parts => (parts, text),
    };
    match parts {
        [] => text.is_empty(),
        [Part::Any] => true,
        [Part::Segment] => !text.bytes().any(ends_segment),
        parts => walk(parts, text.as_bytes()),
    }
}

/// Follows where each part may end: `ends[i]` is whether it may before byte `i`.
fn walk(parts: &[Part], text: &[u8]) -> bool {
    // Ids and values are short: memory is asked for only where they are not.
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
            Part::Text(literal) => after_literal(ends, text, literal.as_bytes()),
            Part::Segment => after_segment(ends, text),
            Part::Any => after_any(ends),
        };
        if !reachable {
            return false;
        }
    }
    ends[text.len()]
}

fn after_literal(ends: &mut [bool], text: &[u8], literal: &[u8]) -> bool {
    let mut reachable = false;
    // Backwards, so that what is read has not been overwritten.
    for end in (0..=text.len()).rev() {
        ends[end] = end
            .checked_sub(literal.len())
            .is_some_and(|start| ends[start] && text[start..end] == *literal);
        reachable |= ends[end];
    }
    reachable
}

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

fn after_any(ends: &mut [bool]) -> bool {
    let first = ends.iter().position(|&end| end).unwrap_or(ends.len());
    ends[first..].fill(true);
    true
}

fn ends_segment(byte: u8) -> bool {
    matches!(byte, b'/' | b':')
}
