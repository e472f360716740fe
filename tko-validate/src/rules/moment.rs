//! Times and durations in rules.

use super::value::{Evaluated, Val};
use crate::formats::{is_date, is_date_time};
use std::ops::Range;

const SECOND: i128 = 1_000_000_000;

/// Parses a time as in RFC 3339, or a date. Returns nanoseconds since 1970.
pub(super) fn time(text: &str) -> Option<i128> {
    let number = |range: Range<usize>| -> Option<i64> { text.get(range)?.parse().ok() };
    let is_date = is_date(text);
    if !is_date && !is_date_time(text) {
        return None;
    }
    let days = i128::from(days(number(0..4)?, number(5..7)?, number(8..10)?));
    if is_date {
        return Some(days * 86_400 * SECOND);
    }
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|one: char| !one.is_ascii_digit())?),
        None => ("", rest),
    };
    let nanoseconds: i128 = format!("{fraction:0<9.9}").parse().ok()?;
    let seconds = hour * 3600 + minute * 60 + second - zone_offset(zone)?;
    Some((days * 86_400 + i128::from(seconds)) * SECOND + nanoseconds)
}

/// Returns the seconds of a zone such as `+01:00`; `None` if they are out of range.
///
/// The format of a time allows any two digits, as that of API servers does.
fn zone_offset(zone: &str) -> Option<i64> {
    let (sign, offset) = match zone.as_bytes().first()? {
        b'Z' | b'z' => return Some(0),
        b'-' => (-1, &zone[1..]),
        _ => (1, &zone[1..]),
    };
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Returns the days since 1970 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // March is the first month, so that the leap day is the last day of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Calls a method of a duration; `None` if there is no such method.
pub(super) fn method<'a>(name: &str, values: &[Val<'a>]) -> Option<Evaluated<'a>> {
    let [Val::Duration(duration)] = values else {
        return None;
    };
    let whole = match name {
        "getHours" => duration / (3600 * SECOND),
        "getMinutes" => duration / (60 * SECOND),
        "getSeconds" => duration / SECOND,
        "getMilliseconds" => duration / 1_000_000,
        _ => return None,
    };
    Some(Ok(Val::Int(i64::try_from(whole).unwrap_or(i64::MAX))))
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_counted_from_1970_in_any_zone() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(time("2026-01-31"), Some(1_769_817_600_000_000_000));
        assert_eq!(time("1970-01-01T01:00:00.5+01:00"), Some(500_000_000));
        assert_eq!(time("1969-12-31t22:30:00-01:30"), Some(0));
        assert_eq!(time("1970-01-01T00:00:00.1234567899Z"), Some(123_456_789));
        for bad in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-01-01T",
            "2026-01-01T00:00:00",
            "ä026-01-01",
            "2026x01x01",
            "2026-02-30",
            "2026-01-01T99:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00x01:00",
            "2026-01-01T00:00:00+9223372036854775807:00",
            "2026-01-01T00:00:00-9223372036854775807:00",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
