//! Bodies: packages as CBOR, compressed against the package of their template.
//!
//! Packages of one template differ little. With the package of the template as zstd dictionary, a
//! package takes a twentieth of its size. Dictionaries are stored once, by hash, and immutable. A
//! body names its dictionary, so changing a template's dictionary does not affect stored bodies.

mod packing;

use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use packing::{TemplateDictionary, pack_all, unpack, unpack_package};
use sqlx::FromRow;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZero;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::thread::available_parallelism;
use tko_core::{Change, ChangeSet, ContentHash, Error, Package, Result, TemplateId};

pub(crate) use packing::PackedBody;

/// The limit of a dictionary in bytes. If a package is larger, only its start is used.
const MAX_DICTIONARY: usize = 1 << 20;

/// The minimum number of packages that justify another thread: packing them takes some tenths of a
/// millisecond.
const MIN_PER_THREAD: usize = 20;

/// Maximum number of dictionaries and of packages that a process caches.
const CACHED_DICTIONARIES: usize = 1_000;
const CACHED_PACKAGES: usize = 256;

/// Packages whose packed form has at least this many bytes are not cached.
const MAX_CACHED_BYTES: usize = 64 << 10;

/// Selects bodies by their keys, as [`BodyRow`]s.
pub(crate) const SELECT_BODIES: &str =
    "SELECT at, codec, dictionary, data FROM body WHERE at = ANY($1)";

/// A row of the table `body`.
#[derive(Debug, FromRow)]
pub(crate) struct BodyRow {
    at: i64,
    codec: i16,
    dictionary: Option<i32>,
    data: Vec<u8>,
}

impl BodyRow {
    /// Returns the key, and the packed body.
    pub(crate) fn packed(self) -> (i64, PackedBody) {
        let packed = PackedBody {
            codec: self.codec,
            dictionary: self.dictionary,
            data: self.data,
        };
        (self.at, packed)
    }
}

/// Packs and unpacks packages, with caches.
pub(crate) struct Bodies {
    database: Arc<Database>,
    cache: Mutex<BodyCache>,
}

#[derive(Default)]
struct BodyCache {
    by_number: HashMap<i32, Arc<TemplateDictionary>>,
    /// `None`: the template has no package, or one that cannot be a dictionary.
    by_template: HashMap<TemplateId, Option<Arc<TemplateDictionary>>>,
    packages: HashMap<ContentHash, Package>,
    packed: HashMap<(ContentHash, Option<i32>), PackedBody>,
}

