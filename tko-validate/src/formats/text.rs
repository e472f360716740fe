//! Formats of text in custom kinds, as `strfmt` of kube-openapi checks them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn are_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_object_id(text: &str) -> bool {
    text.len() == 24 && are_hex(text)
}

/// Returns true for padded standard base64. Line breaks are ignored, as Kubernetes does.
pub(crate) fn is_base64(text: &str) -> bool {
    let mut length = 0_usize;
    let mut padding = 0_usize;
    for byte in text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        match byte {
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return false,
        }
        length += 1;
    }
    length.is_multiple_of(4) && padding <= 2
}

/// Decodes base64.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if !is_base64(text) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap_or_default());
        }
    }
    Some(bytes)
}

/// Returns address and length of the prefix of a network such as `10.0.0.0/8`.
pub(crate) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    if !are_digits(length) {
        return None;
    }
    let length: u8 = length.parse().ok()?;
    (length <= longest).then_some((address, length))
}

/// Returns an address without the bits after its prefix.
pub(crate) fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let shift = 32 - u32::from(length.min(32));
            let mask = u32::MAX.checked_shl(shift).unwrap_or_default();
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let shift = 128 - u32::from(length.min(128));
            let mask = u128::MAX.checked_shl(shift).unwrap_or_default();
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

pub(super) fn is_cidr(text: &str) -> bool {
    network(text).is_some()
}

pub(super) fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// `00:00:5e:00:53:01`, `00-00-5e-00-53-01` or `0000.5e00.5301`, of 6, 8 or 20 bytes.
pub(super) fn is_mac(text: &str) -> bool {
    let parts = |separator: char, digits: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let bytes = parts.len() * digits / 2;
        matches!(bytes, 6 | 8 | 20)
            && parts
                .iter()
                .all(|part| part.len() == digits && are_hex(part))
    };
    parts(':', 2) || parts('-', 2) || parts('.', 4)
}

/// A Luhn number of 13 to 19 digits.
pub(super) fn is_credit_card(text: &str) -> bool {
    let digits: String = text
        .chars()
        .filter(|one| !matches!(one, ' ' | '-'))
        .collect();
    if !are_digits(&digits) || !(13..=19).contains(&digits.len()) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(digit - b'0') * if index % 2 == 1 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

pub(crate) fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    if (year.len(), month.len(), day.len()) != (4, 2, 2)
        || ![year, month, day].iter().all(|part| are_digits(part))
    {
        return false;
    }
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(year), number(month), number(day));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

pub(crate) fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else {
        return false;
    };
    let Some(clock) = time.get(..8) else {
        return false;
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let within = |part: &str, limit: &str| part.len() == 2 && are_digits(part) && part <= limit;
    let [hour, minute, second] = parts[..] else {
        return false;
    };
    let rest = &time[8..];
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|one: char| one.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let is_zone = matches!(zone, "Z" | "z")
        || zone.strip_prefix(['+', '-']).is_some_and(|offset| {
            offset.len() == 5
                && offset
                    .split_once(':')
                    .is_some_and(|(hours, minutes)| within(hours, "99") && within(minutes, "99"))
        });
    is_date(date) && within(hour, "23") && within(minute, "59") && within(second, "59") && is_zone
}

pub(super) fn is_duration(text: &str) -> bool {
    duration_nanoseconds(text).is_some()
}

/// Parses a duration as Go does (`1h30m`, `-1.5s`), or in words (`2 days`). Returns nanoseconds.
pub(crate) fn duration_nanoseconds(text: &str) -> Option<i128> {
    go_duration(text).or_else(|| duration_in_words(text))
}

fn go_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|one: char| !one.is_ascii_digit() && one != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after
            .find(|one: char| one.is_ascii_digit() || one == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        sum = sum.checked_add(scaled(number, scale)?)?;
        rest = after;
    }
    // Go counts durations in 64 bits.
    i64::try_from(sum).ok()?;
    Some(sign * sum)
}

/// Multiplies a decimal number.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.get(..whole.len().min(30))?.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(18)];
    let part: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let power = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(part * scale / power)
}

/// Durations in words, as `strfmt` adds them to those of Go.
fn duration_in_words(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    let text = text.trim();
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let end = text
        .find(|one: char| !one.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: i128 = number.get(..number.len().min(20))?.parse().ok()?;
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "wk" | "wks" | "week" | "weeks" => 604_800 * SECOND,
        _ => return None,
    };
    number.checked_mul(scale).map(|duration| sign * duration)
}

