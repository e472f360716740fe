//! CBOR (RFC 8949). `ciborium-ll` reads and writes headers; this module reads and writes values.
//!
//! Accepted: text, 64-bit integers, floats of all three widths, booleans, null (undefined reads as
//! null), lists and maps of definite and indefinite length, and tags that only describe their
//! value. Everything else is refused, because the data model cannot represent it.

use ciborium_ll::{Decoder, Encoder, Error as HeaderError, Header, simple};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::error::{DecodeError, DecodeFault, InputPlace, Position};
use super::limits::Budget;
use super::{BIG_INTEGER_ADVICE, Decoded, Format, NOT_FINITE_ADVICE};

/// The longest header: one byte for type and size, and eight for a number.
const LONGEST_HEADER: usize = 9;

/// Reads the one value in the bytes.
pub(super) fn read(bytes: &[u8], budget: &mut Budget<'_>) -> Result<Decoded, DecodeError> {
    let mut reader = CborReader {
        rest: bytes,
        size: bytes.len(),
        start: 0,
        item: None,
        budget,
    };
    let read = reader.root();
    let at = InputPlace::new(Format::Cbor).item(reader.item);
    match read {
        Ok(value) => Ok(Decoded { value, at }),
        Err(fault) => Err(fault.at(at.position(Position::Byte(reader.start)))),
    }
}

/// Writes one array of definite length.
pub(super) fn write(values: &[&Value]) -> Vec<u8> {
    let mut out = Vec::new();
    push_header(&mut out, Header::Array(Some(values.len())));
    for value in values {
        write_value(&mut out, value);
    }
    out
}

struct CborReader<'a, 'l> {
    /// The bytes that are not yet read.
    rest: &'a [u8],
    /// The number of bytes in the input.
    size: usize,
    /// The position of the last item that was read; errors refer to it.
    start: usize,
    /// The position of the current item in a top-level list, from 1.
    item: Option<usize>,
    budget: &'a mut Budget<'l>,
}

impl<'a> CborReader<'a, '_> {
    fn root(&mut self) -> Result<Value, DecodeFault> {
        self.budget.document()?;
        let value = match self.content()? {
            Header::Array(length) => {
                self.budget.value()?;
                // The list around a package's resources does not count as a level.
                self.list(length, 0, true)?
            }
            header => self.value(header, 0)?,
        };
        self.item = None;
        if self.rest.is_empty() {
            return Ok(value);
        }
        self.start = self.size - self.rest.len();
        Err(DecodeFault::Malformed(format!(
            "{} bytes follow the value; send one list or one map",
            self.rest.len()
        )))
    }

    /// Reads the value that a header begins, inside `depth` lists and maps.
    fn value(&mut self, header: Header, depth: usize) -> Result<Value, DecodeFault> {
        self.budget.value()?;
        Ok(match header {
            Header::Positive(value) => Value::Number(value.into()),
            Header::Negative(inverted) => match i64::try_from(inverted) {
                Ok(inverted) => Value::Number((!inverted).into()),
                Err(_) => return Err(big_integer()),
            },
            Header::Float(value) => match Number::from_f64(value) {
                Some(number) => Value::Number(number),
                None => {
                    return Err(DecodeFault::Unsupported {
                        problem: format!("number {value} is not finite"),
                        advice: NOT_FINITE_ADVICE,
                    });
                }
            },
            Header::Simple(simple::FALSE) => Value::Bool(false),
            Header::Simple(simple::TRUE) => Value::Bool(true),
            Header::Simple(simple::NULL | simple::UNDEFINED) => Value::Null,
            Header::Simple(number) => {
                return Err(DecodeFault::Unsupported {
                    problem: format!("simple value {number} has no meaning here"),
                    advice: "send a boolean or null",
                });
            }
            Header::Text(length) => Value::String(self.text(length)?),
            Header::Array(length) => {
                self.budget.depth(depth + 1)?;
                self.list(length, depth + 1, false)?
            }
            Header::Map(length) => {
                self.budget.depth(depth + 1)?;
                self.map(length, depth + 1)?
            }
            Header::Bytes(_) => {
                return Err(DecodeFault::Unsupported {
                    problem: "a byte string has no place in a resource".to_owned(),
                    advice: "send it as text, such as base64",
                });
            }
            Header::Break => {
                return Err(DecodeFault::Malformed(
                    "a break where a value should be".to_owned(),
                ));
            }
            Header::Tag(tag) => unreachable!("`content` takes tags off, {tag} too"),
        })
    }

    fn list(
        &mut self,
        length: Option<usize>,
        depth: usize,
        root: bool,
    ) -> Result<Value, DecodeFault> {
        self.expect_items(length)?;
        let mut items = Vec::new();
        while length.is_none_or(|length| items.len() < length) {
            if root {
                self.item = Some(items.len() + 1);
            }
            let header = self.content()?;
            if length.is_none() && header == Header::Break {
                break;
            }
            items.push(self.value(header, depth)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, length: Option<usize>, depth: usize) -> Result<Value, DecodeFault> {
        self.expect_items(length.map(|pairs| pairs.saturating_mul(2)))?;
        let mut map = Map::new();
        while length.is_none_or(|length| map.len() < length) {
            let key = match self.header()? {
                Header::Text(length) => {
                    let start = self.start;
                    let key = self.text(length)?;
                    self.start = start;
                    key
                }
                Header::Break if length.is_none() => break,
                header => {
                    return Err(DecodeFault::Unsupported {
                        problem: format!("a key is {}", kind(header)),
                        advice: "send keys as text",
                    });
                }
            };
            match map.entry(key) {
                Entry::Occupied(entry) => return Err(DecodeFault::duplicate(entry.key())),
                Entry::Vacant(entry) => {
                    let header = self.content()?;
                    entry.insert(self.value(header, depth)?);
                }
            }
        }
        Ok(Value::Object(map))
    }

    fn text(&mut self, length: Option<usize>) -> Result<String, DecodeFault> {
        let Some(length) = length else {
            let mut text = String::new();
            loop {
                match self.header()? {
                    Header::Text(Some(length)) => text.push_str(self.chunk(length)?),
                    Header::Break => return Ok(text),
                    header => {
                        return Err(DecodeFault::Malformed(format!(
                            "text in parts has a part that is {}",
                            kind(header)
                        )));
                    }
                }
            }
        };
        self.chunk(length).map(str::to_owned)
    }

    fn chunk(&mut self, length: usize) -> Result<&'a str, DecodeFault> {
        let Some((chunk, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated());
        };
        let text = std::str::from_utf8(chunk)
            .map_err(|error| DecodeFault::Malformed(format!("text is not UTF-8: {error}")))?;
        self.rest = rest;
        Ok(text)
    }

    /// Reads the next header that is not a tag; skips tags that only describe a value.
    fn content(&mut self) -> Result<Header, DecodeFault> {
        let mut tagged = false;
        loop {
            match self.header()? {
                // Date and time as text or number, URI, base64 text, regular expression, MIME
                // message, calendar date as text, "this is CBOR": the value itself carries all
                // information.
                Header::Tag(0 | 1 | 32..=36 | 1004 | 55_799) => tagged = true,
                Header::Tag(2 | 3) => return Err(big_integer()),
                Header::Tag(tag) => {
                    return Err(DecodeFault::Unsupported {
                        problem: format!("tag {tag} has a meaning that would be lost"),
                        advice: "send the plain value, or text",
                    });
                }
                Header::Break if tagged => {
                    return Err(DecodeFault::Malformed(
                        "a tag stands before no value".to_owned(),
                    ));
                }
                header => return Ok(header),
            }
        }
    }

    fn header(&mut self) -> Result<Header, DecodeFault> {
        self.start = self.size - self.rest.len();
        match Decoder::from(&mut self.rest).pull() {
            Ok(header) => Ok(header),
            Err(HeaderError::Io(_)) => Err(self.truncated()),
            Err(HeaderError::Syntax(_)) => Err(DecodeFault::Malformed(
                "no CBOR item begins with this byte".to_owned(),
            )),
        }
    }

    /// Refuses a length beyond the input at once: every item takes at least one byte.
    fn expect_items(&self, length: Option<usize>) -> Result<(), DecodeFault> {
        if length.is_some_and(|length| length > self.rest.len()) {
            return Err(self.truncated());
        }
        Ok(())
    }

    fn truncated(&self) -> DecodeFault {
        DecodeFault::Malformed(format!(
            "truncated: an item that begins here does not end within the {} bytes given",
            self.size
        ))
    }
}

