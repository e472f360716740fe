//! Decoding and encoding packages: YAML, JSON and CBOR.
//!
//! A package travels as bytes in one of three [`Format`]s. All three carry the same data. Decoding
//! one and encoding another keeps every value, the order of keys and items, and the type of each
//! number. So `1.0` stays a float, and `18446744073709551615` an exact integer. Values that some
//! format cannot carry are refused, never rounded: integers beyond 64 bits, infinities, NaN, byte
//! strings, custom tags, keys that are not text.
//!
//! Input is not trusted. [`Limits`] bound its cost, a duplicate key is an error in every format,
//! and every [`DecodeError`] gives the position.
//!
//! YAML is read in one of two [`Dialect`]s, because the same bytes mean different things.
//! `mode: 0644` is 420 to a person who knows Kubernetes, and 644 to a program that follows YAML
//! 1.2. Encoded YAML reads the same in both, and in every tested reader of YAML 1.1 or 1.2.
//!
//! Decoding has two steps. The reader of the format ([`Format`]) turns bytes into documents and
//! counts what they cost. Lists are then split into resources, which must be maps.
//! `encoding/yaml.rs` and `encoding/scalar.rs` read YAML, and `encoding/emit.rs` writes it. JSON
//! and CBOR have one file each.
//!
//! ```
//! use tko_core::encoding::{Dialect, Format, Limits, decode, encode};
//!
//! let yaml = b"kind: ConfigMap\ndata: {mode: 0644, answer: 'yes'}\n---\nkind: Secret\n";
//! let resources = decode(yaml, Format::Yaml, Dialect::People, &Limits::default())?;
//! assert_eq!(resources[0]["data"]["mode"], 420);
//! assert_eq!(
//!     encode(&resources, Format::Json),
//!     br#"[{"kind":"ConfigMap","data":{"mode":420,"answer":"yes"}},{"kind":"Secret"}]"#
//! );
//! # Ok::<(), tko_core::encoding::DecodeError>(())
//! ```

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde_json::Value;

mod cbor;
mod comments;
mod emit;
mod error;
mod json;
mod limits;
mod lists;
mod scalar;
mod yaml;

#[cfg(test)]
mod tests;

pub use comments::{LineComment, line_comments, with_line_comments};
pub use error::{DecodeError, InputPlace, Position};
pub use limits::{Limit, Limits, MAX_DEPTH, MAX_STORED};

pub(crate) use cbor::push_header;

use error::DecodeFault;
use limits::Budget;

/// The advice for integers beyond 64 bits, in every format.
const BIG_INTEGER_ADVICE: &str = "quote it to make it text, or write it as a float";
/// The advice for infinities and NaN, in every format.
const NOT_FINITE_ADVICE: &str = "leave it out, or quote it to make it text";

/// A format of encoded packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A stream of YAML documents, one for each resource.
    Yaml,
    /// One JSON array of resources.
    Json,
    /// One CBOR array (RFC 8949) of resources.
    Cbor,
}

impl Format {
    /// Every format, in the order that messages list them.
    pub const ALL: [Self; 3] = [Self::Yaml, Self::Json, Self::Cbor];

    /// The name of the format on the wire and on command lines: `yaml`, `json` or `cbor`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Cbor => "cbor",
        }
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    /// Parses the name of a format, in lower case only.
    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// The error for a name that no [`Format`] has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown package format {0:?}; use yaml, json or cbor")]
pub struct UnknownFormat(String);

/// The dialect of the input, which determines how the same bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Written by people, and read as the Kubernetes tools read it.
    ///
    /// In YAML, plain `yes`, `no`, `on`, `off`, `y` and `n` are booleans, and a leading zero makes
    /// an octal number. YAML also ignores underscores between digits, and turns a number or boolean
    /// as a key into text. In every format a resource of kind `List`, `ResourceList`, or a kind
    /// such as `ConfigMapList`, is replaced by its items. Several JSON texts may follow one
    /// another, also where YAML is expected.
    People,
    /// Written by programs, in the core schema of YAML 1.2.
    ///
    /// `yes` and `12:30:00` are text, `0644` is 644, and keys must be text. A `List` is a resource
    /// like any other, and JSON input is one text.
    Programs,
}

/// A decoded resource and its place in the input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The resource: always a [`Value::Object`].
    pub value: Value,
    /// The place of the resource; the position is that of its document.
    pub at: InputPlace,
}

