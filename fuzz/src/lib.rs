//! The checks of the fuzz targets; each target is one call.

use std::collections::HashMap;

use serde_json::Value;
use tko_core::codec::{self, Stored};
use tko_core::commit::WorkItem;
use tko_core::encoding::{Dialect, Format, Limits, decode, encode};
use tko_core::pattern::{Pattern, PatternKind};
use tko_core::{ChangeRecord, Entity, Metadata, Package, Record, Work};

/// Decodes the bytes in both dialects: this must not panic, and a decoded package must survive
/// every format.
///
/// # Panics
/// If a decoded package changes when it is encoded and decoded again.
pub fn decoder(bytes: &[u8], format: Format) {
    let limits = Limits::default();
    for dialect in [Dialect::People, Dialect::Programs] {
        let package = match decode(bytes, format, dialect, &limits) {
            Ok(package) => package,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        for through in Format::ALL {
            let written = encode(&package, through);
            let read = match decode(&written, through, dialect, &limits) {
                Ok(read) => read,
                // A package at the limit in one format may be larger in another.
                Err(_) if written.len() > limits.bytes => continue,
                Err(error) => panic!("{through} as {dialect:?}: {error}\n{package:?}"),
            };
            assert_eq!(
                exactly(&read),
                exactly(&package),
                "{through} as {dialect:?}"
            );
        }
    }
}

/// Compares our decoder with `serde_json`: whatever ours accepts must be the same.
///
/// # Panics
/// If the two differ.
pub fn json_agrees(bytes: &[u8]) {
    let Ok(read) = decode(bytes, Format::Json, Dialect::Programs, &Limits::default()) else {
        return;
    };
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let expected = match serde_json::from_slice(text) {
        Ok(Value::Array(items)) => items,
        Ok(Value::Null) => Vec::new(),
        Ok(value) => vec![value],
        Err(error) => {
            assert!(
                error.is_eof() && read.is_empty(),
                "read what is not JSON: {error}"
            );
            return;
        }
    };
    assert_eq!(exactly(&read), exactly(&expected));
}

/// Compiles the text before the first NUL and matches it against the text after it.
///
/// # Panics
/// If the pattern disagrees with the naive matcher, or with itself.
pub fn pattern(input: &str) {
    let Some((source, text)) = input.split_once('\0') else {
        return;
    };
    for compiled in [Pattern::id(source), Pattern::value(source)] {
        let Ok(compiled) = compiled else { continue };
        assert_eq!(compiled.as_str(), source);
        let matches = compiled.matches(text);
        let fits = Naive::new(compiled.kind(), source, text).matches();
        assert_eq!(matches, fits, "{compiled:?} on {text:?}");
        assert!(!matches || text.starts_with(compiled.literal_prefix()));
        if let Some(only) = compiled.as_literal() {
            assert_eq!(matches, text == only);
        }
        if let Some(prefix) = compiled.path_prefix() {
            assert_eq!(matches, text.starts_with(prefix));
        }
        assert!(matches || !compiled.matches_everything());
    }
    let literal = Pattern::literal(text);
    assert!(literal.matches(text));
    assert_eq!(literal.matches(source), source == text);
    if let Ok(again) = Pattern::id(literal.as_str()) {
        assert_eq!(again.as_literal(), Some(text));
    }
}

/// Reads metadata from lines, writes it and reads it again.
///
/// # Panics
/// If the metadata changes, or differs from what reading line by line gives.
pub fn lines(input: &str) {
    let Ok(metadata) = Metadata::from_lines(input) else {
        return;
    };
    let written = metadata.to_lines();
    assert!(!written.contains('\0'), "{written:?}");
    let read = Metadata::from_lines(&written).expect("it was written so");
    assert_eq!(read, metadata, "{input:?} as {written:?}");
    let by_line = input.split('\n').filter(|_| !input.is_empty());
    let expected = by_line.fold(Metadata::default(), |below, line| {
        let line = Metadata::from_lines(line).expect("one of them");
        below.overlaid(&line)
    });
    assert_eq!(metadata, expected, "{input:?}");
}

/// Decodes bytes as a stored value of each type. What is decoded is encoded and decoded again as the
/// same bytes.
///
/// # Panics
/// If it is not.
pub fn codec(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    // The version is one byte of many; without this most inputs would end there.
    if let Some(first) = bytes.first_mut() {
        *first = codec::VERSION;
    }
    stored::<Entity>(&bytes);
    stored::<Package>(&bytes);
    stored::<Work>(&bytes);
    stored::<WorkItem>(&bytes);
    stored::<ChangeRecord>(&bytes);
    stored::<Record>(&bytes);
    if let Ok(key) = codec::key_of(&bytes) {
        assert_eq!(codec::sort_key(&key), bytes);
    }
}

fn stored<T: Stored>(bytes: &[u8]) {
    let limits = Limits::default();
    match codec::decode::<T>(bytes, &limits) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(value) => {
            let written = codec::encode(&value);
            let read: T = match codec::decode(&written, &limits) {
                Ok(read) => read,
                Err(error) => panic!("{error}: {written:x?}"),
            };
            assert_eq!(codec::encode(&read), written);
        }
    }
}

/// JSON text shows differences that `Value`'s equality ignores: the order of keys, and the sign of
/// 0.0.
fn exactly(package: &[Value]) -> String {
    serde_json::to_string(package).expect("memory takes it")
}

/// A naive matcher: tries every length for every wildcard and remembers the results.
struct Naive {
    kind: PatternKind,
    pattern: Vec<char>,
    text: Vec<char>,
    tried: HashMap<(usize, usize), bool>,
}

impl Naive {
    fn new(kind: PatternKind, pattern: &str, text: &str) -> Self {
        Self {
            kind,
            pattern: pattern.chars().collect(),
            text: text.chars().collect(),
            tried: HashMap::new(),
        }
    }

    fn matches(mut self) -> bool {
        self.rest(0, 0)
    }

    fn rest(&mut self, pattern: usize, text: usize) -> bool {
        if let Some(&known) = self.tried.get(&(pattern, text)) {
            return known;
        }
        let fits = match self.pattern[pattern..] {
            [] => text == self.text.len(),
            ['*', ..] => self.wildcard(pattern, text),
            ['\\', literal, ..] => {
                self.text.get(text) == Some(&literal) && self.rest(pattern + 2, text + 1)
            }
            [literal, ..] => {
                self.text.get(text) == Some(&literal) && self.rest(pattern + 1, text + 1)
            }
        };
        self.tried.insert((pattern, text), fits);
        fits
    }

    fn wildcard(&mut self, pattern: usize, text: usize) -> bool {
        let stars = self.pattern[pattern..]
            .iter()
            .take_while(|&&c| c == '*')
            .count();
        let any = stars > 1 || self.kind == PatternKind::Value;
        for end in text..=self.text.len() {
            if self.rest(pattern + stars, end) {
                return true;
            }
            if !any && matches!(self.text.get(end), Some('/' | ':')) {
                return false;
            }
        }
        false
    }
}
