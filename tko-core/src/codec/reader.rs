//! Reads CBOR items, and refuses structures that the writer never writes.
//!
//! Stored bytes are not trusted. Each method names the item that it expects, and any other item is
//! a `CodecFault`. So are tags, floats and items of indefinite length: no method expects them.
//! The inner CBOR of a resource is a byte string here, and follows the rules of `crate::encoding`.
//!
//! Memory use stays proportional to the input: texts and byte strings are borrowed from it, and no
//! length reserves memory before its items are read.
//!
//! A fault carries no position. `RowReader::position` gives the start of the item that was read
//! last, which is the item at fault.

use crate::encoding::{Limits, decode_value};
use crate::id::{Key, Kind};
use crate::metadata::Metadata;
use ciborium_ll::{Decoder, Header, simple};
use serde_json::Value;
use std::str::FromStr;

/// The problem with stored bytes; the reader knows its position.
///
/// The text is a clause without position and name; `CodecError::Damaged` adds both.
#[derive(Debug)]
pub struct CodecFault(pub(super) String);

/// Stored bytes, and how far they have been read.
///
/// After a fault the reader must not be used any more: it may be in the middle of an item.
#[derive(Debug)]
pub struct RowReader<'a> {
    /// The bytes that are not yet read.
    rest: &'a [u8],
    /// The number of all bytes, with the version byte; positions count from it.
    size: usize,
    /// The start of the item that was read last.
    start: usize,
    /// The bounds for the CBOR of resources and progress; see `value`.
    limits: &'a Limits,
}

