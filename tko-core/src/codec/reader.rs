//! Reads CBOR items, and refuses whatever the writer does not write.

use crate::encoding::{Limits, decode_value};
use crate::id::{Key, Kind};
use crate::metadata::Metadata;
use ciborium_ll::{Decoder, Header, simple};
use serde_json::Value;
use std::str::FromStr;

/// The problem with stored bytes; the reader knows its position.
#[derive(Debug)]
pub struct CodecFault(pub(super) String);

/// Stored bytes, and how far they are read.
#[derive(Debug)]
pub struct RowReader<'a> {
    rest: &'a [u8],
    size: usize,
    /// Where the item that was read last begins.
    start: usize,
    limits: &'a Limits,
}

impl<'a> RowReader<'a> {
    /// Reads what follows the version byte.
    pub(super) fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self {
            rest: bytes.get(1..).unwrap_or_default(),
            size: bytes.len(),
            start: 0,
            limits,
        }
    }

    /// Where the item that was read last begins, in bytes from 0.
    pub(super) fn position(&self) -> usize {
        self.start
    }

    /// Refuses bytes after the value.
    pub(super) fn end(&mut self) -> Result<(), CodecFault> {
        self.start = self.size - self.rest.len();
        match self.rest.len() {
            0 => Ok(()),
            more => Err(CodecFault(format!("{more} bytes follow the value"))),
        }
    }

    fn header(&mut self) -> Result<Header, CodecFault> {
        self.start = self.size - self.rest.len();
        match Decoder::from(&mut self.rest).pull() {
            Ok(header) => Ok(header),
            Err(ciborium_ll::Error::Io(_)) => Err(CodecFault("the bytes end too early".to_owned())),
            Err(ciborium_ll::Error::Syntax(_)) => Err(CodecFault("not a CBOR item".to_owned())),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecFault> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(CodecFault("the bytes end too early".to_owned()));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The length of a list.
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

    /// All items of a list.
    pub(super) fn items<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecFault>,
    ) -> Result<Vec<T>, CodecFault> {
        // Items are collected as they come: a length that lies reserves no memory.
        let length = self.list()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Refuses a length that the bytes cannot hold: every item takes one byte or more.
    fn checked(&self, length: usize) -> Result<usize, CodecFault> {
        if length > self.rest.len() {
            return Err(CodecFault("the bytes end too early".to_owned()));
        }
        Ok(length)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, CodecFault> {
        match self.header()? {
            Header::Positive(value) => Ok(value),
            _ => Err(CodecFault("a number from 0 is expected".to_owned())),
        }
    }

    /// A number that a smaller type takes.
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, CodecFault> {
        let value = self.unsigned()?;
        T::try_from(value).map_err(|_| CodecFault(format!("the number {value} is too large")))
    }

    /// One of these, by its position.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, CodecFault> {
        let at: usize = self.number()?;
        let found = all.get(at).copied();
        found.ok_or_else(|| CodecFault(format!("the number {at} has no meaning here")))
    }

    pub(super) fn signed(&mut self) -> Result<i64, CodecFault> {
        let value = match self.header()? {
            Header::Positive(value) => i64::try_from(value).ok(),
            Header::Negative(inverted) => i64::try_from(inverted).ok().map(|value| !value),
            _ => return Err(CodecFault("a number is expected".to_owned())),
        };
        value.ok_or_else(|| CodecFault("the number does not fit 64 bits".to_owned()))
    }

    pub(super) fn flag(&mut self) -> Result<bool, CodecFault> {
        match self.header()? {
            Header::Simple(simple::TRUE) => Ok(true),
            Header::Simple(simple::FALSE) => Ok(false),
            _ => Err(CodecFault("true or false is expected".to_owned())),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, CodecFault> {
        let Header::Text(Some(length)) = self.header()? else {
            return Err(CodecFault("a text is expected".to_owned()));
        };
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| CodecFault("the text is not UTF-8".to_owned()))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], CodecFault> {
        let Header::Bytes(Some(length)) = self.header()? else {
            return Err(CodecFault("a byte string is expected".to_owned()));
        };
        self.take(length)
    }

    /// Reads null as `None`, anything else by `read`.
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

    /// JSON-like data in a byte string that holds its CBOR.
    pub(super) fn value(&mut self) -> Result<Value, CodecFault> {
        let bytes = self.bytes()?;
        decode_value(bytes, self.limits).map_err(|error| CodecFault(error.to_string()))
    }

    /// An id of any sort.
    pub(super) fn id<T: FromStr<Err = crate::Error>>(&mut self) -> Result<T, CodecFault> {
        self.text()?
            .parse()
            .map_err(|error: crate::Error| CodecFault(error.to_string()))
    }

    pub(super) fn key(&mut self) -> Result<Key, CodecFault> {
        self.list_of(2)?;
        let kind = self.one_of(&Kind::ALL)?;
        let id = self.text()?;
        Key::new(kind, id).map_err(|error| CodecFault(error.to_string()))
    }

    pub(super) fn metadata(&mut self) -> Result<Metadata, CodecFault> {
        Ok(self.map()?.into_iter().collect())
    }

    /// A map of texts with ascending keys.
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
