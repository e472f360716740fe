//! Writes CBOR items: the counterpart of the reader.
//!
//! Equal values have equal bytes: lengths are definite, headers are shortest, and maps of texts are
//! written in the order of their keys. Writing cannot fail. The writer does not count items, so the
//! caller must write as many as it announced by `list`.

use crate::encoding::{encode_value, push_header};
use crate::id::Key;
use crate::metadata::Metadata;
use ciborium_ll::{Header, simple};
use serde_json::Value;

/// The bytes written so far.
#[derive(Debug)]
pub struct RowWriter(Vec<u8>);

impl RowWriter {
    /// Begins with the version byte.
    pub(super) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    /// The version byte and all items.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Begins a list of this many items.
    pub(super) fn list(&mut self, length: usize) {
        push_header(&mut self.0, Header::Array(Some(length)));
    }

    /// Writes a non-negative integer.
    pub(super) fn unsigned(&mut self, value: u64) {
        push_header(&mut self.0, Header::Positive(value));
    }

    /// Writes an integer. A non-negative integer has the same bytes as with `unsigned`.
    pub(super) fn signed(&mut self, value: i64) {
        let header = match u64::try_from(value) {
            Ok(value) => Header::Positive(value),
            // CBOR counts negative numbers down from -1, which inverts the bits.
            Err(_) => Header::Negative((!value).unsigned_abs()),
        };
        push_header(&mut self.0, header);
    }

    /// Writes a boolean.
    pub(super) fn flag(&mut self, value: bool) {
        let value = if value { simple::TRUE } else { simple::FALSE };
        push_header(&mut self.0, Header::Simple(value));
    }

    /// Writes a text as UTF-8.
    pub(super) fn text(&mut self, text: &str) {
        push_header(&mut self.0, Header::Text(Some(text.len())));
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes a byte string.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        push_header(&mut self.0, Header::Bytes(Some(bytes.len())));
        self.0.extend_from_slice(bytes);
    }

    /// Writes null, or the value by `write`.
    ///
    /// `write` must write exactly one item, and not null, or the reader loses its position.
    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => push_header(&mut self.0, Header::Simple(simple::NULL)),
        }
    }

    /// Writes JSON-like data as a byte string that holds its CBOR.
    ///
    /// As a byte string, the value is one item, whatever its depth.
    pub(super) fn value(&mut self, value: &Value) {
        self.bytes(&encode_value(value));
    }

    /// Writes a key as a list of kind and id. The kind is its position in `Kind::ALL`.
    pub(super) fn key(&mut self, key: &Key) {
        self.list(2);
        self.unsigned(key.kind() as u64);
        self.text(key.id());
    }

    /// Writes metadata as a map; its iterator gives ascending keys.
    pub(super) fn metadata(&mut self, metadata: &Metadata) {
        self.map(metadata.iter());
    }

    /// Writes a map of texts. The caller gives strictly ascending keys; the reader refuses others.
    pub(super) fn map<'a>(&mut self, pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
        push_header(&mut self.0, Header::Map(Some(pairs.len())));
        for (key, value) in pairs {
            self.text(key);
            self.text(value);
        }
    }
}
