//! Skeletons: Deployment resources without their ids, stored once each, and immutable.

use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tko_core::{ContentHash, Error, Resource, Result};

/// Maximum number of skeletons that a process caches. When the cache is full, it is emptied.
const CACHED: usize = 20_000;

/// Stores and reads skeletons, and caches them.
#[derive(Debug)]
pub(crate) struct Skeletons {
    database: Arc<Database>,
    cache: Mutex<SkeletonCache>,
}

#[derive(Debug, Default)]
struct SkeletonCache {
    by_number: HashMap<i32, Arc<Resource>>,
    by_hash: HashMap<ContentHash, i32>,
}

impl SkeletonCache {
    fn add(&mut self, number: i32, resource: Arc<Resource>) {
        if self.by_number.len() >= CACHED {
            *self = Self::default();
        }
        self.by_hash.insert(resource.hash(), number);
        self.by_number.insert(number, resource);
    }
}

impl Skeletons {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            cache: Mutex::default(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, SkeletonCache> {
        self.cache.lock().expect("no code panics while it adds")
    }

    /// Returns the skeleton with this number, if it is cached.
    pub(crate) fn cached(&self, number: i32) -> Option<Arc<Resource>> {
        self.cache().by_number.get(&number).cloned()
    }

    /// Returns the numbers of these skeletons, in order. Stores the skeletons that are new.
    pub(crate) async fn numbers(&self, resources: &[&Arc<Resource>]) -> Result<Vec<i32>> {
        let mut numbers = Vec::with_capacity(resources.len());
        for resource in resources {
            let known = self.cache().by_hash.get(&resource.hash()).copied();
            numbers.push(match known {
                Some(number) => number,
                None => self.store(resource).await?,
            });
        }
        Ok(numbers)
    }

    async fn store(&self, resource: &Arc<Resource>) -> Result<i32> {
        let Database { pool, metrics, .. } = &*self.database;
        let hash = resource.hash().0;
        let data = serde_json::to_vec(resource.value())
            .map_err(|error| Error::internal("encode a Deployment resource", error))?;
        sqlx::query("INSERT INTO skeleton (hash, data) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&hash[..])
            .bind(data)
            .execute(pool)
            .sent(metrics, Purpose::StoreSkeleton)
            .await?;
        // Not by RETURNING: another process may have stored it first.
        let number = sqlx::query_scalar("SELECT num FROM skeleton WHERE hash = $1")
            .bind(&hash[..])
            .fetch_one(pool)
            .sent(metrics, Purpose::FindSkeleton)
            .await?;
        self.cache().add(number, (*resource).clone());
        Ok(number)
    }

    /// Returns the skeletons with these numbers. Reads those that are not cached.
    pub(crate) async fn get(&self, numbers: BTreeSet<i32>) -> Result<HashMap<i32, Arc<Resource>>> {
        let (mut found, missing) = {
            let cache = self.cache();
            let (mut found, mut missing) = (HashMap::new(), Vec::new());
            for number in numbers {
                match cache.by_number.get(&number) {
                    Some(resource) => _ = found.insert(number, resource.clone()),
                    None => missing.push(number),
                }
            }
            (found, missing)
        };
        if missing.is_empty() {
            return Ok(found);
        }
        let rows: Vec<(i32, Vec<u8>)> =
            sqlx::query_as("SELECT num, data FROM skeleton WHERE num = ANY($1)")
                .bind(&missing)
                .fetch_all(&self.database.pool)
                .sent(&self.database.metrics, Purpose::ReadSkeletons)
                .await?;
        for (number, data) in rows {
            let value = serde_json::from_slice(&data)
                .map_err(|error| Error::internal("decode a Deployment resource", error))?;
            let resource = Arc::new(Resource::stored(value)?);
            self.cache().add(number, resource.clone());
            found.insert(number, resource);
        }
        Ok(found)
    }
}
