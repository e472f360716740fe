//! Bodies: packages as CBOR, compressed against the package of the template they came from.
//!
//! The packages of a template's deployments differ little: with the template's package as zstd
//! dictionary one takes a twentieth of its size. A dictionary is stored once, by its hash, and is
//! never changed; which one a body was made with stands beside it, so any will do.

use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::thread::available_parallelism;
use tko_core::encoding::{Dialect, Format, Limits, MAX_DEPTH};
use tko_core::{Change, ChangeSet, ContentHash, Error, Package, Result, TemplateId};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name};

/// As in [`Packed::codec`].
const PLAIN: i16 = 0;
const ZSTD: i16 = 1;

/// zstd's own default: the higher ones cost more than they bring beside a dictionary.
const LEVEL: i32 = 3;

/// What is smaller than this is not worth compressing.
const SMALL: usize = 64;

/// No dictionary is larger: it is the start of a larger package.
const LARGEST_DICTIONARY: usize = 1 << 20;

/// No body is larger, packed or not.
const LARGEST_BODY: usize = 256 << 20;

/// So many packages at least are worth a thread of their own: some tenths of a millisecond's work.
const SHARE: usize = 20;

/// How many templates' dictionaries, and how many packages, a process remembers.
const REMEMBERED_DICTIONARIES: usize = 1_000;
const REMEMBERED_PACKAGES: usize = 256;

/// Only packages whose stored form is smaller than this are remembered.
const REMEMBERED_BYTES: usize = 64 << 10;

thread_local! {
    // Making one takes longer than packing a package.
    static COMPRESSION: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSION: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// A body as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) codec: i16,
    pub(crate) dictionary: Option<i32>,
    /// After the length of what is packed, as 4 bytes, the lowest first.
    pub(crate) data: Vec<u8>,
}

struct Dictionary {
    number: i32,
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

impl Dictionary {
    fn new(number: i32, data: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            number,
            encoder: EncoderDictionary::copy(data, LEVEL),
            decoder: DecoderDictionary::copy(data),
        })
    }
}

/// Packs and unpacks, and remembers what it needs for that.
#[derive(Default)]
pub(crate) struct Bodies(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_number: HashMap<i32, Arc<Dictionary>>,
    /// `None`: the template has no package to speak of.
    by_template: HashMap<TemplateId, Option<Arc<Dictionary>>>,
    packages: HashMap<ContentHash, Package>,
    packed: HashMap<(ContentHash, Option<i32>), Packed>,
}

