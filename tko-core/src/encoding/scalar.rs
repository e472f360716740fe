//! YAML scalars: text or, in plain style, perhaps a number, boolean or null.
//!
//! The two dialects differ only here and in the types of keys. Input of people is read as the
//! Kubernetes tools read it: YAML 1.1 without dates and base 60. Input of programs follows the core
//! schema of YAML 1.2. Both refuse numbers that would lose digits.
//!
//! In both dialects an empty plain scalar is null, and quoted and block scalars without a tag are
//! text. Integers range from -2^63 to 2^64 - 1, and `-0` is the integer 0. Times and dates, such as
//! `12:30:00` and `2024-01-31`, are text.
//!
//! The reader tries types in this order: null and boolean by exact spelling, integer, float, text.
//! The first byte decides which of these are possible, because most scalars are text. A scalar that
//! begins like a number but is not one, such as `10.0.0.1`, is text. Only a number that the data
//! model cannot hold is an error.

use std::borrow::Cow;

use granit_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

use super::error::{DecodeFault, quoted};
use super::{BIG_INTEGER_ADVICE, Dialect, NOT_FINITE_ADVICE};

/// The prefix of the standard tags, which YAML text abbreviates as `!!`.
const YAML_NAMESPACE: &str = "tag:yaml.org,2002:";

/// The value of a scalar, by its style, tag and dialect.
///
/// Without a tag only a plain scalar can be anything but text. With `!!str`, `!!timestamp` or `!`
/// every scalar is text. The tags `!!null`, `!!bool`, `!!int` and `!!float` read it as plain, even
/// if it is quoted, and demand that type. `!!float` also accepts an integer, and converts it.
///
/// # Errors
/// - `Malformed`: the text is not of the type that its tag demands.
/// - `Unsupported`: another tag, such as `!!binary` or `!Ref`, or a number that the data model
///   cannot hold.
pub(super) fn resolve(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    dialect: Dialect,
) -> Result<Value, DecodeFault> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => plain(text, dialect),
            _ => Ok(Value::String(text.into_owned())),
        };
    };
    let name = match tag.suffix_in_namespace(YAML_NAMESPACE) {
        Some(name) => name,
        // A lone `!` marks text, regardless of its form.
        None if tag.original() == "!" => Cow::Borrowed("str"),
        None => return Err(foreign(tag)),
    };
    if matches!(&*name, "str" | "timestamp") {
        return Ok(Value::String(text.into_owned()));
    }
    let value = match plain(Cow::Borrowed(&text), dialect)? {
        Value::Number(number) if name == "float" => number
            .as_f64()
            .and_then(Number::from_f64)
            .map_or(Value::Null, Value::Number),
        value => value,
    };
    let fits = match &*name {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_f64(),
        _ => return Err(foreign(tag)),
    };
    if fits {
        return Ok(value);
    }
    Err(DecodeFault::Malformed(format!(
        "{} does not match its tag {}",
        quoted(&text),
        tag.original()
    )))
}

/// Checks the tag of a list (`seq`) or map (`map`).
///
/// No tag, `!`, and the standard tag of the same type are accepted.
///
/// # Errors
/// `Unsupported`: any other tag, such as `!!set` or `!!omap`.
pub(super) fn check_tag(tag: Option<&Tag>, expected: &str) -> Result<(), DecodeFault> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.original() == "!" => Ok(()),
        Some(tag) if tag.suffix_in_namespace(YAML_NAMESPACE).as_deref() == Some(expected) => Ok(()),
        Some(tag) => Err(foreign(tag)),
    }
}

/// The text of a key, from its value.
///
/// Text is a key in both dialects. People may also use booleans and numbers, which become the text
/// that the Kubernetes tools make of them: `true`, `12`, or a short float.
///
/// # Errors
/// `Unsupported`: null, a list or a map; for programs everything but text.
pub(super) fn key(value: Value, dialect: Dialect) -> Result<String, DecodeFault> {
    let (kind, text) = match value {
        Value::String(text) => return Ok(text),
        Value::Bool(value) => ("a boolean", value.to_string()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => ("a float", short_float(float)),
            _ => ("an integer", number.to_string()),
        },
        Value::Null => ("null", String::new()),
        Value::Array(_) => ("a list", String::new()),
        Value::Object(_) => ("a map", String::new()),
    };
    if dialect == Dialect::People && !text.is_empty() {
        return Ok(text);
    }
    Err(DecodeFault::Unsupported {
        problem: format!("a key is {kind}"),
        advice: "keys are text: quote it",
    })
}

/// The error for a tag that would change the type or the meaning of its value.
fn foreign(tag: &Tag) -> DecodeFault {
    DecodeFault::Unsupported {
        problem: format!("tag {} has a meaning that would be lost", tag.original()),
        advice: "write the plain value, or text (such as base64) without a tag",
    }
}

/// The value of a plain scalar without a tag.
///
/// # Errors
/// `Unsupported`: a number that is not finite, or does not fit 64 bits.
fn plain(text: Cow<'_, str>, dialect: Dialect) -> Result<Value, DecodeFault> {
    // Almost every scalar is a word, which its first byte shows.
    let Some(first) = text.bytes().next() else {
        return Ok(Value::Null);
    };
    let known = match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(&text, dialect)?,
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O' => {
            word(&text, dialect)
        }
        _ => None,
    };
    Ok(known.unwrap_or_else(|| Value::String(text.into_owned())))
}