/// Decodes resources, in order. Empty input gives none.
///
/// Every value is a [`Value::Object`]. A top-level list (the usual form in JSON and CBOR) yields
/// its items, and a top-level map yields itself. Null and empty documents are skipped.
///
/// # Errors
/// See [`DecodeError`]. One error refuses the whole input.
pub fn decode(
    bytes: &[u8],
    format: Format,
    dialect: Dialect,
    limits: &Limits,
) -> Result<Vec<Value>, DecodeError> {
    let decoded = decode_placed(bytes, format, dialect, limits)?;
    Ok(decoded.into_iter().map(|decoded| decoded.value).collect())
}

/// Decodes resources like [`decode`], with the place of each for messages about it.
///
/// # Errors
/// The same as [`decode`].
pub fn decode_placed(
    bytes: &[u8],
    format: Format,
    dialect: Dialect,
    limits: &Limits,
) -> Result<Vec<Decoded>, DecodeError> {
    limits::within(bytes.len(), limits.bytes, Limit::Bytes)
        .map_err(|fault| fault.at(InputPlace::new(format)))?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut budget = Budget::new(limits).with_input(bytes.len());
    let documents = match format {
        Format::Yaml => {
            let text = text(bytes, format)?;
            match json_among_yaml(text, dialect, limits) {
                Some(documents) => documents?,
                None => yaml::read(text, dialect, &mut budget)?,
            }
        }
        Format::Json => json::read(text(bytes, format)?, dialect, &mut budget)?,
        Format::Cbor => vec![cbor::read(bytes, &mut budget)?],
    };
    let mut resources = Vec::with_capacity(documents.len());
    for document in documents {
        lists::spread(document, dialect, &mut budget, &mut resources)?;
    }
    Ok(resources)
}

/// Encodes values in order. YAML has one document for each, in block style without folded lines.
/// JSON has one array on one line, and CBOR one array.
///
/// No values give empty YAML, and an empty array in JSON and CBOR. Whatever [`decode`] returned
/// decodes to equal values again, from any format and in either dialect; `List`s of people stay
/// split. Encoding cannot fail, but values nested thousands of levels deep, which [`decode`] never
/// returns, may exhaust the stack.
pub fn encode<'a>(values: impl IntoIterator<Item = &'a Value>, format: Format) -> Vec<u8> {
    let values = values.into_iter();
    match format {
        Format::Yaml => emit::write(values),
        Format::Json => json::write(values),
        Format::Cbor => cbor::write(&values.collect::<Vec<_>>()),
    }
}

/// Encodes one value of any type as CBOR.
///
/// Unlike [`encode`], this adds no list around it. The storage codec uses it for its fields.
pub(crate) fn encode_value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::write_value(&mut out, value);
    out
}

/// Decodes one value of any type that [`encode_value`] encoded.
///
/// Lists are not split, and the size of the bytes is not checked against [`Limits::bytes`].
///
/// # Errors
/// See [`DecodeError`]; the position is a byte of `bytes`, from 0.
pub(crate) fn decode_value(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    cbor::read(bytes, &mut Budget::new(limits)).map(|decoded| decoded.value)
}

/// Reads JSON where YAML is expected. Unlike YAML it may be several texts without `---` in between,
/// and have long keys. Like the Kubernetes tools, this looks at the first character, and returns to
/// YAML if the text is not JSON.
///
/// `None` means that the text is to be read as YAML. That is so if it is from a program, its first
/// character is not `{`, or it is not JSON. The attempt has its own budget, so that it uses nothing
/// of the YAML reader's budget.
fn json_among_yaml(
    text: &str,
    dialect: Dialect,
    limits: &Limits,
) -> Option<Result<Vec<Decoded>, DecodeError>> {
    if dialect == Dialect::Programs || !text.trim_start().starts_with('{') {
        return None;
    }
    match json::read(text, dialect, &mut Budget::new(limits)) {
        Err(DecodeError::Malformed { .. }) => None,
        read => Some(read),
    }
}

/// Checks that the bytes are UTF-8, without copying them.
///
/// # Errors
/// `Malformed`, at the first byte that is not UTF-8. UTF-16 with a byte order mark gets its own
/// message.
fn text(bytes: &[u8], format: Format) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = error.valid_up_to();
        let before = std::str::from_utf8(&bytes[..valid]).expect("valid up to here");
        let problem = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "is UTF-16, not UTF-8; save it as UTF-8",
            _ => "is not UTF-8; save it as UTF-8",
        };
        let at = InputPlace::new(format).position(Position::in_text(before, valid));
        DecodeFault::Malformed(format!("the text {problem}")).at(at)
    })
}