impl Bodies {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no code panics while it adds")
    }

    /// Packs packages, each of a deployment of this template or of something without one; in their
    /// order.
    pub(crate) async fn pack(
        &self,
        shared: &Shared,
        packages: &[(&Package, Option<&TemplateId>)],
    ) -> Result<Vec<Packed>> {
        let mut packed = Vec::with_capacity(packages.len());
        let mut unknown = Vec::new();
        for (package, template) in packages {
            let dictionary = match template {
                Some(template) => self.of_template(shared, template).await?,
                None => None,
            };
            let name = (package.hash(), dictionary.as_ref().map(|d| d.number));
            let known = self.known().packed.get(&name).cloned();
            if known.is_none() {
                unknown.push((packed.len(), (*package).clone(), dictionary));
            }
            packed.push(known);
        }
        let new = spread(unknown, pack_some).await?;
        let new = new.into_iter().collect::<Result<Vec<_>>>()?;
        for (place, dictionary, new) in new.into_iter().flatten() {
            if new.data.len() < REMEMBERED_BYTES {
                let name = (packages[place].0.hash(), dictionary);
                remember(&mut self.known().packed, name, new.clone());
            }
            packed[place] = Some(new);
        }
        Ok(packed.into_iter().flatten().collect())
    }

    /// The package of this hash, as it was packed.
    pub(crate) async fn unpack(
        &self,
        shared: &Shared,
        hash: ContentHash,
        packed: &Packed,
    ) -> Result<Package> {
        if let Some(package) = self.known().packages.get(&hash) {
            return Ok(package.clone());
        }
        let package = self.decode(shared, packed).await?;
        if packed.data.len() < REMEMBERED_BYTES {
            remember(&mut self.known().packages, hash, package.clone());
        }
        Ok(package)
    }

    /// The package, as it was packed.
    pub(crate) async fn decode(&self, shared: &Shared, packed: &Packed) -> Result<Package> {
        let dictionary = match packed.dictionary {
            Some(number) => Some(self.of_number(shared, number).await?),
            None => None,
        };
        let bytes = unpack(packed, dictionary.as_deref())?;
        let limits = Limits {
            bytes: usize::MAX,
            depth: MAX_DEPTH,
            values: usize::MAX,
            documents: usize::MAX,
            ..Limits::default()
        };
        Package::decode(&bytes, Format::Cbor, Dialect::Programs, &limits)
            .map_err(|error| Error::internal("decode a stored package", error))
    }

    /// The template has a new package, or none any more.
    pub(crate) fn forget(&self, template: &TemplateId) {
        self.known().by_template.remove(template);
    }

    async fn of_number(&self, shared: &Shared, number: i32) -> Result<Arc<Dictionary>> {
        if let Some(dictionary) = self.known().by_number.get(&number) {
            return Ok(dictionary.clone());
        }
        let data: Vec<u8> = sqlx::query_scalar("SELECT data FROM dictionary WHERE num = $1")
            .bind(number)
            .fetch_one(&shared.pool)
            .sent(&shared.measures, Purpose::ReadDictionary)
            .await?;
        let dictionary = Dictionary::new(number, &data);
        remember_some(&mut self.known().by_number, number, dictionary.clone());
        Ok(dictionary)
    }

    async fn of_template(
        &self,
        shared: &Shared,
        template: &TemplateId,
    ) -> Result<Option<Arc<Dictionary>>> {
        if let Some(known) = self.known().by_template.get(template) {
            return Ok(known.clone());
        }
        let stored: Option<(i16, Option<i32>, Vec<u8>)> = sqlx::query_as(
            "SELECT b.codec, b.dictionary, b.data FROM entity e JOIN body b ON b.at = e.body_at \
             WHERE e.kind = 0 AND e.id = $1",
        )
        .bind(template.as_str())
        .fetch_optional(&shared.pool)
        .sent(&shared.measures, Purpose::ReadTemplate)
        .await?;
        let found = match stored {
            Some((codec, None, data)) => {
                let packed = Packed {
                    codec,
                    dictionary: None,
                    data,
                };
                let mut bytes = unpack(&packed, None)?;
                bytes.truncate(LARGEST_DICTIONARY);
                let number = store(shared, &bytes).await?;
                Some(self.of_number(shared, number).await?)
            }
            // No package to speak of, or one that is itself made with another.
            None | Some((_, Some(_), _)) => None,
        };
        remember_some(
            &mut self.known().by_template,
            template.clone(),
            found.clone(),
        );
        Ok(found)
    }
}

/// A package with its place and what it is packed with.
type Unpacked = (usize, Package, Option<Arc<Dictionary>>);

/// The same, packed, with the number of what it was to be packed with.
type New = (usize, Option<i32>, Packed);

/// Has the hashes of all packages of a set made, which remember them.
pub(crate) async fn hash(set: &ChangeSet) -> Result<()> {
    let packages = set.changes.iter().filter_map(|change| match change {
        Change::Put(put) => put.body.clone(),
        Change::Delete(_) | Change::Conditions(..) => None,
    });
    let hash_some = |packages: Vec<Package>| packages.iter().for_each(|package| _ = package.hash());
    spread(packages.collect(), hash_some).await.map(drop)
}

/// How many work at once. Asked once: the answer is read from files.
static THREADS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));