/// An address as in RFC 5322, optionally with a name: `Joe <joe@example.org>`.
pub(super) fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match (text.strip_suffix('>'), text.rfind('<')) {
        (Some(inner), Some(start)) => &inner[start + 1..],
        (None, None) => text,
        _ => return false,
    };
    let is_atom_byte = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte) || byte >= 0x80
    };
    let is_dotted = |text: &str| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is_atom_byte))
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let is_quoted = local.len() >= 2
        && local.starts_with('"')
        && local.ends_with('"')
        && !local[1..local.len() - 1].contains(['"', '\\', '\n', '\r']);
    (is_dotted(local) || is_quoted) && is_dotted(domain)
}

pub(super) fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && are_hex(digits)
}

pub(super) fn is_rgb_color(text: &str) -> bool {
    let inner = text
        .strip_prefix("rgb(")
        .and_then(|text| text.strip_suffix(')'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        parts.len() == 3
            && parts
                .iter()
                .all(|part| are_digits(part) && part.len() <= 3 && part.parse::<u8>().is_ok())
    })
}

/// Labels of letters, digits and `-`, in upper or lower case, with a length of at most 255.
pub(super) fn is_hostname(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 255
        && labels.split('.').all(|label| {
            let bytes = label.as_bytes();
            let ends = |byte: Option<&u8>| {
                byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
            };
            label.len() <= 63
                && ends(bytes.first())
                && ends(bytes.last())
                && bytes.iter().all(|byte| *byte == b'-' || ends(Some(byte)))
        })
}

pub(super) fn is_isbn10(text: &str) -> bool {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !matches!(byte, b' ' | b'-'))
        .collect();
    let valued = digits.iter().enumerate().map(|(index, byte)| match byte {
        b'0'..=b'9' => Some(u32::from(byte - b'0')),
        b'X' if index == 9 => Some(10),
        _ => None,
    });
    let Some(values) = valued.collect::<Option<Vec<u32>>>() else {
        return false;
    };
    let weighted = values.iter().zip((1..=10).rev());
    values.len() == 10
        && weighted
            .map(|(value, weight)| value * weight)
            .sum::<u32>()
            .is_multiple_of(11)
}

pub(super) fn is_isbn13(text: &str) -> bool {
    let digits: String = text
        .chars()
        .filter(|one| !matches!(one, ' ' | '-'))
        .collect();
    let weighted = digits.bytes().enumerate().map(|(index, digit)| {
        u32::from(digit.wrapping_sub(b'0')) * if index % 2 == 0 { 1 } else { 3 }
    });
    digits.len() == 13 && are_digits(&digits) && weighted.sum::<u32>().is_multiple_of(10)
}

pub(super) fn is_isbn(text: &str) -> bool {
    is_isbn10(text) || is_isbn13(text)
}

pub(super) fn is_ssn(text: &str) -> bool {
    let digits: String = text
        .chars()
        .filter(|one| !matches!(one, ' ' | '-'))
        .collect();
    digits.len() == 9 && are_digits(&digits) && text.len() <= 11
}

/// An absolute URI, or an absolute path, as Go's `url.ParseRequestURI` accepts it.
pub(crate) fn is_uri(text: &str) -> bool {
    if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return has_sound_escapes(text);
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let bytes = scheme.as_bytes();
    let is_scheme = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let host = rest
        .strip_prefix("//")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_host =
        host.is_none_or(|host| !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']));
    is_scheme && is_host && has_sound_escapes(rest)
}

fn has_sound_escapes(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|escape| escape.get(..2).is_some_and(are_hex))
}

fn is_uuid_of(text: &str, version: Option<u8>) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let plain: String = parts.concat();
    let is_grouped = parts.len() == 1 || parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]);
    let bytes = plain.as_bytes();
    plain.len() == 32
        && are_hex(&plain)
        && is_grouped
        && version.is_none_or(|version| {
            bytes[12] == version
                && (version == b'3'
                    || matches!(bytes[16].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b'))
        })
}

pub(super) fn is_uuid(text: &str) -> bool {
    is_uuid_of(text, None)
}

pub(super) fn is_uuid3(text: &str) -> bool {
    is_uuid_of(text, Some(b'3'))
}

pub(super) fn is_uuid4(text: &str) -> bool {
    is_uuid_of(text, Some(b'4'))
}

pub(super) fn is_uuid5(text: &str) -> bool {
    is_uuid_of(text, Some(b'5'))
}

#[cfg(test)]
mod tests;
