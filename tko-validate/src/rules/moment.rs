//! Times and durations in rules.

use super::value::{Evaluated, Val};

const SECOND: i128 = 1_000_000_000;

/// Parses a time as in RFC 3339, or a date. Returns nanoseconds since 1970.
pub(super) fn time(text: &str) -> Option<i128> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(())?;
        digits.parse().ok()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = i128::from(days(year, month, day));
    if text.len() == 10 {
        return Some(days * 86_400 * SECOND);
    }
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or(0, |fraction| {
        fraction.bytes().take_while(u8::is_ascii_digit).count()
    });
    let mut nanoseconds = 0;
    let mut zone = rest;
    if digits > 0 {
        let fraction = format!("{:0<9.9}", &rest[1..=digits]);
        nanoseconds = fraction.parse().ok()?;
        zone = &rest[1 + digits..];
    }
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    let seconds = hour * 3600 + minute * 60 + second - offset * 60;
    Some((days * 86_400 + i128::from(seconds)) * SECOND + nanoseconds)
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
        for bad in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-01-01T",
            "2026-01-01T00:00:00",
            "ä026-01-01",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
