//! Packing: a package as CBOR, compressed with zstd, with or without a dictionary.

use std::cell::RefCell;
use std::sync::Arc;
use tko_core::encoding::{Dialect, Format, Limits};
use tko_core::{Error, Package, Result};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name};

/// Values of [`PackedBody::codec`].
const PLAIN: i16 = 0;
const ZSTD: i16 = 1;

/// zstd's default level: with a dictionary, higher levels gain little and cost much.
const LEVEL: i32 = 3;

/// Smaller packages, in bytes, are not compressed.
const MIN_COMPRESSED: usize = 64;

/// The limit of a body in bytes, packed or not.
const MAX_BODY: usize = 256 << 20;

thread_local! {
    // Creating a context takes longer than packing a package.
    static COMPRESSION: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSION: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// A row of the table `body`, without its key.
#[derive(Clone, Debug)]
pub(crate) struct PackedBody {
    pub(crate) codec: i16,
    /// The number of the dictionary.
    pub(crate) dictionary: Option<i32>,
    /// The unpacked length as 4 bytes, least significant first, and then the packed bytes.
    pub(crate) data: Vec<u8>,
}

/// A dictionary, prepared for zstd.
pub(super) struct TemplateDictionary {
    pub(super) number: i32,
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

impl TemplateDictionary {
    pub(super) fn new(number: i32, data: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            number,
            encoder: EncoderDictionary::copy(data, LEVEL),
            decoder: DecoderDictionary::copy(data),
        })
    }
}

/// A package to pack: its position, and its dictionary.
pub(super) type PackTask = (usize, Package, Option<Arc<TemplateDictionary>>);

/// A packed package: its position, and the number of the dictionary that it was given.
pub(super) type PackResult = (usize, Option<i32>, PackedBody);

/// Packs packages.
pub(super) fn pack_all(packages: Vec<PackTask>) -> Result<Vec<PackResult>> {
    let packed = packages.into_iter().map(|(position, package, dictionary)| {
        let packed = pack(&package.encode(Format::Cbor), dictionary.as_deref())
            .map_err(|error| Error::internal("compress a package", error))?;
        Ok((position, dictionary.map(|d| d.number), packed))
    });
    packed.collect()
}

/// Unpacks and decodes a package.
pub(super) fn unpack_package(
    packed: &PackedBody,
    dictionary: Option<&TemplateDictionary>,
) -> Result<Package> {
    let bytes = unpack(packed, dictionary)?;
    Package::decode(&bytes, Format::Cbor, Dialect::Programs, &Limits::stored())
        .map_err(|error| Error::internal("decode a stored package", error))
}

/// Compresses the bytes of a package, unless they are few.
fn pack(bytes: &[u8], dictionary: Option<&TemplateDictionary>) -> std::io::Result<PackedBody> {
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|length| *length as usize <= MAX_BODY)
        .ok_or_else(|| {
            std::io::Error::other(format!(
                "its {} bytes exceed the limit of {MAX_BODY}",
                bytes.len()
            ))
        })?;
    let mut data = length.to_le_bytes().to_vec();
    if bytes.len() < MIN_COMPRESSED {
        data.extend_from_slice(bytes);
        return Ok(PackedBody {
            codec: PLAIN,
            dictionary: None,
            data,
        });
    }
    let mut compressed = Vec::with_capacity(compress_bound(bytes.len()));
    COMPRESSION
        .with_borrow_mut(|context| match dictionary {
            Some(dictionary) => {
                context.compress_using_cdict(&mut compressed, bytes, dictionary.encoder.as_cdict())
            }
            None => context.compress(&mut compressed, bytes, LEVEL),
        })
        .map_err(|code| std::io::Error::other(get_error_name(code)))?;
    data.extend(compressed);
    Ok(PackedBody {
        codec: ZSTD,
        dictionary: dictionary.map(|d| d.number),
        data,
    })
}

/// Unpacks bytes.
pub(super) fn unpack(
    packed: &PackedBody,
    dictionary: Option<&TemplateDictionary>,
) -> Result<Vec<u8>> {
    let broken = |what: String| Error::internal("unpack a stored package", what);
    let (length, data) = packed
        .data
        .split_first_chunk::<4>()
        .ok_or_else(|| broken("its length is missing".to_owned()))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_BODY {
        return Err(broken(format!(
            "its length of {length} bytes exceeds the limit of {MAX_BODY}"
        )));
    }
    match packed.codec {
        PLAIN => Ok(data.to_vec()),
        ZSTD => {
            let mut bytes = Vec::with_capacity(length);
            DECOMPRESSION
                .with_borrow_mut(|context| match dictionary {
                    Some(dictionary) => context.decompress_using_ddict(
                        &mut bytes,
                        data,
                        dictionary.decoder.as_ddict(),
                    ),
                    None => context.decompress(&mut bytes, data),
                })
                .map_err(|code| {
                    Error::internal("decompress a stored package", get_error_name(code))
                })?;
            Ok(bytes)
        }
        codec => Err(broken(format!(
            "codec {codec} is unknown; it may come from a newer version of TKO"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{PackedBody, TemplateDictionary, ZSTD, pack, unpack};

    #[test]
    fn packing_round_trips_with_and_without_a_dictionary() {
        let template =
            b"apiVersion: v1, kind: ConfigMap, metadata: a long text that is shared".repeat(30);
        let mut package = template.clone();
        package[500] ^= 1;
        let dictionary = TemplateDictionary::new(7, &template);
        for dictionary in [None, Some(&*dictionary)] {
            let packed = pack(&package, dictionary).expect("it is small enough");
            assert_eq!(unpack(&packed, dictionary).expect("as packed"), package);
        }
        let alone = pack(&package[..200], None).expect("it is small enough");
        let with = pack(&package[..200], Some(&dictionary)).expect("it is small enough");
        assert!(
            with.data.len() * 2 < alone.data.len(),
            "the dictionary helps"
        );
    }

    #[test]
    fn small_packages_are_not_compressed() {
        for bytes in [&b""[..], b"x"] {
            let packed = pack(bytes, None).expect("it is small enough");
            assert_eq!(unpack(&packed, None).expect("as packed"), bytes);
        }
    }

    #[test]
    fn damaged_bodies_are_errors() {
        let mut packed = pack(&[7; 500], None).expect("it is small enough");
        packed.data.truncate(9);
        assert!(unpack(&packed, None).is_err(), "cut short");
        for data in [vec![1, 2], vec![255; 8]] {
            let packed = PackedBody {
                codec: ZSTD,
                dictionary: None,
                data,
            };
            assert!(unpack(&packed, None).is_err());
        }
        packed.codec = 99;
        assert!(unpack(&packed, None).is_err(), "from the future");
    }
}
