//! Splits a program's output into lines, regardless of the size of its writes.

/// Maximum line length in bytes; the rest of a longer line is counted and dropped.
pub const MAX_LINE: usize = 8192;

/// Receives lines.
pub trait Sink {
    /// Receives one line without its line ending; `dropped` bytes were truncated at the end.
    fn line(&self, bytes: &[u8], dropped: usize);
}

/// Assembles lines from chunks. Holds at most [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    dropped: usize,
}

impl Lines {
    /// Adds the next bytes and passes each completed line to `sink`.
    pub fn push(&mut self, bytes: &[u8], sink: &impl Sink) {
        let mut parts = bytes.split(|byte| *byte == b'\n');
        // `split` returns at least one item; the last one has no line ending yet.
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            if self.partial.is_empty() && self.dropped == 0 && part.len() <= MAX_LINE {
                sink.line(part, 0);
            } else {
                self.keep(part);
                self.flush(sink);
            }
        }
        self.keep(last);
    }

    /// Passes the last line to `sink` if it had no line ending.
    pub fn finish(&mut self, sink: &impl Sink) {
        if !self.partial.is_empty() {
            self.flush(sink);
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.partial.len();
        let (kept, dropped) = part.split_at(part.len().min(room));
        self.partial.extend_from_slice(kept);
        self.dropped += dropped.len();
    }

    fn flush(&mut self, sink: &impl Sink) {
        sink.line(&self.partial, self.dropped);
        self.partial.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE, Sink};
    use std::cell::RefCell;

    #[derive(Default)]
    struct Seen(RefCell<Vec<(Vec<u8>, usize)>>);

    impl Sink for Seen {
        fn line(&self, bytes: &[u8], dropped: usize) {
            self.0.borrow_mut().push((bytes.to_vec(), dropped));
        }
    }

    #[test]
    fn lines_do_not_depend_on_chunk_boundaries() {
        let mut input = b"one\n\ntwo\xff\n".to_vec();
        input.extend(vec![b'x'; MAX_LINE + 7]);
        input.extend(b"\nlast");
        let expected = vec![
            (b"one".to_vec(), 0),
            (b"".to_vec(), 0),
            (b"two\xff".to_vec(), 0),
            (vec![b'x'; MAX_LINE], 7),
            (b"last".to_vec(), 0),
        ];
        for size in [1, 2, 3, 5, 1000, MAX_LINE, input.len()] {
            let (seen, mut lines) = (Seen::default(), Lines::default());
            for chunk in input.chunks(size) {
                lines.push(chunk, &seen);
            }
            lines.finish(&seen);
            assert_eq!(seen.0.into_inner(), expected, "chunks of {size}");
        }
    }

    #[test]
    fn a_final_line_feed_adds_no_empty_line() {
        let (seen, mut lines) = (Seen::default(), Lines::default());
        lines.push(b"one\n", &seen);
        lines.finish(&seen);
        assert_eq!(seen.0.into_inner(), vec![(b"one".to_vec(), 0)]);
    }
}
