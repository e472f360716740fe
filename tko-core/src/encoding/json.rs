//! JSON, by `serde_json`. This module adds duplicate keys, limits, and integers that no integer
//! type holds. As in `serde_json`, `-0` is the float `-0.0`.
//!
//! `serde_json` alone would keep the last of two equal keys, and would read an integer of 30 digits
//! as a float. Here both are errors, because each loses data without notice.
//!
//! Visitors report problems in two steps. They store the fault in `JsonRead` and return a
//! placeholder error, to which `serde_json` adds the line and column. `explain` then joins the two.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::error::{DecodeError, DecodeFault, InputPlace, Position, quoted};
use super::limits::Budget;
use super::{BIG_INTEGER_ADVICE, Decoded, Dialect, Format, NOT_FINITE_ADVICE};

/// Reads the values of a JSON text: at most one, or in the people's dialect any number in sequence.
///
/// A text of nothing but whitespace has no values. A byte order mark is skipped, and positions do
/// not count it.
///
/// # Errors
/// - `Malformed`: the text is not JSON, or a program sent more than one value.
/// - `DuplicateKey`: a map has a key twice.
/// - `Unsupported`: a number is not finite, or an integer has more than 64 bits.
/// - `LimitExceeded`: the budget is used up, or the value is nested too deeply.
pub(super) fn read(
    text: &str,
    dialect: Dialect,
    budget: &mut Budget<'_>,
) -> Result<Vec<Decoded>, DecodeError> {
    // Some editors write a byte order mark, which is not part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let reading = JsonRead {
        budget: RefCell::new(budget),
        fault: RefCell::new(None),
        item: Cell::new(None),
        vast: Cell::new(false),
    };
    let mut values = Vec::new();
    // The byte at which the text of the next value begins.
    let mut from = 0;
    loop {
        // Each value has its own reader, because a reader scans all that is before a position to
        // find its line and column.
        let mut input = serde_json::Deserializer::from_str(&text[from..]);
        let Err(more) = input.end() else {
            break;
        };
        let document = values.len() + 1;
        let at = InputPlace::new(Format::Json).document(document);
        reading.item.set(None);
        let root = if document > 1 && dialect == Dialect::Programs {
            Err(more)
        } else {
            reading
                .document()
                .and_then(|()| Node::root(&reading).deserialize(&mut input))
        };
        let value = root.map_err(|error| reading.explain(text, from, at.clone(), &error))?;
        values.push(Decoded { value, at });
        match input.end() {
            Ok(()) => break,
            Err(next) => from += byte_offset(&text[from..], next.line(), next.column()),
        }
    }
    if reading.vast.get()
        && let Some((start, literal)) = vast_integer(text)
    {
        let at = InputPlace::new(Format::Json).position(Position::in_text(text, start));
        return Err(DecodeFault::Unsupported {
            problem: format!("integer {} has more than 64 bits", quoted(literal)),
            advice: BIG_INTEGER_ADVICE,
        }
        .at(at));
    }
    Ok(values)
}

/// Writes one array on one line.
///
/// Keys keep their order, and there is no whitespace between tokens. No values give `[]`.
pub(super) fn write<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut out, value)
            .expect("memory takes every byte, and the keys of a `Value` are text");
    }
    out.push(b']');
    out
}

/// The state that all visitors of one read share.
///
/// It has interior mutability, because the visitors of a list or map and of its content hold it at
/// the same time.
struct JsonRead<'a, 'b> {
    /// The limits, and the part of them that this read has used so far.
    budget: RefCell<&'a mut Budget<'b>>,
    /// The problem that a visitor found; serde's own error carries only text.
    fault: RefCell<Option<DecodeFault>>,
    /// The position of the current item in a top-level array.
    ///
    /// It counts from 1, and is reset before each value of a sequence.
    item: Cell<Option<usize>>,
    /// Whether a float was read that may be an integer with too many digits.
    ///
    /// The text is searched for such an integer only after it is read, and only if this is set.
    vast: Cell<bool>,
}

impl JsonRead<'_, '_> {
    /// Counts one value of a sequence as a document.
    fn document(&self) -> Result<(), serde_json::Error> {
        self.accept(self.budget.borrow_mut().document())
    }

    /// Counts one value.
    fn value<E: Error>(&self) -> Result<(), E> {
        self.accept(self.budget.borrow_mut().value())
    }

    /// Checks the level of a list or map, from 1 in each resource.
    fn depth<E: Error>(&self, level: usize) -> Result<(), E> {
        self.accept(self.budget.borrow().depth(level))
    }

    /// Converts the fault of a limit, if there is one, as `refuse` does.
    fn accept<E: Error>(&self, counted: Result<(), DecodeFault>) -> Result<(), E> {
        counted.map_err(|fault| self.refuse(fault))
    }

    /// Stores a fault for `explain`, and returns an error that ends the read.
    ///
    /// The text of the returned error is never shown.
    fn refuse<E: Error>(&self, fault: DecodeFault) -> E {
        self.fault.replace(Some(fault));
        E::custom("refused")
    }