/// Works on each package, on several threads if they are many: the database has nothing to do
/// meanwhile. What came of it, part by part.
async fn spread<P: Send + 'static, D: Send + 'static>(
    mut packages: Vec<P>,
    work: fn(Vec<P>) -> D,
) -> Result<Vec<D>> {
    let share = packages.len().div_ceil(*THREADS).max(SHARE);
    let mut elsewhere = Vec::new();
    while packages.len() > share {
        let some = packages.split_off(packages.len() - share);
        elsewhere.push(tokio::task::spawn_blocking(move || work(some)));
    }
    // The rest here, meanwhile.
    let mut done = vec![work(packages)];
    for some in elsewhere {
        let some = some.await;
        done.push(some.map_err(|error| Error::internal("hash or compress packages", error))?);
    }
    Ok(done)
}

fn pack_some(packages: Vec<Unpacked>) -> Result<Vec<New>> {
    let packed = packages.into_iter().map(|(place, package, dictionary)| {
        let packed = pack(&package.encode(Format::Cbor), dictionary.as_deref())
            .map_err(|error| Error::internal("compress a package", error))?;
        Ok((place, dictionary.map(|d| d.number), packed))
    });
    packed.collect()
}

async fn store(shared: &Shared, data: &[u8]) -> Result<i32> {
    let hash = blake3::hash(data);
    // The second part finds what was there, or was stored at the same time by another.
    sqlx::query("INSERT INTO dictionary (hash, data) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(&hash.as_bytes()[..])
        .bind(data)
        .execute(&shared.pool)
        .sent(&shared.measures, Purpose::StoreDictionary)
        .await?;
    sqlx::query_scalar("SELECT num FROM dictionary WHERE hash = $1")
        .bind(&hash.as_bytes()[..])
        .fetch_one(&shared.pool)
        .sent(&shared.measures, Purpose::FindDictionary)
        .await
}

fn remember<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= REMEMBERED_PACKAGES {
        map.clear();
    }
    map.insert(key, value);
}

fn remember_some<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= REMEMBERED_DICTIONARIES {
        map.clear();
    }
    map.insert(key, value);
}

fn pack(bytes: &[u8], dictionary: Option<&Dictionary>) -> std::io::Result<Packed> {
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|length| *length as usize <= LARGEST_BODY)
        .ok_or_else(|| std::io::Error::other(format!("{} bytes are too many", bytes.len())))?;
    let mut data = length.to_le_bytes().to_vec();
    if bytes.len() < SMALL {
        data.extend_from_slice(bytes);
        return Ok(Packed {
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
    Ok(Packed {
        codec: ZSTD,
        dictionary: dictionary.map(|d| d.number),
        data,
    })
}

fn unpack(packed: &Packed, dictionary: Option<&Dictionary>) -> Result<Vec<u8>> {
    let broken = |what: String| Error::internal("unpack a stored package", what);
    let (length, data) = packed
        .data
        .split_first_chunk::<4>()
        .ok_or_else(|| broken("it has no length".to_owned()))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > LARGEST_BODY {
        return Err(broken(format!("{length} bytes are too many")));
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
            "codec {codec} is of a newer version of TKO"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Dictionary, Packed, ZSTD, pack, unpack};

    #[test]
    fn what_is_packed_is_unpacked_with_and_without_dictionary() {
        let template =
            b"apiVersion: v1, kind: ConfigMap, metadata: a long text that is shared".repeat(30);
        let mut package = template.clone();
        package[500] ^= 1;
        let dictionary = Dictionary::new(7, &template);
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
    fn the_empty_and_the_small_are_kept_plain() {
        for bytes in [&b""[..], b"x"] {
            let packed = pack(bytes, None).expect("it is small enough");
            assert_eq!(unpack(&packed, None).expect("as packed"), bytes);
        }
    }

    #[test]
    fn what_was_damaged_is_an_error() {
        let mut packed = pack(&[7; 500], None).expect("it is small enough");
        packed.data.truncate(9);
        assert!(unpack(&packed, None).is_err(), "cut short");
        for data in [vec![1, 2], vec![255; 8]] {
            let packed = Packed {
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
