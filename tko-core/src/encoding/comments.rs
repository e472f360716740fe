//! Comments at the ends of lines of YAML, and the values that they are about.
//!
//! Decoding drops comments. Some tools keep settings in them, such as `replicas: 3 # kpt-set:
//! ${replicas}`. [`line_comments`] finds them in the text of a package, and [`with_line_comments`]
//! puts them back into encoded YAML.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, Tag};

use super::limits::MAX_DEPTH;
use super::{Dialect, scalar};

/// Maximum length of the pointer of a comment, in bytes. Keys of Kubernetes are shorter than this;
/// one long key above very many values would be copied for each of them.
const MAX_POINTER: usize = 512;

/// A comment at the end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineComment {
    /// The document of the stream, from 1; empty documents count.
    pub document: usize,
    /// The value that the comment is about, as a JSON pointer from the root of the document.
    pub pointer: String,
    /// The text of the comment, without `#` and the spaces around it.
    pub text: String,
}

impl LineComment {
    /// A comment about the value at this JSON pointer of a document, counted from 1.
    pub fn new(document: usize, pointer: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            document,
            pointer: pointer.into(),
            text: text.into(),
        }
    }
}

/// Finds the comments that begin with `start` at the ends of lines of YAML.
///
/// A comment belongs to the scalar or flow collection that ends before it on its line, or to the
/// block list whose key precedes it. Comments that belong to no such value are left out, as are
/// those whose pointer is longer than 512 bytes. Everything in text that is not YAML is left out,
/// too; [`decode`](super::decode) reports that.
///
/// Pointers have the keys that [`decode`](super::decode) reads in this dialect: in that of people,
/// the key of `on: x` is `true`.
pub fn line_comments(text: &str, start: &str, dialect: Dialect) -> Vec<LineComment> {
    let mut found = Vec::new();
    if !text.contains(start) {
        return found;
    }
    // Comments found before an error are kept; decoding reports the error itself.
    let _ = Places::walk(text, dialect, &mut |document, pointer, end| {
        if pointer.len() <= MAX_POINTER
            && let Some(comment) = comment_after(text, end)
            && comment.trim().starts_with(start)
        {
            found.push(LineComment {
                document,
                pointer: pointer.to_owned(),
                text: comment.trim().to_owned(),
            });
        }
    });
    found
}

/// Puts comments at the ends of lines of encoded YAML.
///
/// Comments whose value does not exist, or does not end on a separate line, are left out. So are
/// those that have line breaks, or a pointer of more than 512 bytes.
pub fn with_line_comments(yaml: Vec<u8>, comments: &[LineComment]) -> Vec<u8> {
    if comments.is_empty() {
        return yaml;
    }
    let Ok(text) = String::from_utf8(yaml) else {
        unreachable!("encoded YAML is UTF-8");
    };
    let mut wanted: HashMap<(usize, &str), &str> = HashMap::new();
    for comment in comments {
        if comment.pointer.len() <= MAX_POINTER && !comment.text.contains(['\n', '\r']) {
            wanted.insert((comment.document, &comment.pointer), &comment.text);
        }
    }
    let mut places: Vec<(usize, &str)> = Vec::new();
    // Encoded keys are the same in both dialects.
    let _ = Places::walk(&text, Dialect::Programs, &mut |document, pointer, end| {
        if pointer.len() <= MAX_POINTER
            && let Some(comment) = wanted.get(&(document, pointer))
            && let Some(place) = end_of_line(&text, end)
        {
            places.push((place, comment));
        }
    });
    places.sort_unstable();
    let mut out = String::with_capacity(text.len() + 64 * places.len());
    let mut done = 0;
    for (end, comment) in places {
        out.push_str(&text[done..end]);
        let _ = write!(out, " # {comment}");
        done = end;
    }
    out.push_str(&text[done..]);
    out.into_bytes()
}

/// The comment after a byte, without `#`, if only blanks and perhaps a colon are before it.
///
/// This does not read on at other text, because a line may have very many values.
fn comment_after(text: &str, from: usize) -> Option<&str> {
    let rest = skip_blanks(text.get(from..)?);
    let rest = skip_blanks(rest.strip_prefix(':').unwrap_or(rest));
    rest.strip_prefix('#')?.split(['\n', '\r']).next()
}

/// The byte at which a comment can be added after a value, behind its colon if it is a key. `None`
/// if more text follows on the line. As [`comment_after`], this does not read on at other text.
fn end_of_line(text: &str, from: usize) -> Option<usize> {
    let after = text.get(from..)?;
    let (place, rest) = match skip_blanks(after).strip_prefix(':') {
        Some(rest) => (text.len() - rest.len(), rest),
        None => (from, after),
    };
    let rest = skip_blanks(rest);
    (rest.is_empty() || rest.starts_with(['\n', '\r'])).then_some(place)
}