    /// Converts an error of `serde_json` to an error with a place, or returns the stored fault with
    /// it.
    ///
    /// `text` is the whole input, `from` is the byte at which the reader began, and `at` has the
    /// document. A word such as `NaN` is not JSON, but gets the advice for numbers that are not
    /// finite. Everything else is `Malformed`, with the parser's message.
    fn explain(
        &self,
        text: &str,
        from: usize,
        at: InputPlace,
        error: &serde_json::Error,
    ) -> DecodeError {
        let byte = from + byte_offset(&text[from..], error.line(), error.column());
        let at = at
            .item(self.item.get())
            .position(Position::in_text(text, byte));
        if let Some(fault) = self.fault.take() {
            return fault.at(at);
        }
        let rest = text.get(byte..).unwrap_or_default().trim_start_matches('-');
        if ["NaN", "Infinity", "inf", "nan"]
            .iter()
            .any(|word| rest.starts_with(word))
        {
            return DecodeFault::Unsupported {
                problem: "a number is not finite".to_owned(),
                advice: NOT_FINITE_ADVICE,
            }
            .at(at);
        }
        // The message ends with the position, which the place already gives.
        let problem = error.to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default();
        DecodeFault::Malformed(problem.to_owned()).at(at)
    }
}

/// A value at some depth. As a seed it reads a value; as a visitor it receives one.
///
/// It is passed down through lists and maps, because the reader of `Value` in `serde_json` neither
/// counts values nor refuses duplicate keys.
struct Node<'r, 'a, 'b> {
    reading: &'r JsonRead<'a, 'b>,
    /// The number of enclosing lists and maps in the same resource.
    depth: usize,
    /// Whether the value is outermost: a list here is the package, so it is not a level.
    root: bool,
}

impl<'r, 'a, 'b> Node<'r, 'a, 'b> {
    /// The seed for a value of the sequence, outside all lists and maps.
    fn root(reading: &'r JsonRead<'a, 'b>) -> Self {
        Self {
            reading,
            depth: 0,
            root: true,
        }
    }

    /// The seed for an item of a list or a value of a map, at this depth.
    fn child(&self, depth: usize) -> Self {
        Self {
            reading: self.reading,
            depth,
            root: false,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_, '_> {
    type Value = Value;

    /// Reads one value of any type.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_, '_> {
    type Value = Value;

    /// Completes messages of `serde_json` about a value that it did not expect.
    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    /// Receives null.
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.reading.value()?;
        Ok(Value::Null)
    }

    /// Receives a boolean.
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.reading.value()?;
        Ok(Value::Bool(value))
    }

    /// Receives an integer below 0; others arrive as `u64`.
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.reading.value()?;
        Ok(Value::Number(value.into()))
    }

    /// Receives an integer from 0 to 2^64 - 1.
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.reading.value()?;
        Ok(Value::Number(value.into()))
    }

    /// Receives a float, or an integer that fits neither `i64` nor `u64`.
    ///
    /// Large values set `vast`, because the visitor cannot tell the two apart.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // 2^63: integers below it are read as integers.
        const LARGEST: f64 = 9_223_372_036_854_775_808.0;
        self.reading.value()?;
        if value.abs() >= LARGEST {
            self.reading.vast.set(true);
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    /// Receives text that `serde_json` only lends, and copies it.
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    /// Receives text, which counts as one value of any length.
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.reading.value()?;
        Ok(Value::String(value))
    }

    /// Reads a list. If it is outermost, it keeps the number of the current item for the place of
    /// errors.
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.reading.value()?;
        // The list around a package's resources does not count as a level.
        let depth = if self.root { 0 } else { self.depth + 1 };
        self.reading.depth(depth)?;
        let mut items = Vec::new();
        loop {
            if self.root {
                self.reading.item.set(Some(items.len() + 1));
            }
            match access.next_element_seed(self.child(depth))? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    /// Reads a map, keeps the order of its keys, and refuses a repeated key before its value is
    /// read.
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.reading.value()?;
        self.reading.depth(self.depth + 1)?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match map.entry(key) {
                Entry::Occupied(entry) => {
                    return Err(self.reading.refuse(DecodeFault::duplicate(entry.key())));
                }
                Entry::Vacant(entry) => {
                    entry.insert(access.next_value_seed(self.child(self.depth + 1))?);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// The byte that an error of `serde_json` refers to. Lines and bytes count from 1; byte 0 is before
/// the first.
///
/// The result is an index into `text`, at most its length. Columns of `serde_json` count bytes,
/// whereas a [`Position`] counts characters, so the caller converts the result.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text[start..].find('\n') {
            Some(end) => start += end + 1,
            None => break,
        }
    }
    (start + column.saturating_sub(1)).min(text.len())
}

/// The first integer of a JSON text that fits neither `i64` nor `u64`, and its position.
///
/// `serde_json` reads such an integer as a float. This function finds it in text that is known to
/// be well-formed; it runs only if a float of that size was read.
///
/// Texts are skipped with their escapes, so that digits within them do not count. A number with a
/// point or an exponent is a float, however large. The position is a byte from 0.
fn vast_integer(text: &str) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|&b| b != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .count();
                let literal = &text[at..at + length];
                let integer = !literal.contains(['.', 'e', 'E']);
                // `-0` fits an integer type, but not as text.
                if integer && literal.parse::<i64>().is_err() && literal.parse::<u64>().is_err() {
                    return Some((at, literal));
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}