impl<'a> RowReader<'a> {
    /// Creates a reader behind the version byte, which the caller has checked.
    pub(super) fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self {
            rest: bytes.get(1..).unwrap_or_default(),
            size: bytes.len(),
            start: 0,
            limits,
        }
    }

    /// The start of the item that was read last, in bytes from 0.
    ///
    /// Before the first item, it is 0: the version byte.
    pub(super) fn position(&self) -> usize {
        self.start
    }

    /// Refuses bytes after the value; the position is then the first of them.
    pub(super) fn end(&mut self) -> Result<(), CodecFault> {
        self.start = self.size - self.rest.len();
        match self.rest.len() {
            0 => Ok(()),
            more => Err(CodecFault(format!("{more} bytes follow the value"))),
        }
    }

    /// Reads the header of the next item, and makes the item the current position.
    ///
    /// The content of a text or byte string is not read; `take` does that.
    fn header(&mut self) -> Result<Header, CodecFault> {
        self.start = self.size - self.rest.len();
        match Decoder::from(&mut self.rest).pull() {
            Ok(header) => Ok(header),
            Err(ciborium_ll::Error::Io(_)) => Err(CodecFault("the bytes end too early".to_owned())),
            Err(ciborium_ll::Error::Syntax(_)) => Err(CodecFault("not a CBOR item".to_owned())),
        }
    }

    /// Reads this many bytes of content, without copying them.
    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecFault> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(CodecFault("the bytes end too early".to_owned()));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Begins a list of any length, and returns the number of its items.
    ///
    /// The length is no more than the number of bytes left.
    pub(super) fn list(&mut self) -> Result<usize, CodecFault> {
        match self.header()? {
            Header::Array(Some(length)) => self.checked(length),
            _ => Err(CodecFault("a list is expected".to_owned())),
        }
    }

    /// Begins a list that must have this many items.
    pub(super) fn list_of(&mut self, expected: usize) -> Result<(), CodecFault> {
        match self.list()? {
            length if length == expected => Ok(()),
            length => Err(CodecFault(format!(
                "a list of {expected} items is expected, and it has {length}"
            ))),
        }
    }

    /// Reads a list of any length, each item by `read`, in order.
    pub(super) fn items<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecFault>,
    ) -> Result<Vec<T>, CodecFault> {
        // Items are collected as they come: a false length reserves no memory.
        let length = self.list()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Refuses a length that the bytes cannot hold: every item takes one byte or more.
    ///
    /// A false length is detected before the first item, not after many.
    fn checked(&self, length: usize) -> Result<usize, CodecFault> {
        if length > self.rest.len() {
            return Err(CodecFault("the bytes end too early".to_owned()));
        }
        Ok(length)
    }

    /// Reads an integer from 0 to the largest `u64`.
    pub(super) fn unsigned(&mut self) -> Result<u64, CodecFault> {
        match self.header()? {
            Header::Positive(value) => Ok(value),
            _ => Err(CodecFault("a number from 0 is expected".to_owned())),
        }
    }

    /// Reads an unsigned integer that must fit the type `T`, such as `u32` or `usize`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, CodecFault> {
        let value = self.unsigned()?;
        T::try_from(value).map_err(|_| CodecFault(format!("the number {value} is too large")))
    }

    /// Reads the position of a value in `all`, counted from 0, and returns the value.
    ///
    /// Enums are stored this way, so the order of their `ALL` is part of the format.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, CodecFault> {
        let at: usize = self.number()?;
        let found = all.get(at).copied();
        found.ok_or_else(|| CodecFault(format!("the number {at} has no meaning here")))
    }

    /// Reads an integer that fits `i64`.
    ///
    /// CBOR integers can lie outside `i64`; those are refused, not wrapped.
    pub(super) fn signed(&mut self) -> Result<i64, CodecFault> {
        let value = match self.header()? {
            Header::Positive(value) => i64::try_from(value).ok(),
            Header::Negative(inverted) => i64::try_from(inverted).ok().map(|value| !value),
            _ => return Err(CodecFault("a number is expected".to_owned())),
        };
        value.ok_or_else(|| CodecFault("the number does not fit 64 bits".to_owned()))
    }

    /// Reads a boolean.
    pub(super) fn flag(&mut self) -> Result<bool, CodecFault> {
        match self.header()? {
            Header::Simple(simple::TRUE) => Ok(true),
            Header::Simple(simple::FALSE) => Ok(false),
            _ => Err(CodecFault("true or false is expected".to_owned())),
        }
    }

    /// Reads a text, without copying it. Bytes that are not UTF-8 are refused.
    pub(super) fn text(&mut self) -> Result<&'a str, CodecFault> {
        let Header::Text(Some(length)) = self.header()? else {
            return Err(CodecFault("a text is expected".to_owned()));
        };
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| CodecFault("the text is not UTF-8".to_owned()))
    }

    /// Reads a byte string, without copying it.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], CodecFault> {
        let Header::Bytes(Some(length)) = self.header()? else {
            return Err(CodecFault("a byte string is expected".to_owned()));
        };
        self.take(length)
    }

    /// Reads null as `None`, anything else by `read`.
    ///
    /// The first byte decides: no value that the format stores begins with the byte of null.
    pub(super) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecFault>,
    ) -> Result<Option<T>, CodecFault> {
        const NULL: u8 = 0xe0 | simple::NULL;
        if self.rest.first() == Some(&NULL) {
            self.header()?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Reads a byte string that holds the CBOR of one JSON-like value, within the limits.
    ///
    /// A fault within the inner CBOR has the position of the byte string.
    pub(super) fn value(&mut self) -> Result<Value, CodecFault> {
        let bytes = self.bytes()?;
        decode_value(bytes, self.limits).map_err(|error| CodecFault(error.to_string()))
    }

    /// Reads the text of an id, and checks it by the rules of the type `T`.
    pub(super) fn id<T: FromStr<Err = crate::Error>>(&mut self) -> Result<T, CodecFault> {
        self.text()?
            .parse()
            .map_err(|error: crate::Error| CodecFault(error.to_string()))
    }

    /// Reads a list of kind and id. The id must be one of that kind.
    pub(super) fn key(&mut self) -> Result<Key, CodecFault> {
        self.list_of(2)?;
        let kind = self.one_of(&Kind::ALL)?;
        let id = self.text()?;
        Key::new(kind, id).map_err(|error| CodecFault(error.to_string()))
    }

    /// Reads a map of texts as metadata.
    pub(super) fn metadata(&mut self) -> Result<Metadata, CodecFault> {
        Ok(self.map()?.into_iter().collect())
    }

    /// Reads a map of texts, in the order of its keys.
    ///
    /// The keys must ascend strictly by their bytes, so a duplicate key is refused as well.
    pub(super) fn map(&mut self) -> Result<Vec<(&'a str, &'a str)>, CodecFault> {
        let Header::Map(Some(length)) = self.header()? else {
            return Err(CodecFault("a map is expected".to_owned()));
        };
        let length = self.checked(length)?;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for _ in 0..length {
            let key = self.text()?;
            if pairs.last().is_some_and(|(last, _)| *last >= key) {
                return Err(CodecFault("the keys of a map do not ascend".to_owned()));
            }
            pairs.push((key, self.text()?));
        }
        Ok(pairs)
    }
}
