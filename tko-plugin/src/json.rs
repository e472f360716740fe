//! JSON that YAML 1.1 and YAML 1.2 readers understand alike.
//!
//! The input of a call is one YAML document. It is written as JSON, so that a plugin needs only its
//! language's JSON reader. Plain JSON is not quite YAML. Readers refuse raw control characters
//! (DEL, C1), fold line separators in strings, and read `1e20` as a string in YAML 1.1. This module
//! therefore escapes those characters, writes floats with a point and a signed exponent, and puts a
//! space after each colon and comma.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io;

/// Writes `value` as JSON on one line.
///
/// # Errors
/// The same as [`serde_json::to_vec`]: keys that are not strings, or a failing `Serialize`.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Plain))?;
    Ok(out)
}

struct Plain;

impl Formatter for Plain {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut text = Vec::new();
        CompactFormatter.write_f64(&mut text, value)?;
        let Some(e) = text.iter().position(|byte| *byte == b'e') else {
            return writer.write_all(&text);
        };
        let (mantissa, exponent) = (&text[..e], &text[e + 1..]);
        writer.write_all(mantissa)?;
        if !mantissa.contains(&b'.') {
            writer.write_all(b".0")?;
        }
        writer.write_all(b"e")?;
        if !exponent.starts_with(b"-") && !exponent.starts_with(b"+") {
            writer.write_all(b"+")?;
        }
        writer.write_all(exponent)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, found) in fragment.match_indices(is_unsafe) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            for unit in found.encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
            written = at + found.len();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

/// All of these have one UTF-16 unit: YAML readers do not combine surrogates.
fn is_unsafe(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::to_vec;
    use serde_json::{Value, json};

    fn text(value: &Value) -> String {
        String::from_utf8(to_vec(value).expect("keys are text")).expect("JSON is UTF-8")
    }

    #[test]
    fn only_characters_that_confuse_yaml_readers_are_escaped() {
        let value =
            json!({"a\u{7f}": "\u{85}\u{2028}\u{feff} ä 😀 \n \" \\ \u{1}", "b": [1, null, true]});
        assert_eq!(
            text(&value),
            r#"{"a\u007f": "\u0085\u2028\ufeff ä 😀 \n \" \\ \u0001", "b": [1, null, true]}"#
        );
        assert_eq!(
            serde_json::from_str::<Value>(&text(&value)).expect("JSON"),
            value
        );
    }

    #[test]
    fn floats_have_a_point_and_a_signed_exponent() {
        for (value, expected) in [
            (1e20_f64, "1.0e+20"),
            (1.5e300, "1.5e+300"),
            (-2e-9, "-2.0e-9"),
            (1.0, "1.0"),
            (0.25, "0.25"),
        ] {
            assert_eq!(text(&json!(value)), expected);
            let read: f64 = expected.parse().expect("a float");
            assert_eq!(read.to_bits(), value.to_bits());
        }
    }
}