/// Skips blanks, but no line breaks.
fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(|character: char| {
        character.is_whitespace() && !matches!(character, '\n' | '\r')
    })
}

/// Walks through the values of YAML text, with the byte at which a comment of each may begin.
struct Places<'a, 'f> {
    parser: Parser<'a, StrInput<'a>>,
    /// The rules for keys.
    dialect: Dialect,
    document: usize,
    pointer: String,
    /// Gets the document, the JSON pointer and the byte.
    found: &'f mut dyn FnMut(usize, &str, usize),
}

impl<'a, 'f> Places<'a, 'f> {
    fn walk(
        text: &'a str,
        dialect: Dialect,
        found: &'f mut dyn FnMut(usize, &str, usize),
    ) -> Result<(), ScanError> {
        let options = granit_parser::options! {
            emit_comments: false,
            block_scalar_eof_without_line_feed: true,
            flow_nesting_limit: 2 * MAX_DEPTH,
            block_nesting_limit: 2 * MAX_DEPTH,
        };
        let mut places = Self {
            parser: Parser::new_from_str_with_options(text, options),
            dialect,
            document: 0,
            pointer: String::new(),
            found,
        };
        while let Some((event, _)) = places.next()? {
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) => {
                    places.document += 1;
                    places.pointer.clear();
                    if let Some((event, span)) = places.next()? {
                        places.node(&event, span, None)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, ScanError> {
        self.parser.next_event().transpose()
    }

    fn report(&mut self, end: Option<usize>) {
        if let Some(end) = end {
            (self.found)(self.document, &self.pointer, end);
        }
    }

    /// A key as decoding reads it, for a pointer.
    fn key(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> String {
        let value = scalar::resolve(Cow::Borrowed(text), style, tag, self.dialect);
        let key = value.and_then(|value| scalar::key(value, self.dialect));
        // Keys of other types are refused when the text is decoded.
        let key = key.unwrap_or_else(|_| text.to_owned());
        key.replace('~', "~0").replace('/', "~1")
    }

    /// Walks through one value; `key` is the end of its key.
    fn node(&mut self, event: &Event<'a>, span: Span, key: Option<usize>) -> Result<(), ScanError> {
        match event {
            Event::Scalar(_, style, ..) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if !is_block {
                    self.report(span.end.byte_offset());
                }
            }
            Event::SequenceStart(style, ..) => {
                let length = self.pointer.len();
                let mut index = 0_usize;
                while let Some((event, span)) = self.next()? {
                    if event == Event::SequenceEnd {
                        self.pointer.truncate(length);
                        match style {
                            StructureStyle::Flow => self.report(span.end.byte_offset()),
                            StructureStyle::Block => self.report(key),
                        }
                        return Ok(());
                    }
                    let _ = write!(self.pointer, "/{index}");
                    self.node(&event, span, None)?;
                    self.pointer.truncate(length);
                    index += 1;
                }
            }
            Event::MappingStart(..) => {
                let length = self.pointer.len();
                while let Some((event, span)) = self.next()? {
                    if event == Event::MappingEnd {
                        return Ok(());
                    }
                    let key = if let Event::Scalar(text, style, _, tag) = &event {
                        self.key(text, *style, tag.as_deref())
                    } else {
                        // Other keys are refused when the text is decoded.
                        self.pointer.push_str("/?");
                        self.node(&event, span, None)?;
                        self.pointer.truncate(length);
                        String::from("?")
                    };
                    let end = span.end.byte_offset();
                    self.pointer.push('/');
                    self.pointer.push_str(&key);
                    if let Some((event, span)) = self.next()? {
                        self.node(&event, span, end)?;
                    }
                    self.pointer.truncate(length);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LineComment, line_comments, with_line_comments};
    use crate::encoding::{Dialect, Format, Limits, decode, encode};
    use serde_json::json;

    fn found(text: &str) -> Vec<(usize, String, String)> {
        let comments = line_comments(text, "kpt-set:", Dialect::People).into_iter();
        comments.map(|c| (c.document, c.pointer, c.text)).collect()
    }

    #[test]
    fn comments_belong_to_the_value_before_them() {
        let text = "\
# kpt-set: alone
kind: A # another comment
name: 'a b' # kpt-set: ${a}
spec:
  a/b: [x, y] # kpt-set: ${flow}
  list: # kpt-set: ${list}
  - one # kpt-set: ${one}
  - name: two   #kpt-set: ${two}
  text: |
    not # kpt-set: ${a comment}
  quoted: \"no # kpt-set: ${comment}\"
---
x: 1 # kpt-set: ${x}";
        assert_eq!(
            found(text),
            [
                (1, "/name", "kpt-set: ${a}"),
                (1, "/spec/a~1b", "kpt-set: ${flow}"),
                (1, "/spec/list/0", "kpt-set: ${one}"),
                (1, "/spec/list/1/name", "kpt-set: ${two}"),
                (1, "/spec/list", "kpt-set: ${list}"),
                (2, "/x", "kpt-set: ${x}"),
            ]
            .map(|(document, pointer, text)| (
                document,
                pointer.to_owned(),
                text.to_owned()
            ))
        );
    }

    #[test]
    fn pointers_have_the_keys_that_decoding_reads() {
        let text = "on: q # kpt-set: ${a}\n'no': q # kpt-set: ${b}\n0x1f: q # kpt-set: ${c}\n\
                    !!str yes: q # kpt-set: ${d}\noff: [q] # kpt-set: ${e}\n";
        let people = ["/true", "/no", "/31", "/yes", "/false"];
        // Keys of programs that are not text are refused, so they are not in this text.
        let program = text.replace("0x1f", "a/b");
        let programs = ["/on", "/no", "/a~1b", "/yes", "/off"];
        for (text, dialect, expected) in [
            (text, Dialect::People, people),
            (program.as_str(), Dialect::Programs, programs),
        ] {
            let decoded = decode(text.as_bytes(), Format::Yaml, dialect, &Limits::default());
            let decoded = decoded.expect("valid YAML").remove(0);
            let comments = line_comments(text, "kpt-set:", dialect).into_iter();
            let pointers: Vec<String> = comments.map(|comment| comment.pointer).collect();
            assert_eq!(pointers, expected);
            for pointer in expected {
                assert!(decoded.pointer(pointer).is_some(), "{pointer} in {decoded}");
            }
        }
    }

    #[test]
    fn text_that_is_not_yaml_gives_what_comes_before() {
        assert_eq!(found("a: 1 # kpt-set: ${a}\nb: [").len(), 1);
        assert_eq!(
            found(&format!("{} # kpt-set: ${{a}}", "[".repeat(100_000))).len(),
            0
        );
    }

    #[test]
    fn very_many_values_on_one_line_are_read_in_reasonable_work() {
        // The rest of the line for each of them would be 60 GB.
        let items = format!("{}1", "1, ".repeat(199_999));
        let text = format!("a: [{items}] # kpt-set: ${{a}}\n");
        let expected = LineComment::new(1, "/a", "kpt-set: ${a}");
        assert_eq!(
            line_comments(&text, "kpt-set:", Dialect::People),
            [expected]
        );
        let yaml = format!("a: [{items}]\n").into_bytes();
        let comments: Vec<LineComment> = (0..200_000)
            .map(|item| LineComment::new(1, format!("/a/{item}"), "kpt-set: ${a}"))
            .collect();
        assert_eq!(with_line_comments(yaml.clone(), &comments), yaml);
    }

    #[test]
    fn comments_with_a_very_long_pointer_are_left_out() {
        for (length, count) in [(511, 1), (512, 0)] {
            let key = "k".repeat(length);
            let text = format!("{key}: x # kpt-set: ${{x}}\n");
            assert_eq!(found(&text).len(), count);
            let comment = LineComment::new(1, format!("/{key}"), "kpt-set: ${x}");
            let yaml = with_line_comments(format!("{key}: x\n").into_bytes(), &[comment]);
            assert_eq!(yaml == text.into_bytes(), count == 1);
        }
    }

    #[test]
    fn comments_are_put_back_at_their_values() {
        let value = json!({"a": 1, "list": ["x", {"b": "y z"}], "text": "one\ntwo\n", "none": []});
        let yaml = encode([&value], Format::Yaml);
        let comments: Vec<LineComment> = [
            "/a",
            "/list",
            "/list/0",
            "/list/1/b",
            "/none",
            "/gone",
            "/text",
        ]
        .iter()
        .map(|pointer| LineComment {
            document: 1,
            pointer: (*pointer).to_owned(),
            text: format!("kpt-set: ${{{}}}", pointer.len()),
        })
        .collect();
        let yaml = with_line_comments(yaml, &comments);
        let text = String::from_utf8(yaml).expect("UTF-8");
        let mut read = line_comments(&text, "kpt-set:", Dialect::People);
        read.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        let mut expected: Vec<LineComment> = comments[..5].to_vec();
        expected.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        assert_eq!(read, expected, "{text}");
    }
}
