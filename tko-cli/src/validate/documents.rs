//! Reads a stream of YAML documents one by one, so that memory holds only the current one.

use std::io::{self, BufRead, Read};

/// The text of one document, with the line at which it begins.
pub(super) struct YamlDocument {
    pub(super) text: Vec<u8>,
    /// Line of its first byte, from 1.
    pub(super) line: usize,
    /// Whether it was longer than the limit; the text is then incomplete.
    pub(super) is_cut: bool,
}

/// Splits YAML into documents. A line that begins with `---` begins a document wherever it is: YAML
/// allows it nowhere else.
pub(super) struct YamlDocuments<R> {
    reader: R,
    limit: usize,
    /// Lines that were read.
    lines: usize,
    /// The separator that began the next document.
    next: Option<Vec<u8>>,
    is_whole: bool,
}

impl<R: BufRead> YamlDocuments<R> {
    /// Reads documents of at most `limit` bytes. `is_whole` makes the whole input one document, as
    /// JSON is.
    pub(super) fn new(reader: R, limit: usize, is_whole: bool) -> Self {
        Self {
            reader,
            limit,
            lines: 0,
            next: None,
            is_whole,
        }
    }

    /// Returns the next document.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<YamlDocument>> {
        let text = self.next.take();
        let mut document = YamlDocument {
            line: if text.is_some() {
                self.lines
            } else {
                self.lines + 1
            },
            text: text.unwrap_or_default(),
            is_cut: false,
        };
        let mut has_content = is_content(&document.text);
        let mut line = Vec::new();
        loop {
            line.clear();
            let is_cut = self.read_line(&mut line)?;
            if line.is_empty() {
                return Ok((!document.text.is_empty()).then_some(document));
            }
            if !self.is_whole && has_content && is_separator(&line) {
                self.next = Some(line);
                return Ok(Some(document));
            }
            has_content |= is_content(&line);
            if is_cut || document.text.len() + line.len() > self.limit {
                document.is_cut = true;
            } else {
                document.text.extend_from_slice(&line);
            }
        }
    }

    /// Reads a line; drops what exceeds the limit, and returns whether that happened.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        let read = self.reader.by_ref().take(limit).read_until(b'\n', line)?;
        self.lines += usize::from(read > 0);
        if read < self.limit || line.ends_with(b"\n") {
            return Ok(false);
        }
        loop {
            let available = self.reader.fill_buf()?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(length);
            if end.is_some() || length == 0 {
                return Ok(true);
            }
        }
    }
}

fn is_separator(line: &[u8]) -> bool {
    line.strip_prefix(b"---")
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Returns true if a line is more than a separator, a comment or a directive.
fn is_content(line: &[u8]) -> bool {
    let line = if is_separator(line) { &line[3..] } else { line };
    let text = line.trim_ascii();
    !(text.is_empty() || text.starts_with(b"#") || line.starts_with(b"%") || text == b"...")
}

#[cfg(test)]
mod tests {
    use super::YamlDocuments;

    fn split(text: &str, limit: usize) -> Vec<(usize, String, bool)> {
        let mut documents = YamlDocuments::new(text.as_bytes(), limit, false);
        let mut found = Vec::new();
        while let Some(one) = documents.next().expect("from memory") {
            found.push((
                one.line,
                String::from_utf8_lossy(&one.text).into_owned(),
                one.is_cut,
            ));
        }
        found
    }

    #[test]
    fn documents_are_split_at_their_separators() {
        let whole = |line, text: &str| (line, text.to_owned(), false);
        assert_eq!(split("", 100), []);
        assert_eq!(split("a: 1\n", 100), [whole(1, "a: 1\n")]);
        assert_eq!(
            split("# c\n---\na: |\n  ---\n--- # x\nb: 1\n...\n---\n", 100),
            [
                whole(1, "# c\n---\na: |\n  ---\n"),
                whole(5, "--- # x\nb: 1\n...\n"),
                whole(8, "---\n"),
            ]
        );
        assert_eq!(
            split("%YAML 1.1\n---\na: 1", 100),
            [whole(1, "%YAML 1.1\n---\na: 1")]
        );
        assert_eq!(split("--- {a: 1}\n--- {b: 1}\n----\n", 100).len(), 2);
    }

    #[test]
    fn a_document_beyond_the_limit_is_cut_and_the_next_is_read() {
        let text = format!("a: {}\nb: 1\n---\nc: 1\n", "x".repeat(100));
        let found = split(&text, 20);
        assert_eq!(found.len(), 2);
        assert!(found[0].2 && found[0].1.len() <= 20);
        assert_eq!(found[1], (3, "---\nc: 1\n".to_owned(), false));
    }
}
