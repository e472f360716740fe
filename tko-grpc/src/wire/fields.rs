//! Reads and writes messages field by field, in the encoding of
//! <https://protobuf.dev/programming-guides/encoding/>. Avoids intermediate values for entities, which
//! are most of the traffic.

use bytes::{BufMut, BytesMut};
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint,
    encoded_len_varint, skip_field,
};
use tko_core::{Error, Result};

/// Writes the fields of one message.
pub(super) struct FieldWriter<'a>(pub(super) &'a mut BytesMut);

impl FieldWriter<'_> {
    pub(super) fn number(&mut self, tag: u32, number: u64) {
        encode_key(tag, WireType::Varint, self.0);
        encode_varint(number, self.0);
    }

    /// Writes a flag; `false` is the default and is left out.
    pub(super) fn flag(&mut self, tag: u32, flag: bool) {
        if flag {
            self.number(tag, 1);
        }
    }

    pub(super) fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint(bytes.len() as u64, self.0);
        self.0.put_slice(bytes);
    }

    pub(super) fn text(&mut self, tag: u32, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    /// Writes a generated message.
    pub(super) fn whole(&mut self, tag: u32, message: &impl Message) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint(message.encoded_len() as u64, self.0);
        message.encode_raw(self.0);
    }

    /// Writes a message with the fields that `write` adds.
    ///
    /// Reserves one byte for the length, which is enough for most messages, and moves the content
    /// of longer ones.
    pub(super) fn message(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        let start = self.0.len();
        self.0.put_u8(0);
        write(self);
        let length = self.0.len() - start - 1;
        let more = encoded_len_varint(length as u64) - 1;
        if more > 0 {
            self.0.put_bytes(0, more);
            let content = start + 1..start + 1 + length;
            self.0.copy_within(content, start + 1 + more);
        }
        encode_varint(length as u64, &mut &mut self.0[start..=start + more]);
    }
}

/// Reads the fields of one message in order. Ends after the first error.
pub(super) struct FieldReader<'a>(pub(super) &'a [u8]);

/// One field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) tag: u32,
    value: FieldValue<'a>,
}

#[derive(Clone, Copy)]
enum FieldValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A wire type that TKO's messages do not use.
    Other,
}

impl<'a> FieldReader<'a> {
    fn field(&mut self) -> Result<Field<'a>> {
        let (tag, wire) = decode_key(&mut self.0).map_err(garbled)?;
        let value = match wire {
            WireType::Varint => FieldValue::Number(decode_varint(&mut self.0).map_err(garbled)?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).map_err(garbled)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let parts = self.0.split_at_checked(length);
                let (bytes, rest) = parts.ok_or_else(|| garbled("a field is truncated"))?;
                self.0 = rest;
                FieldValue::Bytes(bytes)
            }
            other => {
                skip_field(other, tag, &mut self.0, DecodeContext::default()).map_err(garbled)?;
                FieldValue::Other
            }
        };
        Ok(Field { tag, value })
    }
}

impl<'a> Iterator for FieldReader<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    fn wrong_type(self) -> Error {
        garbled(format!("field {} has an unexpected type", self.tag))
    }

    pub(super) fn number(self) -> Result<u64> {
        match self.value {
            FieldValue::Number(number) => Ok(number),
            _ => Err(self.wrong_type()),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        match self.value {
            FieldValue::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type()),
        }
    }

    pub(super) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(garbled)
    }

    /// The fields of an embedded message.
    pub(super) fn fields(self) -> Result<FieldReader<'a>> {
        self.bytes().map(FieldReader)
    }

    /// Decodes an embedded generated message.
    pub(super) fn whole<M: Message + Default>(self) -> Result<M> {
        M::decode(self.bytes()?).map_err(garbled)
    }
}

fn garbled(why: impl std::fmt::Display) -> Error {
    Error::bad("message", format!("invalid encoding: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{FieldReader, FieldWriter};
    use bytes::BytesMut;

    #[test]
    fn messages_of_any_length_survive_a_round_trip() {
        for length in [0, 1, 125, 126, 127, 128, 16_380, 16_383, 16_384, 100_000] {
            let text = "x".repeat(length);
            let mut buffer = BytesMut::from(&b"before"[..]);
            FieldWriter(&mut buffer).message(1, |inner| {
                inner.number(15, u64::MAX);
                inner.message(16, |inmost| inmost.text(3, &text));
            });
            FieldWriter(&mut buffer).flag(2, true);
            let rest = buffer.strip_prefix(b"before").expect("it stays");
            let fields: Vec<_> = FieldReader(rest).collect::<Result<_, _>>().expect("sound");
            let [message, flag] = fields[..] else {
                panic!("{} fields", fields.len());
            };
            assert_eq!((flag.tag, flag.number().ok()), (2, Some(1)));
            let inner: Vec<_> = message.fields().expect("one").map(Result::unwrap).collect();
            assert_eq!((inner[0].tag, inner[0].number().ok()), (15, Some(u64::MAX)));
            let inmost = inner[1].fields().expect("one").next().expect("one");
            assert_eq!(inmost.and_then(super::Field::text).ok(), Some(&*text));
        }
    }

    #[test]
    fn truncated_and_mistyped_fields_are_refused_and_unknown_ones_skipped() {
        let mut buffer = BytesMut::new();
        FieldWriter(&mut buffer).text(1, "ü");
        FieldWriter(&mut buffer).number(300, 1 << 40);
        for end in 1..buffer.len() {
            let read: Result<Vec<_>, _> = FieldReader(&buffer[..end]).collect();
            // Ends after a complete field, which is a valid message.
            assert_eq!(read.is_ok(), end == 4, "{end}");
        }
        let fields: Vec<_> = FieldReader(&buffer)
            .collect::<Result<_, _>>()
            .expect("sound");
        assert!(fields[0].number().is_err() && fields[1].text().is_err());
        // Groups and numbers of fixed length, then an ordinary field.
        let odd = [
            &[0x0b, 0x10, 0x05, 0x0c][..],
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1d, 1, 2, 3, 4],
            &[0x20, 7],
        ];
        let odd = odd.concat();
        let fields: Vec<_> = FieldReader(&odd).collect::<Result<_, _>>().expect("sound");
        assert!(fields[..3].iter().all(|f| f.number().is_err()));
        assert_eq!(fields[3].number().ok(), Some(7));
        for bad in [
            &[0x0b][..],
            &[0x0f, 0],
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            &[0x08, 0x80],
            &[0x00, 0x00],
        ] {
            let mut fields = FieldReader(bad);
            assert!(fields.next().is_some_and(|field| field.is_err()), "{bad:?}");
            assert!(fields.next().is_none(), "{bad:?}");
        }
        let invalid = FieldReader(&[0x0a, 1, 0xff]).next().expect("one");
        assert!(invalid.and_then(super::Field::text).is_err());
    }
}
