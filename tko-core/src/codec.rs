//! Row codec: entities, work, changes and packages as bytes, for backends that store bytes.
//!
//! [`encode`] returns the bytes of one value, [`decode`] reads them back. Equal values have equal
//! bytes. A backend needs to know nothing about the encoding, except that [`sort_key`] returns keys
//! that sort as [`Key`]s do.
//!
//! ```
//! use tko_core::{Key, Kind, Limits, Package, codec};
//!
//! let package = Package::default();
//! let bytes = codec::encode(&package);
//! assert_eq!(bytes[0], codec::VERSION);
//! assert_eq!(codec::decode::<Package>(&bytes, &Limits::default())?, package);
//!
//! let key = Key::new(Kind::Site, "lab/one")?;
//! assert_eq!(codec::sort_key(&key), b"\x01lab/one");
//! assert_eq!(codec::key_of(b"\x01lab/one")?, key);
//! # Ok::<(), tko_core::Error>(())
//! ```
//!
//! # Format
//!
//! The first byte is the format [`VERSION`]. One CBOR list (RFC 8949, definite lengths) follows,
//! and nothing after it. Its first item is the type of the value; the others are its fields in the
//! order below. `?` marks a field that may be null.
//!
//! | type | value | fields |
//! |--:|---|---|
//! | 0 | [`Entity`](crate::Entity) | key, version, generation, created, updated, deleting, inherited, given, metadata, conditions, facts, body |
//! | 1 | [`Package`](crate::Package) | list of resources |
//! | 2 | [`Work`](crate::Work) | stage, key, lane, due, attempts, error?, progress?, leased? |
//! | 3 | [`WorkItem`](crate::commit::WorkItem) | lane, due, attempts, error?, progress?, requeued?, lease? |
//! | 4 | [`ChangeRecord`](crate::ChangeRecord) | revision, set, at, key, cause?, before?, after? (each a record) |
//! | 5 | [`Record`](crate::Record) | record |
//!
//! | part | encoding |
//! |---|---|
//! | key | list of kind (0 template, 1 site, 2 deployment, 3 plugin) and id |
//! | time | integer, microseconds since 1970 |
//! | metadata | map of text to text, keys ascending |
//! | condition | list of kind, status?, reason, message, observed generation, since |
//! | facts of a template | list of 0 |
//! | facts of a site | list of 1, template?, origin? |
//! | facts of a deployment | list of 2, parent?, template?, origin?, site?, prepared, approved, placed? (list of site and generation), idempotency key?, Deployment resource |
//! | facts of a plugin | list of 3, executor, arguments, properties (map, keys ascending), triggers (each a list of group, version, kind) |
//! | Deployment resource | list of skeleton, position, template?, site? |
//! | body | byte string, the 32 bytes of the content hash |
//! | resource, skeleton, progress | byte string that holds the value's own CBOR |
//! | stage | 0 prepare, 1 schedule, 2 delete |
//! | lease | list of secret and end |
//! | record | list of an entity's fields (without the type) and revision? |
//!
//! The package and the work of a record are left out. Store packages by content hash, once each,
//! and keep every package that a row or a kept change refers to.
//!
//! # Versions
//!
//! Any change to these tables makes a new version. A program reads all versions up to its own, and
//! refuses later ones. The structure of stored bytes is checked; a flipped bit within a text is
//! not detected. Leave checksums to the storage.

mod change;
mod entity;
mod package;
mod reader;
#[cfg(test)]
mod tests;
mod work;
mod writer;

use crate::encoding::Limits;
use crate::error::Error;
use crate::id::{Key, Kind};
use reader::RowReader;
use writer::RowWriter;

/// The version of the format that [`encode`] writes.
pub const VERSION: u8 = 1;

/// A value that can be stored as bytes. Only the types in the first table of the
/// [format](self#format) implement it.
pub trait Stored: fields::Fields {}

impl<T: fields::Fields> Stored for T {}

mod fields {
    use super::reader::{CodecFault, RowReader};
    use super::writer::RowWriter;

    /// The fields of a stored value.
    pub trait Fields: Sized {
        /// The type number in the first table of the format.
        const TYPE: u64;
        /// The name of the type in errors.
        const NAME: &'static str;
        /// The number of fields, without the type.
        const COUNT: usize;

