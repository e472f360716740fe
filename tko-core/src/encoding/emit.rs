//! YAML output by `serde-saphyr`, which quotes every text that a reader of YAML 1.1 or 1.2 could
//! read as another type.

use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

/// Writes one document per value, in block style and without folding.
pub(super) fn write<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<u8> {
    let options = serde_saphyr::ser_options! {
        // Folded lines would turn a small change into a large diff.
        folded_wrap_chars: usize::MAX,
    };
    let mut out = String::new();
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push_str("---\n");
        }
        serde_saphyr::to_fmt_writer_with_options(&mut out, &Readable(value), options.clone())
            .expect("memory takes every character, and a `Value` has only what YAML can say");
    }
    out.into_bytes()
}

/// A value that is written so that every reader reads it alike.
struct Readable<'a>(&'a Value);

impl Serialize for Readable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            // Readers based on libyaml mistake a tab at the start of a block for indentation.
            Value::String(text) if text.trim_start_matches('\n').starts_with('\t') => {
                DoubleQuoted(text).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Readable)),
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, Readable(value))))
            }
            value => value.serialize(serializer),
        }
    }
}
