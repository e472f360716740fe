//! Rows, packages and work items as stored bytes.
//!
//! Packages of one template differ little. With the package of the template as zstd dictionary, a
//! package takes a tenth of its size or less.

use std::cell::RefCell;
use std::sync::OnceLock;
use tko_core::codec::{CodecError, Stored, decode, encode};
use tko_core::encoding::MAX_STORED;
use tko_core::{Error, Limits, Package, Result};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name, get_frame_content_size};

/// zstd's default level: with a dictionary, higher levels gain little and cost much.
const LEVEL: i32 = 3;

/// Smaller packages, in bytes, are not compressed.
const MIN_COMPRESSED: usize = 64;

/// The first bytes of a zstd frame (RFC 8878). Values that the codec writes begin with its version
/// instead.
const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

thread_local! {
    // Creating a context takes longer than packing a package.
    static COMPRESSION: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSION: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Encodes a value for storage.
pub(crate) fn pack<T: Stored>(value: &T) -> Vec<u8> {
    encode(value)
}

/// Decodes a stored value.
pub(crate) fn unpack<T: Stored>(bytes: &[u8]) -> Result<T> {
    decode(bytes, &Limits::stored())
        .map_err(|error: CodecError| Error::internal("read a stored row", error))
}

/// The package of a template, as a dictionary for zstd.
pub(crate) struct BodyDictionary {
    pub(crate) number: i64,
    bytes: Vec<u8>,
    encoder: OnceLock<EncoderDictionary<'static>>,
    decoder: OnceLock<DecoderDictionary<'static>>,
}

impl BodyDictionary {
    pub(crate) fn new(number: i64, bytes: Vec<u8>) -> Self {
        Self {
            number,
            bytes,
            encoder: OnceLock::new(),
            decoder: OnceLock::new(),
        }
    }

    /// The size of the dictionary in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// A package for storage.
pub(crate) struct StoredBody {
    /// The number of the dictionary that it was compressed with.
    pub(crate) dictionary: Option<i64>,
    pub(crate) data: Vec<u8>,
}

/// Encodes and compresses a package.
pub(crate) fn pack_body(
    package: &Package,
    dictionary: Option<&BodyDictionary>,
) -> Result<StoredBody> {
    compress(encode(package), dictionary)
}

/// Compresses bytes, if that makes them shorter.
pub(crate) fn compress(bytes: Vec<u8>, dictionary: Option<&BodyDictionary>) -> Result<StoredBody> {
    let plain = |data| StoredBody {
        dictionary: None,
        data,
    };
    if bytes.len() < MIN_COMPRESSED {
        return Ok(plain(bytes));
    }
    let mut data = Vec::with_capacity(compress_bound(bytes.len()));
    COMPRESSION
        .with_borrow_mut(|context| match dictionary {
            Some(dictionary) => {
                let encoder = dictionary
                    .encoder
                    .get_or_init(|| EncoderDictionary::copy(&dictionary.bytes, LEVEL));
                context.compress_using_cdict(&mut data, &bytes, encoder.as_cdict())
            }
            None => context.compress(&mut data, &bytes, LEVEL),
        })
        .map_err(|code| Error::internal("compress a package", get_error_name(code)))?;
    if data.len() >= bytes.len() {
        return Ok(plain(bytes));
    }
    data.shrink_to_fit();
    Ok(StoredBody {
        dictionary: dictionary.map(|dictionary| dictionary.number),
        data,
    })
}

/// Decompresses and decodes a package.
pub(crate) fn unpack_body(data: &[u8], dictionary: Option<&BodyDictionary>) -> Result<Package> {
    if data.starts_with(&FRAME) {
        unpack(&decompress(data, dictionary)?)
    } else {
        unpack(data)
    }
}

/// Decompresses bytes that [`compress`] returned.
pub(crate) fn decompress(data: &[u8], dictionary: Option<&BodyDictionary>) -> Result<Vec<u8>> {
    let broken = |problem: &str| Error::internal("decompress a stored package", problem.to_owned());
    if !data.starts_with(&FRAME) {
        return Ok(data.to_vec());
    }
    let length = get_frame_content_size(data).ok().flatten();
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length
        .filter(|length| *length <= MAX_STORED)
        .ok_or_else(|| broken("its length is missing or too large"))?;
    let mut bytes = Vec::with_capacity(length);
    DECOMPRESSION
        .with_borrow_mut(|context| match dictionary {
            Some(dictionary) => {
                let decoder = dictionary
                    .decoder
                    .get_or_init(|| DecoderDictionary::copy(&dictionary.bytes));
                context.decompress_using_ddict(&mut bytes, data, decoder.as_ddict())
            }
            None => context.decompress(&mut bytes, data),
        })
        .map_err(|code| broken(get_error_name(code)))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{BodyDictionary, FRAME, MAX_STORED, compress, decompress, pack_body, unpack_body};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tko_core::encoding::MAX_DEPTH;
    use tko_core::{Package, Resource};

    #[test]
    fn packing_round_trips_with_and_without_a_dictionary() {
        let template =
            b"apiVersion: v1, kind: ConfigMap, metadata: a long text that is shared".repeat(30);
        let mut package = template.clone();
        package[500] ^= 1;
        let dictionary = BodyDictionary::new(7, template);
        for dictionary in [None, Some(&dictionary)] {
            let packed = compress(package.clone(), dictionary).expect("it can be compressed");
            assert_eq!(packed.dictionary, dictionary.map(|known| known.number));
            let unpacked = decompress(&packed.data, dictionary).expect("as packed");
            assert_eq!(unpacked, package);
        }
        let alone = compress(package[..200].to_vec(), None).expect("it can be compressed");
        let with = compress(package[..200].to_vec(), Some(&dictionary)).expect("it can be");
        assert!(
            with.data.len() * 2 < alone.data.len(),
            "the dictionary helps"
        );
    }

    #[test]
    fn a_package_that_is_nested_more_deeply_than_input_may_be_is_read() {
        let deep = (1..MAX_DEPTH).fold(Value::Null, |inner, _| json!({"a": inner}));
        let resource =
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "a": deep});
        let resource = Resource::stored(resource).expect("identified");
        let package = Package::new(vec![Arc::new(resource)]).expect("a package");
        let packed = pack_body(&package, None).expect("it is stored");
        let read = unpack_body(&packed.data, None).expect("it is read");
        assert_eq!(read, package);
    }

    #[test]
    fn bytes_that_do_not_become_shorter_stay_as_they_are() {
        let noise: Vec<u8> = (0_u32..200)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        let dictionary = BodyDictionary::new(7, b"of something else".repeat(9));
        for bytes in [Vec::new(), b"x".to_vec(), noise] {
            let packed = compress(bytes.clone(), Some(&dictionary)).expect("it is stored");
            assert_eq!((packed.dictionary, packed.data), (None, bytes));
        }
    }

    #[test]
    fn damaged_bodies_are_errors() {
        let bytes = b"a package that repeats itself".repeat(20);
        let packed = compress(bytes, None).expect("it can be compressed").data;
        for end in 0..packed.len() {
            assert!(unpack_body(&packed[..end], None).is_err(), "cut at {end}");
        }
        // A frame that says that it has 512 MiB and one byte, and nothing more.
        let mut large = FRAME.to_vec();
        large.push(0xa0);
        let length = u32::try_from(MAX_STORED).expect("few") + 1;
        large.extend(length.to_le_bytes());
        assert!(decompress(&large, None).is_err());
    }
}
