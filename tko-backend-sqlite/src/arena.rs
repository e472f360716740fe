//! Arguments of statements that write many rows at once.
//!
//! The number of rows varies, but the text of a statement must not, so that it is prepared only
//! once. So the rows of an argument are one JSON list of lists, read by `json_each`. Blobs, and
//! texts that may contain any character, are in one blob, the arena; the lists have their positions
//! in it. `substr` extracts them.
//!
//! Parameters are written `$1`, not `?1`. Several statements in one text each use some of the
//! arguments, and sqlx counts the gaps that `?NNN` leaves as separate arguments.

use std::fmt::Write;

/// Bytes that are passed to a statement together.
#[derive(Debug, Default)]
pub(crate) struct Arena(Vec<u8>);

/// The position of some bytes in an arena, counted from 1 as `substr` does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobPlace {
    start: usize,
    length: usize,
}

impl Arena {
    /// Adds bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> BlobPlace {
        let start = self.0.len() + 1;
        self.0.extend_from_slice(bytes);
        BlobPlace {
            start,
            length: bytes.len(),
        }
    }

    /// All bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Rows of an argument: a JSON list of lists.
#[derive(Debug, Default)]
pub(crate) struct RowList(String);

/// One row that is being added.
#[derive(Debug)]
pub(crate) struct RowValues<'a> {
    text: &'a mut String,
    first: bool,
}

impl RowList {
    /// Adds a row.
    pub(crate) fn row(&mut self) -> RowValues<'_> {
        self.0.push_str(if self.0.is_empty() { "[[" } else { ",[" });
        RowValues {
            text: &mut self.0,
            first: true,
        }
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON text.
    pub(crate) fn into_text(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('[');
        }
        self.0.push(']');
        self.0
    }
}

impl RowValues<'_> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.text.push(',');
        }
    }

    /// Adds a number.
    pub(crate) fn number(mut self, number: i64) -> Self {
        self.separate();
        let _ = write!(self.text, "{number}");
        self
    }

    /// Adds a number, or null.
    pub(crate) fn number_or_null(mut self, number: Option<i64>) -> Self {
        if let Some(number) = number {
            return self.number(number);
        }
        self.separate();
        self.text.push_str("null");
        self
    }

    /// Adds an id. No character of an id needs escaping in JSON.
    pub(crate) fn id(mut self, id: &str) -> Self {
        self.separate();
        self.text.push('"');
        self.text.push_str(id);
        self.text.push('"');
        self
    }

    /// Adds the place of bytes: two values, start and length.
    pub(crate) fn place(mut self, place: BlobPlace) -> Self {
        self.separate();
        let _ = write!(self.text, "{},{}", place.start, place.length);
        self
    }

    /// Adds the place of bytes, or two nulls.
    pub(crate) fn place_or_null(mut self, place: Option<BlobPlace>) -> Self {
        if let Some(place) = place {
            return self.place(place);
        }
        self.separate();
        self.text.push_str("null,null");
        self
    }

    /// Ends the row.
    pub(crate) fn end(self) {
        self.text.push(']');
    }
}

/// A number as SQLite stores it. Numbers of this program stay far below the limit.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a stored number. A negative one is damage, and is read as 0.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Arena, RowList};

    #[test]
    fn rows_are_json_lists() {
        let mut arena = Arena::default();
        let place = arena.add(b"ab");
        let mut rows = RowList::default();
        assert!(rows.is_empty());
        rows.row().number(-1).id("a/b").end();
        rows.row()
            .place(place)
            .place_or_null(None)
            .number_or_null(None)
            .end();
        assert_eq!(rows.into_text(), r#"[[-1,"a/b"],[1,2,null,null,null]]"#);
        assert_eq!(RowList::default().into_text(), "[]");
        assert_eq!(arena.into_bytes(), b"ab");
    }
}