        /// Writes all fields in order.
        fn write(&self, writer: &mut RowWriter);
        /// Reads all fields in order.
        fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault>;
    }
}

/// Encodes one value.
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut writer = RowWriter::new(VERSION);
    writer.list(T::COUNT + 1);
    writer.unsigned(T::TYPE);
    value.write(&mut writer);
    writer.finish()
}

/// Decodes one value that [`encode`] wrote, in this version of the format or an earlier one.
///
/// The bytes are not trusted: their size, and the depth and size of the values inside, stay within
/// `limits`. Memory use is proportional to their length.
///
/// # Errors
/// See [`CodecError`].
pub fn decode<T: Stored>(bytes: &[u8], limits: &Limits) -> Result<T, CodecError> {
    let what = T::NAME;
    if bytes.len() > limits.bytes {
        return Err(CodecError::TooLarge {
            what,
            bytes: bytes.len(),
            most: limits.bytes,
        });
    }
    match bytes.first() {
        Some(&VERSION) => {}
        Some(&found) => return Err(CodecError::UnknownVersion { what, found }),
        None => {
            return Err(CodecError::Damaged {
                what,
                at: 0,
                problem: "no bytes".to_owned(),
            });
        }
    }
    let mut reader = RowReader::new(bytes, limits);
    read(&mut reader).map_err(|fault| CodecError::Damaged {
        what,
        at: reader.position(),
        problem: fault.0,
    })
}

/// Reads the list that follows the version byte: the type, the fields, and nothing more.
///
/// `decode` adds the position to a fault, so this function does not know it.
fn read<T: Stored>(reader: &mut RowReader<'_>) -> Result<T, reader::CodecFault> {
    reader.list_of(T::COUNT + 1)?;
    let found = reader.unsigned()?;
    if found != T::TYPE {
        return Err(reader::CodecFault(format!(
            "it is of type {found}, and type {} is expected",
            T::TYPE
        )));
    }
    let value = T::read(reader)?;
    reader.end()?;
    Ok(value)
}

/// The bytes of a key. They sort as keys do, and no two keys share them.
///
/// The first byte is the kind (0 template, 1 site, 2 deployment, 3 plugin); the id follows.
pub fn sort_key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.id().len());
    bytes.push(key.kind() as u8);
    bytes.extend_from_slice(key.id().as_bytes());
    bytes
}

/// The key for which [`sort_key`] returned these bytes.
///
/// # Errors
/// [`CodecError::Damaged`]: no key has these bytes.
pub fn key_of(bytes: &[u8]) -> Result<Key, CodecError> {
    let damaged = |at, problem: &str| CodecError::Damaged {
        what: "key",
        at,
        problem: problem.to_owned(),
    };
    let (kind, id) = bytes.split_first().ok_or_else(|| damaged(0, "no bytes"))?;
    let kind = Kind::ALL
        .into_iter()
        .find(|other| *other as u8 == *kind)
        .ok_or_else(|| damaged(0, "unknown kind"))?;
    let id = std::str::from_utf8(id).map_err(|_| damaged(1, "the id is not UTF-8"))?;
    Key::new(kind, id).map_err(|error| damaged(1, &error.to_string()))
}

/// Why stored bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes were written by a later version of TKO, or are not a stored value: upgrade.
    #[error(
        "the stored {what} has format version {found}; this program reads version {VERSION}: upgrade it"
    )]
    UnknownVersion {
        /// The expected value, such as `entity`.
        what: &'static str,
        /// The first byte.
        found: u8,
    },
    /// The bytes are not what [`encode`] wrote: restore them from a backup.
    #[error("the stored {what} is damaged at byte {at}: {problem}")]
    Damaged {
        /// The expected value, such as `entity`.
        what: &'static str,
        /// The position of the problem, in bytes from 0.
        at: usize,
        /// The difference from the format.
        problem: String,
    },
    /// There are more bytes than the limits allow: raise [`Limits::bytes`].
    #[error("the stored {what} has {bytes} bytes; the limit is {most}: raise it")]
    TooLarge {
        /// The expected value, such as `entity`.
        what: &'static str,
        /// The number of bytes.
        bytes: usize,
        /// The limit.
        most: usize,
    },
}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        Self::internal("decode stored data", error)
    }
}
