//! The dictionaries of packages: chooses one for each package, and caches those that were read.
//!
//! A dictionary is the package of a template. Any dictionary works for any package, because the
//! package names it; the dictionary of its own template compresses best.

use crate::arena::RowList;
use crate::connect::{SqliteFile, SqliteParts};
use crate::fault::SqlResult;
use crate::pack::{BodyDictionary, compress, decompress, pack, unpack, unpack_body};
use sqlx::{Row, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tko_core::{ContentHash, ErrorKind, Key, Record, Result, TemplateId};

/// The limit of a dictionary in bytes. If a package is larger, only its start is used.
const MAX_DICTIONARY: usize = 1 << 20;

/// Maximum number of dictionaries, and of their bytes, in memory. Beyond that, the cache is
/// emptied.
const MAX_KEPT: usize = 256;
const MAX_KEPT_BYTES: usize = 8 << 20;

/// Whether the cache has no room for another dictionary.
fn is_full<'a>(kept: impl ExactSizeIterator<Item = &'a Arc<BodyDictionary>>) -> bool {
    kept.len() >= MAX_KEPT
        || kept.map(|dictionary| dictionary.size()).sum::<usize>() >= MAX_KEPT_BYTES
}

/// The dictionaries that were read, by number. They are for readers: those that are chosen for a
/// write are in [`ChosenDictionaries`].
#[derive(Default)]
pub(crate) struct ReadDictionaries(Mutex<HashMap<i64, Arc<BodyDictionary>>>);

impl std::fmt::Debug for ReadDictionaries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReadDictionaries").finish_non_exhaustive()
    }
}

impl ReadDictionaries {
    fn kept(&self) -> MutexGuard<'_, HashMap<i64, Arc<BodyDictionary>>> {
        self.0.lock().expect("no code panics while it adds")
    }

    /// Forgets all of them, because a write that added some was undone.
    pub(crate) fn clear(&self) {
        self.kept().clear();
    }

    /// Returns those with these numbers that exist.
    pub(crate) async fn read(
        &self,
        connection: &mut SqliteConnection,
        numbers: BTreeSet<i64>,
    ) -> SqlResult<Result<HashMap<i64, Arc<BodyDictionary>>>> {
        let mut found = HashMap::new();
        let mut missing = RowList::default();
        {
            let kept = self.kept();
            for number in numbers {
                match kept.get(&number) {
                    Some(dictionary) => {
                        found.insert(number, dictionary.clone());
                    }
                    None => missing.row().number(number).end(),
                }
            }
        }
        if missing.is_empty() {
            return Ok(Ok(found));
        }
        let rows = sqlx::query(
            "SELECT d.num, d.data FROM json_each($1) j \
             CROSS JOIN dictionary d ON d.num = j.value->>0",
        )
        .bind(missing.into_text())
        .fetch_all(connection)
        .await?;
        for row in rows {
            let number: i64 = row.try_get(0)?;
            let bytes = match decompress(row.try_get(1)?, None) {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err(error)),
            };
            let dictionary = Arc::new(BodyDictionary::new(number, bytes));
            found.insert(number, dictionary.clone());
            let mut kept = self.kept();
            if is_full(kept.values()) {
                kept.clear();
            }
            kept.insert(number, dictionary);
        }
        Ok(Ok(found))
    }
}

/// The dictionaries of templates, for the writer.
#[derive(Default)]
pub(crate) struct ChosenDictionaries {
    /// The dictionary of each template, with the hash of the template's package.
    of_template: HashMap<TemplateId, (ContentHash, Arc<BodyDictionary>)>,
}

impl ChosenDictionaries {
    /// Forgets all of them, because a write that added some was undone.
    pub(crate) fn clear(&mut self) {
        self.of_template.clear();
    }

    /// Forgets those that were deleted. `lowest`: the lowest number that exists.
    pub(crate) fn retain(&mut self, lowest: Option<i64>) {
        let exists = |number| lowest.is_some_and(|lowest| number >= lowest);
        self.of_template
            .retain(|_, (_, dictionary)| exists(dictionary.number));
    }

    /// Returns the known ones of these templates; `None` if there may be others.
    pub(crate) fn known(
        &self,
        templates: &BTreeSet<TemplateId>,
        rows: &BTreeMap<Key, Record>,
    ) -> Option<HashMap<TemplateId, Arc<BodyDictionary>>> {
        let mut known = HashMap::with_capacity(templates.len());
        for template in templates {
            let (_, dictionary) = self.of(template, present(template, rows))?;
            known.insert(template.clone(), dictionary.clone());
        }
        Some(known)
    }

