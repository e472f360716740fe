//! Makes foreign text safe to show, and formats times.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;
use tko_core::{Error, Timestamp, view};

/// Maximum number of characters of one line that are kept. Longer lines are truncated.
const MAX_FILTER_LINE: usize = 4_096;

/// Whether a character could move the cursor, reorder other text, or be invisible.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// One line of text that cannot harm a terminal: control characters, marks of direction and
/// invisible characters are escaped, such as `\u{1b}`.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    let cut = text.char_indices().nth(MAX_FILTER_LINE).map(|(at, _)| at);
    let kept = &text[..cut.unwrap_or(text.len())];
    if cut.is_none() && !kept.contains(is_hostile) {
        return Cow::Borrowed(kept);
    }
    let mut escaped = String::with_capacity(kept.len() + 16);
    for c in kept.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else if is_hostile(c) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    if cut.is_some() {
        escaped.push('…');
    }
    Cow::Owned(escaped)
}

/// Shortens an id from the left: its end is more informative than its beginning.
pub(crate) fn tail(text: &str, width: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= width {
        return Cow::Borrowed(text);
    }
    let kept = width.saturating_sub(1);
    Cow::Owned(
        std::iter::once('…')
            .chain(text.chars().skip(count - kept))
            .collect(),
    )
}

/// Formats a number with thousands separators.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The offset from UTC in which times are shown.
///
/// ```
/// use tko_tui::TimeZoneOffset;
///
/// assert!("+05:30".parse::<TimeZoneOffset>().is_ok());
/// assert!("UTC".parse::<TimeZoneOffset>().is_ok());
/// assert!("+99:00".parse::<TimeZoneOffset>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeZoneOffset {
    minutes: i16,
}

/// Reads `UTC`, `Z`, or an offset such as `+02:00`.
impl FromStr for TimeZoneOffset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("z") {
            return Ok(Self::default());
        }
        let bad = || {
            Error::bad(
                "timezone",
                format!("unknown time zone {text:?}; expected UTC or an offset such as +02:00"),
            )
        };
        let (sign, rest) = match text.split_at_checked(1).ok_or_else(bad)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return Err(bad()),
        };
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
        let read = |digits: &str, most: i16| {
            let is_number =
                matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse::<i16>().ok().filter(|_| is_number);
            number.filter(|number| *number <= most).ok_or_else(bad)
        };
        Ok(Self {
            minutes: sign * (read(hours, 14)? * 60 + read(minutes, 59)?),
        })
    }
}

impl TimeZoneOffset {
    /// A time to the second, such as `2026-11-28 16:25:11`.
    pub(crate) fn time(self, at: Timestamp) -> String {
        let shifted = at.0.saturating_add(i64::from(self.minutes) * 60_000_000);
        let text = view::rfc3339(Timestamp(shifted));
        let mut text = text.get(..19).unwrap_or(&text).replace('T', " ");
        if self.minutes != 0 {
            let (sign, minutes) = (
                if self.minutes < 0 { '-' } else { '+' },
                self.minutes.unsigned_abs(),
            );
            // Writing to a string does not fail.
            let _ = write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        }
        text
    }

    /// A time without the year and the offset, for narrow columns: `11-28 16:25:11`.
    pub(crate) fn short(self, at: Timestamp) -> String {
        let text = self.time(at);
        text.get(5..19).unwrap_or(&text).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{TimeZoneOffset, number, safe, tail};
    use tko_core::Timestamp;

    #[test]
    fn hostile_text_is_escaped() {
        assert_eq!(safe("plain ünïcode"), "plain ünïcode");
        assert_eq!(safe("\x1b[2J\x07\nx"), r"\u{1b}[2J\u{7}\nx");
        assert_eq!(
            safe("a\u{202e}b\u{200b}\u{9b}"),
            r"a\u{202e}b\u{200b}\u{9b}"
        );
        assert_eq!(safe(&"x".repeat(10_000)).chars().count(), 4_097);
    }

    #[test]
    fn ids_keep_their_ends() {
        assert_eq!(tail("nf/upf:v1", 20), "nf/upf:v1");
        assert_eq!(tail("nf/free5gc/upf:v1", 7), "…upf:v1");
        assert_eq!(number(1_234_567), "1,234,567");
    }

    #[test]
    fn times_are_shown_in_a_zone() {
        let zone: TimeZoneOffset = "-03:30".parse().expect("a zone");
        assert_eq!(zone.time(Timestamp(0)), "1969-12-31 20:30:00-03:30");
        assert_eq!(zone.short(Timestamp(0)), "12-31 20:30:00");
        for bad in ["x", "+1:2:3", "+15:00", "+00:60", "+ 1:00", "é"] {
            assert!(bad.parse::<TimeZoneOffset>().is_err(), "{bad}");
        }
    }
}