fn big_integer() -> DecodeFault {
    DecodeFault::Unsupported {
        problem: "an integer has more than 64 bits".to_owned(),
        advice: BIG_INTEGER_ADVICE,
    }
}

/// The name of an item's type, for messages.
fn kind(header: Header) -> &'static str {
    match header {
        Header::Positive(_) | Header::Negative(_) => "an integer",
        Header::Float(_) => "a float",
        Header::Simple(simple::FALSE | simple::TRUE) => "a boolean",
        Header::Simple(simple::NULL) => "null",
        Header::Simple(_) => "a simple value",
        Header::Tag(_) => "tagged",
        Header::Break => "a break",
        Header::Bytes(_) => "a byte string",
        Header::Text(_) => "text",
        Header::Array(_) => "a list",
        Header::Map(_) => "a map",
    }
}

pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => push_header(out, Header::Simple(simple::NULL)),
        Value::Bool(false) => push_header(out, Header::Simple(simple::FALSE)),
        Value::Bool(true) => push_header(out, Header::Simple(simple::TRUE)),
        Value::Number(number) => push_header(out, number_header(number)),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            push_header(out, Header::Array(Some(items.len())));
            for item in items {
                write_value(out, item);
            }
        }
        Value::Object(map) => {
            push_header(out, Header::Map(Some(map.len())));
            for (key, value) in map {
                write_text(out, key);
                write_value(out, value);
            }
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    push_header(out, Header::Text(Some(text.len())));
    out.extend_from_slice(text.as_bytes());
}

fn number_header(number: &Number) -> Header {
    if let Some(value) = number.as_u64() {
        Header::Positive(value)
    } else if let Some(value) = number.as_i64() {
        // Negative, because larger numbers are `u64`. CBOR counts down from -1, which inverts the
        // bits.
        Header::Negative((!value).unsigned_abs())
    } else {
        Header::Float(
            number
                .as_f64()
                .expect("every JSON number is one of the three"),
        )
    }
}

pub(crate) fn push_header(out: &mut Vec<u8>, header: Header) {
    let mut buffer = [0; LONGEST_HEADER];
    let mut rest = &mut buffer[..];
    Encoder::from(&mut rest)
        .push(header)
        .expect("a header fits its longest form");
    let length = LONGEST_HEADER - rest.len();
    out.extend_from_slice(&buffer[..length]);
}
