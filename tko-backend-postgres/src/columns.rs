//! Sequential decoding of the columns of a row, in the binary format of PostgreSQL.
//!
//! Rows come from a query, or from `COPY`.

use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row as _, ValueRef};
use tko_core::Metadata;

/// The header of binary `COPY`, sent in one message with the first row. It has a signature, flags,
/// and the length of an extension; neither flags nor extensions are in use.
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format")
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The trailer of binary `COPY`: it replaces the number of columns.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Whether a message of `COPY` contains a row, and not only the header or the trailer.
pub(crate) fn is_row(message: &[u8]) -> bool {
    let row = row(message);
    !row.is_empty() && row != TRAILER
}

fn row(message: &[u8]) -> &[u8] {
    message.strip_prefix(HEADER).unwrap_or(message)
}

/// The columns of a row that are still to be decoded.
pub(crate) struct RowColumns<'a>(ColumnSource<'a>);

enum ColumnSource<'a> {
    Of(&'a PgRow, usize),
    Copied(&'a [u8]),
}

impl<'a> RowColumns<'a> {
    /// The columns of a row from this position on.
    ///
    /// Types are not checked for each row: the statement determines them.
    pub(crate) fn of(row: &'a PgRow, first: usize) -> Self {
        Self(ColumnSource::Of(row, first))
    }

    /// The columns of a row that `COPY` sent in one message.
    pub(crate) fn copied(message: &'a [u8]) -> Result<Self, Error> {
        let (_count, columns) = row(message)
            .split_at_checked(2)
            .ok_or_else(|| broken("a truncated row"))?;
        Ok(Self(ColumnSource::Copied(columns)))
    }

    /// Returns the bytes of the next column.
    fn bytes(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match &mut self.0 {
            ColumnSource::Of(row, next) => {
                let value = row.try_get_raw(*next)?;
                *next += 1;
                if value.is_null() {
                    return Ok(None);
                }
                value.as_bytes().map(Some).map_err(Error::Decode)
            }
            ColumnSource::Copied(left) => {
                let (length, rest) = left
                    .split_first_chunk()
                    .ok_or_else(|| broken("too few columns"))?;
                let (value, rest) = match i32::from_be_bytes(*length) {
                    -1 => (None, rest),
                    length => {
                        let length = usize::try_from(length).ok();
                        let parts = length.and_then(|length| rest.split_at_checked(length));
                        let (value, rest) = parts.ok_or_else(|| broken("a truncated column"))?;
                        (Some(value), rest)
                    }
                };
                *left = rest;
                Ok(value)
            }
        }
    }

    /// Decodes the next column, which may be NULL.
    pub(crate) fn optional<T: ColumnValue<'a>>(&mut self) -> Result<Option<T>, Error> {
        self.bytes()?.map(T::decode).transpose()
    }

    /// Decodes the next column.
    pub(crate) fn next<T: ColumnValue<'a>>(&mut self) -> Result<T, Error> {
        let value = self.bytes()?.ok_or_else(|| broken("NULL"))?;
        T::decode(value)
    }

    /// Decodes the next column as JSON; it may be NULL.
    pub(crate) fn json<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, Error> {
        let json = self.optional::<&str>()?.map(serde_json::from_str);
        json.transpose()
            .map_err(|error| Error::Decode(error.into()))
    }
}

fn broken(what: &str) -> Error {
    Error::Decode(format!("{what} where a value is expected").into())
}

/// A value in the binary format of PostgreSQL.
pub(crate) trait ColumnValue<'a>: Sized {
    /// Decodes all bytes of a column.
    fn decode(bytes: &'a [u8]) -> Result<Self, Error>;
}

impl<'a> ColumnValue<'a> for &'a [u8] {
    fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        Ok(bytes)
    }
}

impl<'a> ColumnValue<'a> for &'a str {
    fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        std::str::from_utf8(bytes).map_err(|error| Error::Decode(error.into()))
    }
}

/// Metadata is stored as lines.
impl ColumnValue<'_> for Metadata {
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let lines = ColumnValue::decode(bytes)?;
        Self::from_lines(lines).map_err(|error| Error::Decode(error.into()))
    }
}

impl ColumnValue<'_> for bool {
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(broken("no boolean")),
        }
    }
}

impl<const SIZE: usize> ColumnValue<'_> for [u8; SIZE] {
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map_err(|_| broken("bytes of another size"))
    }
}

macro_rules! number {
    ($($number:ty),*) => { $(
        impl ColumnValue<'_> for $number {
            fn decode(bytes: &[u8]) -> Result<Self, Error> {
                ColumnValue::decode(bytes).map(Self::from_be_bytes)
            }
        }
    )* };
}
number!(i16, i32, i64);

#[cfg(test)]
mod tests {
    use super::{HEADER, RowColumns, is_row};
    use tko_core::Metadata;

    /// A row with these columns, in the format of `COPY`.
    fn row(columns: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = i16::try_from(columns.len())
            .expect("few")
            .to_be_bytes()
            .to_vec();
        for column in columns {
            let length = column.map_or(-1, |column| i32::try_from(column.len()).expect("short"));
            row.extend(length.to_be_bytes());
            row.extend(column.unwrap_or_default());
        }
        row
    }

    #[test]
    fn a_copied_row_is_decoded_column_by_column() {
        let of = row(&[
            Some(&7_i64.to_be_bytes()),
            None,
            Some(b"\x01"),
            Some("é".as_bytes()),
            Some(b"a\t1\nb\t"),
        ]);
        for message in [of.clone(), [HEADER, &of].concat()] {
            assert!(is_row(&message));
            let mut columns = RowColumns::copied(&message).expect("whole");
            assert_eq!(columns.next::<i64>().expect("a number"), 7);
            assert_eq!(columns.optional::<&str>().expect("NULL"), None);
            assert!(columns.next::<bool>().expect("a boolean"));
            assert_eq!(columns.next::<&str>().expect("a text"), "é");
            let metadata: Metadata = columns.next().expect("lines");
            assert!(metadata.iter().eq([("a", "1"), ("b", "")]));
            assert!(columns.optional::<&[u8]>().is_err(), "there are no more");
        }
        for none in [
            &b""[..],
            &b"\xff\xff"[..],
            HEADER,
            &[HEADER, b"\xff\xff"].concat(),
        ] {
            assert!(!is_row(none));
        }
    }

    #[test]
    fn truncated_rows_and_wrong_types_are_errors() {
        let whole = row(&[Some(&7_i64.to_be_bytes()), Some(b"text")]);
        for end in 1..whole.len() {
            let columns = RowColumns::copied(&whole[..end]);
            let read = columns.and_then(|mut columns| {
                columns.next::<i64>()?;
                columns.next::<&str>().map(str::len)
            });
            assert!(read.is_err(), "{end} bytes");
        }
        let of = |bytes: &'static [u8]| {
            let row: &'static [u8] = row(&[Some(bytes)]).leak();
            RowColumns::copied(row).expect("whole")
        };
        assert!(of(b"1234").next::<i64>().is_err());
        assert!(of(b"\x02").next::<bool>().is_err());
        assert!(of(b"\xff").next::<&str>().is_err());
        assert!(of(b"{").json::<u32>().is_err());
        assert!(of(b"no tab").next::<Metadata>().is_err());
        let negative = [&1_i16.to_be_bytes()[..], &(-2_i32).to_be_bytes()].concat();
        let mut columns = RowColumns::copied(&negative).expect("whole");
        assert!(columns.optional::<&[u8]>().is_err());
    }
}