impl Bodies {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            cache: Mutex::default(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, BodyCache> {
        self.cache.lock().expect("no code panics while it adds")
    }

    /// Packs packages, each with the template of its deployment if it has one. Keeps the order.
    pub(crate) async fn pack(
        &self,
        packages: &[(&Package, Option<&TemplateId>)],
    ) -> Result<Vec<PackedBody>> {
        let mut packed = Vec::with_capacity(packages.len());
        let mut unknown = Vec::new();
        for (package, template) in packages {
            let dictionary = match template {
                Some(template) => self.dictionary_of(template).await?,
                None => None,
            };
            let name = (package.hash(), dictionary.as_ref().map(|d| d.number));
            let known = self.cache().packed.get(&name).cloned();
            if known.is_none() {
                unknown.push((packed.len(), (*package).clone(), dictionary));
            }
            packed.push(known);
        }
        let new = spread(unknown, pack_all).await?;
        let new = new.into_iter().collect::<Result<Vec<_>>>()?;
        for (position, dictionary, new) in new.into_iter().flatten() {
            if new.data.len() < MAX_CACHED_BYTES {
                let name = (packages[position].0.hash(), dictionary);
                insert(&mut self.cache().packed, CACHED_PACKAGES, name, new.clone());
            }
            packed[position] = Some(new);
        }
        Ok(packed.into_iter().flatten().collect())
    }

    /// Returns the package with this hash, from the cache or from its packed form.
    pub(crate) async fn unpack(&self, hash: ContentHash, packed: &PackedBody) -> Result<Package> {
        if let Some(package) = self.cache().packages.get(&hash) {
            return Ok(package.clone());
        }
        let package = self.decode(packed).await?;
        if packed.data.len() < MAX_CACHED_BYTES {
            insert(
                &mut self.cache().packages,
                CACHED_PACKAGES,
                hash,
                package.clone(),
            );
        }
        Ok(package)
    }

    /// Returns the package of a packed form, without the cache of packages.
    pub(crate) async fn decode(&self, packed: &PackedBody) -> Result<Package> {
        let dictionary = match packed.dictionary {
            Some(number) => Some(self.dictionary(number).await?),
            None => None,
        };
        unpack_package(packed, dictionary.as_deref())
    }

    /// Forgets the dictionary of a template whose package changed.
    pub(crate) fn forget(&self, template: &TemplateId) {
        self.cache().by_template.remove(template);
    }

    async fn dictionary(&self, number: i32) -> Result<Arc<TemplateDictionary>> {
        if let Some(dictionary) = self.cache().by_number.get(&number) {
            return Ok(dictionary.clone());
        }
        let data: Vec<u8> = sqlx::query_scalar("SELECT data FROM dictionary WHERE num = $1")
            .bind(number)
            .fetch_one(&self.database.pool)
            .sent(&self.database.metrics, Purpose::ReadDictionary)
            .await?;
        let dictionary = TemplateDictionary::new(number, &data);
        insert(
            &mut self.cache().by_number,
            CACHED_DICTIONARIES,
            number,
            dictionary.clone(),
        );
        Ok(dictionary)
    }

    async fn dictionary_of(
        &self,
        template: &TemplateId,
    ) -> Result<Option<Arc<TemplateDictionary>>> {
        if let Some(known) = self.cache().by_template.get(template) {
            return Ok(known.clone());
        }
        let stored: Option<(i16, Option<i32>, Vec<u8>)> = sqlx::query_as(
            "SELECT b.codec, b.dictionary, b.data FROM entity e JOIN body b ON b.at = e.body_at \
             WHERE e.kind = 0 AND e.id = $1",
        )
        .bind(template.as_str())
        .fetch_optional(&self.database.pool)
        .sent(&self.database.metrics, Purpose::ReadTemplate)
        .await?;
        let found = match stored {
            Some((codec, None, data)) => {
                let packed = PackedBody {
                    codec,
                    dictionary: None,
                    data,
                };
                let mut bytes = unpack(&packed, None)?;
                bytes.truncate(MAX_DICTIONARY);
                let number = self.store(&bytes).await?;
                Some(self.dictionary(number).await?)
            }
            // The template has no package, or one that needs a dictionary itself.
            None | Some((_, Some(_), _)) => None,
        };
        insert(
            &mut self.cache().by_template,
            CACHED_DICTIONARIES,
            template.clone(),
            found.clone(),
        );
        Ok(found)
    }

    /// Stores a dictionary, if it is new. Returns its number.
    async fn store(&self, data: &[u8]) -> Result<i32> {
        let Database { pool, metrics, .. } = &*self.database;
        let hash = blake3::hash(data);
        sqlx::query("INSERT INTO dictionary (hash, data) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&hash.as_bytes()[..])
            .bind(data)
            .execute(pool)
            .sent(metrics, Purpose::StoreDictionary)
            .await?;
        // Not by RETURNING: another process may have stored it first.
        sqlx::query_scalar("SELECT num FROM dictionary WHERE hash = $1")
            .bind(&hash.as_bytes()[..])
            .fetch_one(pool)
            .sent(metrics, Purpose::FindDictionary)
            .await
    }
}

/// Adds to a cache; a full one starts again from empty.
fn insert<K: Hash + Eq, V>(cache: &mut HashMap<K, V>, limit: usize, key: K, value: V) {
    if cache.len() >= limit {
        cache.clear();
    }
    cache.insert(key, value);
}

/// Computes the hashes of all packages of a change set. Packages remember their hashes.
pub(crate) async fn hash(set: &ChangeSet) -> Result<()> {
    let packages = set.changes.iter().filter_map(|change| match change {
        Change::Put(put) => put.body.clone(),
        Change::Delete(_) | Change::Conditions(..) => None,
    });
    let hash_all = |packages: Vec<Package>| packages.iter().for_each(|package| _ = package.hash());
    spread(packages.collect(), hash_all).await.map(drop)
}

/// Threads for one change set. Cached, because the operating system answers from files.
static THREADS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));

/// Works on packages, on several threads if there are many. Returns one result per thread.
///
/// The database waits meanwhile, so its processors are free.
async fn spread<P: Send + 'static, D: Send + 'static>(
    mut packages: Vec<P>,
    work: fn(Vec<P>) -> D,
) -> Result<Vec<D>> {
    let share = packages.len().div_ceil(*THREADS).max(MIN_PER_THREAD);
    let mut threads = Vec::new();
    while packages.len() > share {
        let part = packages.split_off(packages.len() - share);
        threads.push(tokio::task::spawn_blocking(move || work(part)));
    }
    // This thread does the rest.
    let mut done = vec![work(packages)];
    for thread in threads {
        let part = thread.await;
        done.push(part.map_err(|error| Error::internal("hash or compress packages", error))?);
    }
    Ok(done)
}
