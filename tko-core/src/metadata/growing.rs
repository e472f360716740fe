//! Metadata while it is made, in the order of its keys: as what is read mostly comes.

use super::{End, Metadata};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// Between a key and its value, in what [`Metadata`] is made of and in its lines.
pub(super) const TAB: char = '\t';

/// After a pair that is not the last, likewise.
pub(super) const NEWLINE: char = '\n';

/// What metadata is made of, so far.
#[derive(Default)]
pub(super) struct Growing {
    text: String,
    ends: Vec<[u8; End::LENGTH]>,
    /// Where the last key is.
    last: Range<usize>,
}

thread_local! {
    /// Room of what was made before. Streams make very much.
    static ROOM: Cell<Growing> = Cell::default();
}

impl Growing {
    /// Most room that is kept, in bytes of texts.
    const KEPT: usize = 65_536;

    pub(super) fn begin() -> Self {
        ROOM.take()
    }

    /// Whether this key comes after those that are there.
    pub(super) fn goes_on_with(&self, key: &str) -> bool {
        self.ends.is_empty() || &self.text[self.last.clone()] < key
    }

    pub(super) fn push(&mut self, key: &str, value: &str) {
        if !self.ends.is_empty() {
            self.text.push(NEWLINE);
        }
        let start = self.text.len();
        self.text.push_str(key);
        self.last = start..self.text.len();
        self.end(self.text.len());
        self.text.push(TAB);
        self.text.push_str(value);
        self.end(self.text.len());
    }

    fn end(&mut self, at: usize) {
        self.ends.push(End(at).write());
    }

    /// Of [lines](Metadata::from_lines), if that is what they are, they are in order, and none of
    /// their texts is written otherwise than it is.
    pub(super) fn of(lines: &str) -> Option<Self> {
        let mut growing = Self::begin();
        let bytes = lines.as_bytes();
        let (mut in_key, mut start, mut last) = (true, 0, None);
        for (at, byte) in bytes.iter().enumerate() {
            match (byte, in_key) {
                (b'\t', true) => {
                    let key = &bytes[start..at];
                    if last.is_some_and(|last| last >= key) {
                        return None;
                    }
                    last = Some(key);
                    growing.end(at);
                    in_key = false;
                }
                (b'\n', false) => {
                    growing.end(at);
                    (in_key, start) = (true, at + 1);
                }
                (b'\t' | b'\n' | b'\\', _) => return None,
                _ => {}
            }
        }
        growing.end(bytes.len());
        growing.text.push_str(lines);
        (!in_key).then_some(growing)
    }

    pub(super) fn finish(mut self) -> Metadata {
        let ends = std::str::from_utf8(self.ends.as_flattened()).expect("seven bits each");
        self.text.push_str(ends);
        let piece = (!self.text.is_empty()).then(|| Arc::from(&*self.text));
        if self.text.capacity() <= Self::KEPT {
            self.text.clear();
            self.ends.clear();
            ROOM.set(self);
        }
        Metadata(piece)
    }
}
