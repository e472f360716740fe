//! JSON values as XML, without loss: elements are named after the type of the value, and members of
//! a map carry their key.
//!
//! ```xml
//! <map><string key="templateId">nf/upf</string><list key="deploymentIds"/></map>
//! ```

use crate::printable::printable;
use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use serde_json::Value;
use std::io::{self, Write};

/// The control characters that XML can have, and invisible ones, which programs read unchanged.
const KEPT: [char; 9] = [
    '\t', '\n', '\r', '\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{feff}',
];

/// Writes one value and a line feed.
pub(super) fn write(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::new_with_indent(&mut *out, b' ', 2);
    element(&mut writer, None, value)?;
    writeln!(out)
}

fn element<W: Write>(writer: &mut Writer<W>, key: Option<&str>, value: &Value) -> io::Result<()> {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    };
    let mut start = BytesStart::new(name);
    if let Some(key) = key {
        start.push_attribute(("key", &*printable(key, &KEPT)));
    }
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(printable(text, &KEPT).into_owned()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            writer.write_event(Event::Start(start))?;
            for item in items {
                element(writer, None, item)?;
            }
            return writer.write_event(Event::End(BytesEnd::new(name)));
        }
        Value::Object(map) => {
            writer.write_event(Event::Start(start))?;
            for (key, item) in map {
                element(writer, Some(key), item)?;
            }
            return writer.write_event(Event::End(BytesEnd::new(name)));
        }
    };
    match text {
        None => writer.write_event(Event::Empty(start)),
        Some(text) => {
            writer.write_event(Event::Start(start))?;
            writer.write_event(Event::Text(BytesText::new(&text)))?;
            writer.write_event(Event::End(BytesEnd::new(name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::write;
    use serde_json::json;

    #[test]
    fn types_and_keys_are_kept() {
        let mut out = Vec::new();
        let value = json!({"a<": "x & y", "n": [1, 1.0, null, true], "w": "\u{200b}"});
        write(&value, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        for part in [
            "<string key=\"a&lt;\">x &amp; y</string>",
            "<integer>1</integer>",
            "<float>1.0</float>",
            "<null/>",
            "<boolean>true</boolean>",
            "<string key=\"w\">\u{200b}</string>",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
