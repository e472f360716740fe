//! The columns of a row, one after the other, as PostgreSQL sends them in binary: those of a
//! statement, or those of COPY.

use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row as _, ValueRef};
use tko_core::Metadata;

/// How what COPY sends in binary begins, in one message with the first row: a signature, flags, and
/// the length of what follows them; neither is used.
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format")
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// In the place of a number of columns, at the end.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Whether a message of COPY is a row, not the header or the end alone.
pub(crate) fn is_row(message: &[u8]) -> bool {
    let row = row(message);
    !row.is_empty() && row != TRAILER
}

fn row(message: &[u8]) -> &[u8] {
    message.strip_prefix(HEADER).unwrap_or(message)
}

/// What is left of a row.
pub(crate) struct Columns<'a>(Left<'a>);

enum Left<'a> {
    Of(&'a PgRow, usize),
    Copied(&'a [u8]),
}

impl<'a> Columns<'a> {
    /// From this one on. Their types are what the statement says: they are not held against it for
    /// each row.
    pub(crate) fn of(row: &'a PgRow, first: usize) -> Self {
        Self(Left::Of(row, first))
    }

    /// Those of a row that COPY has sent in one message.
    pub(crate) fn copied(message: &'a [u8]) -> Result<Self, Error> {
        let (_count, columns) = row(message)
            .split_at_checked(2)
            .ok_or_else(|| broken("half a row"))?;
        Ok(Self(Left::Copied(columns)))
    }

    /// The next one, as it is sent.
    fn bytes(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match &mut self.0 {
            Left::Of(row, next) => {
                let value = row.try_get_raw(*next)?;
                *next += 1;
                if value.is_null() {
                    return Ok(None);
                }
                value.as_bytes().map(Some).map_err(Error::Decode)
            }
            Left::Copied(left) => {
                let (length, rest) = left
                    .split_first_chunk()
                    .ok_or_else(|| broken("too few columns"))?;
                let (value, rest) = match i32::from_be_bytes(*length) {
                    -1 => (None, rest),
                    length => {
                        let length = usize::try_from(length).ok();
                        let parts = length.and_then(|length| rest.split_at_checked(length));
                        let (value, rest) = parts.ok_or_else(|| broken("half a column"))?;
                        (Some(value), rest)
                    }
                };
                *left = rest;
                Ok(value)
            }
        }
    }

    /// The next one, which may be NULL.
    pub(crate) fn optional<T: Column<'a>>(&mut self) -> Result<Option<T>, Error> {
        self.bytes()?.map(T::decode).transpose()
    }

    /// The next one.
    pub(crate) fn next<T: Column<'a>>(&mut self) -> Result<T, Error> {
        let value = self.bytes()?.ok_or_else(|| broken("NULL"))?;
        T::decode(value)
    }

    /// The next one, as JSON.
    pub(crate) fn json<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, Error> {
        let json = self.optional::<&str>()?.map(serde_json::from_str);
        json.transpose()
            .map_err(|error| Error::Decode(error.into()))
    }
}

fn broken(what: &str) -> Error {
    Error::Decode(format!("{what} where a value is expected").into())
}

/// A value, as PostgreSQL sends it in binary.
pub(crate) trait Column<'a>: Sized {
    /// From all of its bytes.
    fn decode(bytes: &'a [u8]) -> Result<Self, Error>;
}

impl<'a> Column<'a> for &'a [u8] {
    fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        Ok(bytes)
    }
}

impl<'a> Column<'a> for &'a str {
    fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        std::str::from_utf8(bytes).map_err(|error| Error::Decode(error.into()))
    }
}

/// From its lines.
impl Column<'_> for Metadata {
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let lines = Column::decode(bytes)?;
        Self::from_lines(lines).map_err(|error| Error::Decode(error.into()))
    }
}

impl Column<'_> for bool {
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(broken("no truth value")),
        }
    }
}

impl<const SIZE: usize> Column<'_> for [u8; SIZE] {
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map_err(|_| broken("bytes of another size"))
    }
}

macro_rules! number {
    ($($number:ty),*) => { $(
        impl Column<'_> for $number {
            fn decode(bytes: &[u8]) -> Result<Self, Error> {
                Column::decode(bytes).map(Self::from_be_bytes)
            }
        }
    )* };
}
number!(i16, i32, i64);

#[cfg(test)]
mod tests {
    use super::{Columns, HEADER, is_row};
    use tko_core::Metadata;

    /// A row of these, as COPY sends it.
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
    fn what_copy_sends_is_read_column_by_column() {
        let of = row(&[
            Some(&7_i64.to_be_bytes()),
            None,
            Some(b"\x01"),
            Some("é".as_bytes()),
            Some(b"a\t1\nb\t"),
        ]);
        for message in [of.clone(), [HEADER, &of].concat()] {
            assert!(is_row(&message));
            let mut columns = Columns::copied(&message).expect("whole");
            assert_eq!(columns.next::<i64>().expect("a number"), 7);
            assert_eq!(columns.optional::<&str>().expect("NULL"), None);
            assert!(columns.next::<bool>().expect("a truth value"));
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
    fn what_is_cut_off_anywhere_or_of_another_type_is_an_error() {
        let whole = row(&[Some(&7_i64.to_be_bytes()), Some(b"text")]);
        for end in 1..whole.len() {
            let columns = Columns::copied(&whole[..end]);
            let read = columns.and_then(|mut columns| {
                columns.next::<i64>()?;
                columns.next::<&str>().map(str::len)
            });
            assert!(read.is_err(), "{end} bytes");
        }
        let of = |bytes: &'static [u8]| {
            let row: &'static [u8] = row(&[Some(bytes)]).leak();
            Columns::copied(row).expect("whole")
        };
        assert!(of(b"1234").next::<i64>().is_err());
        assert!(of(b"\x02").next::<bool>().is_err());
        assert!(of(b"\xff").next::<&str>().is_err());
        assert!(of(b"{").json::<u32>().is_err());
        assert!(of(b"no tab").next::<Metadata>().is_err());
        let negative = [&1_i16.to_be_bytes()[..], &(-2_i32).to_be_bytes()].concat();
        let mut columns = Columns::copied(&negative).expect("whole");
        assert!(columns.optional::<&[u8]>().is_err());
    }
}