/// The null or boolean that a word means; `None` if it is text.
///
/// Only the listed spellings count: `yEs` is text in both dialects.
fn word(text: &str, dialect: Dialect) -> Option<Value> {
    Some(match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if dialect == Dialect::Programs => return None,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => return None,
    })
}

/// Reads a number in the dialect; `None` if the scalar is text.
///
/// # Errors
/// `Unsupported`: an infinity or NaN in YAML's spelling, such as `-.inf`, or as for the dialect's
/// reader.
fn number(text: &str, dialect: Dialect) -> Result<Option<Value>, DecodeFault> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(DecodeFault::Unsupported {
            problem: format!("number {text} is not finite"),
            advice: NOT_FINITE_ADVICE,
        });
    }
    match dialect {
        Dialect::People => kubernetes_number(text),
        Dialect::Programs => core_number(text),
    }
}

/// Reads a number as Go's `strconv` does for the Kubernetes tools, without underscores. It is octal
/// with a leading zero, and hexadecimal, octal or binary with a prefix, also after a sign.
///
/// Underscores are removed first. If the text begins with a point, each of them must be between two
/// digits, or the scalar is text. Digits that do not fit their prefix, or 64 bits, are then tried
/// as decimal. So an oversized hexadecimal number is text.
///
/// # Errors
/// As for `decimal`.
fn kubernetes_number(text: &str) -> Result<Option<Value>, DecodeFault> {
    let dense: Cow<'_, str> = if !text.contains('_') {
        text.into()
    } else if !text.starts_with('.') || separates_digits(text) {
        text.replace('_', "").into()
    } else {
        return Ok(None);
    };
    let (negative, digits) = sign(&dense);
    let prefixed = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => Some((16, &digits[2..])),
        [b'0', b'b' | b'B', ..] => Some((2, &digits[2..])),
        [b'0', b'o' | b'O', ..] => Some((8, &digits[2..])),
        [b'0', _, ..] => Some((8, &digits[1..])),
        _ => None,
    };
    if let Some((radix, digits)) = prefixed
        && let Some(integer) = integer(negative, digits, radix)
    {
        return Ok(Some(integer));
    }
    // A number such as 0899 is not octal, and is read as decimal.
    decimal(&dense, Dialect::People)
}

/// Whether every underscore is between two digits.
fn separates_digits(text: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let mut places = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'_');
    places.all(|(at, _)| digit(bytes.get(at.wrapping_sub(1))) && digit(bytes.get(at + 1)))
}

/// Reads a number by the core schema of YAML 1.2.
///
/// The prefixes `0x` and `0o` are lower case and take no sign. A leading zero alone has no meaning.
///
/// # Errors
/// `Unsupported`: digits after a prefix exceed 64 bits, or as for `decimal`.
fn core_number(text: &str) -> Result<Option<Value>, DecodeFault> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        let Some(digits) = text.strip_prefix(prefix) else {
            continue;
        };
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Ok(None);
        }
        return match integer(false, digits, radix) {
            Some(integer) => Ok(Some(integer)),
            None => Err(too_big(text)),
        };
    }
    decimal(text, Dialect::Programs)
}

/// Reads a decimal number of both dialects, such as `12`, `-0.5`, `.5`, `1.` or `1e3`.
///
/// `None` if the text is not a number. Leading zeros are ignored. A float is the nearest `f64`.
///
/// # Errors
/// `Unsupported`: an integer has more than 64 bits, or a program's float is beyond the range of
/// `f64`. A float of people that is out of range is text.
fn decimal(text: &str, dialect: Dialect) -> Result<Option<Value>, DecodeFault> {
    let (negative, unsigned) = sign(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|digit| digit.is_ascii_digit()) {
        return match integer(negative, unsigned, 10) {
            Some(integer) => Ok(Some(integer)),
            None => Err(too_big(text)),
        };
    }
    if !is_decimal_float(unsigned) {
        return Ok(None);
    }
    let Ok(value) = text.parse::<f64>() else {
        return Ok(None);
    };
    match Number::from_f64(value) {
        Some(number) => Ok(Some(Value::Number(number))),
        // For example an abbreviated commit hash, which the Kubernetes tools read as text.
        None if dialect == Dialect::People => Ok(None),
        None => Err(DecodeFault::Unsupported {
            problem: format!("number {} is too large for a float", quoted(text)),
            advice: "quote it to make it text",
        }),
    }
}

/// Whether these are digits with a point, an exponent or both:
/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_decimal_float(unsigned: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// Splits at most one sign off a number. Returns whether it is negative, and the rest.
fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// The integer of these digits; `None` if they are not digits, or do not fit `i64` or `u64`.
fn integer(negative: bool, digits: &str, radix: u32) -> Option<Value> {
    // `from_str_radix` would accept a second sign.
    if !digits.starts_with(|digit: char| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Value::from);
    }
    Some(Value::from(magnitude))
}

/// The error for an integer that fits neither `i64` nor `u64`.
fn too_big(text: &str) -> DecodeFault {
    DecodeFault::Unsupported {
        problem: format!("integer {} has more than 64 bits", quoted(text)),
        advice: BIG_INTEGER_ADVICE,
    }
}

/// A float as a key, as the Kubernetes tools write it. It has the shortest digits of the nearest
/// 32-bit float, and an exponent below 10⁻⁴ and from 10⁶.
///
/// Beyond the range of 32-bit floats this is `.inf` or `-.inf`. Exponents have a sign and at least
/// two digits, as in `1e+06`.
fn short_float(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the Kubernetes tools do so"
    )]
    let narrow = value as f32;
    if narrow.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{narrow:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => narrow.to_string(),
    }
}