    /// The known one of a template. `present`: the hash of its package, if that is known.
    fn of(
        &self,
        template: &TemplateId,
        present: Option<ContentHash>,
    ) -> Option<&(ContentHash, Arc<BodyDictionary>)> {
        let known = self.of_template.get(template);
        known.filter(|(hash, _)| present.is_none_or(|present| present == *hash))
    }

    /// Chooses one for each of these templates that exists, and adds it if it is new. If `rows`
    /// contains the template, its current package is used.
    pub(crate) async fn choose(
        &mut self,
        connection: &mut SqliteConnection,
        shared: &SqliteParts,
        templates: BTreeSet<TemplateId>,
        rows: &BTreeMap<Key, Record>,
    ) -> Result<HashMap<TemplateId, Arc<BodyDictionary>>> {
        let mut chosen = HashMap::with_capacity(templates.len());
        for template in templates {
            let present = present(&template, rows);
            if let Some((_, dictionary)) = self.of(&template, present) {
                chosen.insert(template, dictionary.clone());
                continue;
            }
            let found = of_template(connection, &shared.file, &template, present).await;
            let (hash, dictionary) = match found {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // A damaged template must not make other writes fail: packages are stored without
                // its dictionary.
                Err(error) if error.kind() == ErrorKind::Internal => continue,
                Err(error) => return Err(error),
            };
            let dictionary = Arc::new(dictionary);
            if is_full(self.of_template.values().map(|(_, kept)| kept)) {
                self.of_template.clear();
            }
            self.of_template
                .insert(template.clone(), (hash, dictionary.clone()));
            chosen.insert(template, dictionary);
        }
        Ok(chosen)
    }
}

/// The hash of the package of a template, if `rows` contains the template.
fn present(template: &TemplateId, rows: &BTreeMap<Key, Record>) -> Option<ContentHash> {
    let record = rows.get(&Key::from(template))?;
    Some(record.entity.body)
}

/// The dictionary of a template, with the hash of the template's package. `present`: that hash, if
/// it is known.
async fn of_template(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    template: &TemplateId,
    present: Option<ContentHash>,
) -> Result<Option<(ContentHash, BodyDictionary)>> {
    let hash = match present {
        Some(hash) => hash,
        None => match read_template(connection, file, template).await? {
            Some(record) => record.entity.body,
            None => return Ok(None),
        },
    };
    let dictionary = find_or_add(connection, file, hash).await?;
    Ok(dictionary.map(|dictionary| (hash, dictionary)))
}

async fn read_template(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    template: &TemplateId,
) -> Result<Option<Record>> {
    let key = Key::from(template);
    let data: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT data FROM entity WHERE kind = $1 AND id = $2")
            .bind(key.kind() as i64)
            .bind(key.id().to_owned())
            .fetch_optional(connection)
            .await
            .map_err(file.fault("read a template"))?;
    data.map(|data| unpack(&data)).transpose()
}

/// The dictionary that is the package with this hash; adds it if the package is stored.
async fn find_or_add(
    connection: &mut SqliteConnection,
    file: &SqliteFile,
    hash: ContentHash,
) -> Result<Option<BodyDictionary>> {
    let fault = file.fault("read a dictionary");
    let known: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT num, data FROM dictionary WHERE hash = $1")
            .bind(hash.0.to_vec())
            .fetch_optional(&mut *connection)
            .await
            .map_err(&fault)?;
    if let Some((number, data)) = known {
        return Ok(Some(BodyDictionary::new(number, decompress(&data, None)?)));
    }
    let stored: Option<(Option<i64>, Vec<u8>)> =
        sqlx::query_as("SELECT dictionary, data FROM body WHERE hash = $1")
            .bind(hash.0.to_vec())
            .fetch_optional(&mut *connection)
            .await
            .map_err(&fault)?;
    let Some((of, data)) = stored else {
        return Ok(None);
    };
    let numbers = BTreeSet::from_iter(of);
    let known = file.dictionaries.read(connection, numbers).await;
    let known = known.map_err(&fault)??;
    let of = of.and_then(|number| known.get(&number));
    let mut bytes = pack(&unpack_body(&data, of.map(AsRef::as_ref))?);
    bytes.truncate(MAX_DICTIONARY);
    let number: i64 =
        sqlx::query_scalar("INSERT INTO dictionary (hash, data) VALUES ($1, $2) RETURNING num")
            .bind(hash.0.to_vec())
            .bind(compress(bytes.clone(), None)?.data)
            .fetch_one(&mut *connection)
            .await
            .map_err(&fault)?;
    Ok(Some(BodyDictionary::new(number, bytes)))
}
