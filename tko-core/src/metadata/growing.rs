//! Building metadata from pairs in the order of their keys.
//!
//! There are two ways. Pairs are pushed one by one, in ascending order of their keys.
//! Alternatively, stored lines without escapes are copied unchanged, because they equal the texts
//! of the layout byte by byte.

use super::{Metadata, TextEnd};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// The separator of a key and its value, in the layout and in lines.
pub(super) const TAB: char = '\t';

/// The separator of two pairs, in the layout and in lines.
pub(super) const NEWLINE: char = '\n';

/// The layout of metadata while it is being built.
#[derive(Default)]
pub(super) struct Growing {
    /// The texts so far, with their separators.
    text: String,
    /// The encoded ends of the texts so far, two for each pair.
    ends: Vec<[u8; TextEnd::LENGTH]>,
    /// The position of the last key that was pushed; meaningless while there are no pairs.
    last: Range<usize>,
}

thread_local! {
    /// The buffers of the last build, kept because streams build very many.
    static ROOM: Cell<Growing> = Cell::default();
}

impl Growing {
    /// Maximum number of bytes of texts of a kept buffer.
    const KEPT: usize = 65_536;

    /// Begins without pairs, in the buffers of this thread's last build if they are free.
    pub(super) fn begin() -> Self {
        ROOM.take()
    }

    /// Whether this key is greater than every key so far.
    pub(super) fn goes_on_with(&self, key: &str) -> bool {
        self.ends.is_empty() || &self.text[self.last.clone()] < key
    }

    /// Adds a pair. The key must be greater than every key so far, which only
    /// [`goes_on_with`](Self::goes_on_with) checks.
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

    /// Records that a key or value ends before this byte of the texts.
    fn end(&mut self, at: usize) {
        self.ends.push(TextEnd(at).write());
    }

    /// Builds from [lines](Metadata::from_lines), if they are well formed, sorted, and without
    /// escapes.
    ///
    /// `None` means that the lines need the slower reader, which also reports what is wrong with
    /// them. Every line must have one tab, and keys must ascend. The result for empty text is also
    /// `None`.
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

    /// Appends the ends to the texts and copies both into one allocation; none if there are no
    /// pairs.
    ///
    /// The buffers return to the thread, unless that of the texts has more capacity than `KEPT`. So
    /// the memory of one large map is not held for ever.
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
