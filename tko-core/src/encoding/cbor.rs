//! CBOR (RFC 8949). `ciborium-ll` reads and writes headers; this module reads and writes values.
//!
//! The reader accepts text, 64-bit integers, floats of all three widths, booleans, and null
//! (undefined reads as null). It also accepts lists and maps of definite and indefinite length, and
//! tags that only describe their value. Everything else is refused, because the data model cannot
//! represent it.
//!
//! Invariants:
//! - memory grows with the bytes that were read, never with a length that a header only announces;
//! - the input is exactly one value, so bytes after it are an error;
//! - written lengths are definite, and numbers take the shortest form that keeps their value;
//! - the order of keys is kept in both directions.
//!
//! Every error gives the byte, from 0, at which the last item that was read begins. If bytes follow
//! the value, it gives the first of them.

use ciborium_ll::{Decoder, Encoder, Error as HeaderError, Header, simple};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::error::{DecodeError, DecodeFault, InputPlace, Position};
use super::limits::Budget;
use super::{BIG_INTEGER_ADVICE, Decoded, Format, NOT_FINITE_ADVICE};

/// The longest header: one byte for type and size, and eight for a number.
const LONGEST_HEADER: usize = 9;

/// Reads the one value in the bytes.
///
/// A top-level list is the package: it does not count as a level, and errors name its item.
///
/// # Errors
/// - `Malformed`: the input is truncated, is not CBOR, has invalid UTF-8, or has bytes after the
///   value.
/// - `DuplicateKey`: a map has a key twice.
/// - `Unsupported`: a byte string, a tag, a simple value, a key or a number has no equivalent in
///   the data model.
/// - `LimitExceeded`: the budget is used up, or the value is nested too deeply.
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
///
/// The values are its items, in order. No values give an empty array.
pub(super) fn write(values: &[&Value]) -> Vec<u8> {
    let mut out = Vec::new();
    push_header(&mut out, Header::Array(Some(values.len())));
    for value in values {
        write_value(&mut out, value);
    }
    out
}

/// Reads values from bytes in memory.
///
/// Its methods return faults without a place; [`read`] adds the place from `start` and `item`.
struct CborReader<'a, 'l> {
    /// The bytes that are not yet read.
    rest: &'a [u8],
    /// The number of bytes in the input.
    size: usize,
    /// The position of the last item that was read; errors refer to it.
    start: usize,
    /// The position of the current item in a top-level list, from 1.
    item: Option<usize>,
    /// The limits, and the part of them that this read has used so far.
    budget: &'a mut Budget<'l>,
}

impl<'a> CborReader<'a, '_> {
    /// Reads the whole input as one value, which counts as one document.
    ///
    /// Errors after the value refer to the first byte that follows it.
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
    ///
    /// Counts the value, and checks the level of a list or map before its content is read. Integers
    /// range from -2^63 to 2^64 - 1. Undefined becomes null.
    ///
    /// # Errors
    /// - `Unsupported`: a negative integer below -2^63, an infinity or NaN, another simple value,
    ///   or a byte string.
    /// - `Malformed`: a break, which only ends lists, maps and texts of indefinite length.
    /// - The errors of the content.
    ///
    /// # Panics
    /// If the header is a tag. `content`, which reads every header that is passed here, removes
    /// tags.
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

    /// Reads the items of a list; `length` is `None` if a break ends it.
    ///
    /// `depth` includes this list, unless it is the top-level one. `root` marks the top-level list,
    /// whose item numbers become part of the place of errors.
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

    /// Reads the pairs of a map; `length` counts pairs, and is `None` if a break ends the map.
    ///
    /// `depth` includes this map. Keys must be text without a tag: even a tag that only describes
    /// its value is refused here. A break between a key and its value is `Malformed`.
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

    /// Reads the content of a text; `length` is in bytes, and is `None` for a text in parts.
    ///
    /// Each part must be a text of definite length, and valid UTF-8 by itself, as RFC 8949
    /// requires.
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

    /// Takes `length` bytes of text from the input, without copying them.
    ///
    /// # Errors
    /// `Malformed`: the input is shorter, or the bytes are not UTF-8.
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
    ///
    /// A break is returned like any other header, unless a tag precedes it. The caller decides
    /// whether it may end something here.
    ///
    /// # Errors
    /// - `Unsupported`: a tag that changes the meaning of its value, such as a big integer.
    /// - `Malformed`: a tag without a value, or as for `header`.
    fn content(&mut self) -> Result<Header, DecodeFault> {
        let mut tagged = false;
        loop {
            match self.header()? {
                // Date and time as text or number, URI, base64 text, regular expression, MIME
                // message, calendar date as text, "this is CBOR". The value itself carries all
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
                    return Err(DecodeFault::Malformed("a tag has no value".to_owned()));
                }
                header => return Ok(header),
            }
        }
    }

    /// Reads one header, tags included, and moves `start` to its first byte.
    ///
    /// # Errors
    /// `Malformed`: the input ends within the header, or no CBOR item begins with this byte.
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
    ///
    /// A short input that announces billions of items therefore fails before they are read. Maps
    /// pass twice their number of pairs. Indefinite lengths always pass.
    fn expect_items(&self, length: Option<usize>) -> Result<(), DecodeFault> {
        if length.is_some_and(|length| length > self.rest.len()) {
            return Err(self.truncated());
        }
        Ok(())
    }

    /// The error for an input that ends within the item at `start`.
    fn truncated(&self) -> DecodeFault {
        DecodeFault::Malformed(format!(
            "truncated: an item that begins here does not end within the {} bytes given",
            self.size
        ))
    }
}

/// The error for an integer that fits neither `i64` nor `u64`, tagged or plain.
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

/// Appends a value of any type, with definite lengths and with keys in their order.
///
/// This recurses once for each level. Values from the readers of this crate are at most
/// [`MAX_DEPTH`](super::MAX_DEPTH) levels deep, below the top-level list.
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

/// Appends a text or key, as one part.
fn write_text(out: &mut Vec<u8>, text: &str) {
    push_header(out, Header::Text(Some(text.len())));
    out.extend_from_slice(text.as_bytes());
}

/// The header of a number, which is all of its encoding: an unsigned or negative integer, or a
/// float.
///
/// The type is kept: `1.0` stays a float, although the integer 1 would be shorter.
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

/// Appends one header, in its shortest form.
///
/// The storage codec also uses this, to write the frames around its values.
pub(crate) fn push_header(out: &mut Vec<u8>, header: Header) {
    let mut buffer = [0; LONGEST_HEADER];
    let mut rest = &mut buffer[..];
    Encoder::from(&mut rest)
        .push(header)
        .expect("a header fits its longest form");
    let length = LONGEST_HEADER - rest.len();
    out.extend_from_slice(&buffer[..length]);
}
