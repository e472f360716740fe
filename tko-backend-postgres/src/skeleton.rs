//! Skeletons of Deployment resources: kept once, by number, and never changed.

use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tko_core::{ContentHash, Error, Resource, Result};

/// Most skeletons that a process remembers. Beyond, it forgets all and reads again what is used.
const REMEMBERED: usize = 20_000;

/// Those that this process has met.
#[derive(Debug, Default)]
pub(crate) struct Skeletons(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_number: HashMap<i32, Arc<Resource>>,
    by_hash: HashMap<ContentHash, i32>,
}

impl Known {
    fn add(&mut self, number: i32, resource: Arc<Resource>) {
        if self.by_number.len() >= REMEMBERED {
            *self = Self::default();
        }
        self.by_hash.insert(resource.hash(), number);
        self.by_number.insert(number, resource);
    }
}

impl Skeletons {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no code panics while it adds")
    }

    /// The one with this number, if this process has met it.
    pub(crate) fn remembered(&self, number: i32) -> Option<Arc<Resource>> {
        self.known().by_number.get(&number).cloned()
    }

    /// The numbers of these, which are stored if they are not.
    pub(crate) async fn numbers(
        &self,
        shared: &Shared,
        resources: &[&Arc<Resource>],
    ) -> Result<Vec<i32>> {
        let mut numbers = Vec::with_capacity(resources.len());
        for resource in resources {
            let known = self.known().by_hash.get(&resource.hash()).copied();
            numbers.push(match known {
                Some(number) => number,
                None => self.store(shared, resource).await?,
            });
        }
        Ok(numbers)
    }

    async fn store(&self, shared: &Shared, resource: &Arc<Resource>) -> Result<i32> {
        let hash = resource.hash().0;
        let data = serde_json::to_vec(resource.value())
            .map_err(|error| Error::internal("encode a Deployment resource", error))?;
        // The second part finds what was there, or was stored at the same time by another.
        let sql = "INSERT INTO skeleton (hash, data) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(sql)
            .bind(&hash[..])
            .bind(data)
            .execute(&shared.pool)
            .sent(&shared.measures, Purpose::StoreSkeleton)
            .await?;
        let number = sqlx::query_scalar("SELECT num FROM skeleton WHERE hash = $1")
            .bind(&hash[..])
            .fetch_one(&shared.pool)
            .sent(&shared.measures, Purpose::FindSkeleton)
            .await?;
        self.known().add(number, (*resource).clone());
        Ok(number)
    }

    /// Those with these numbers, read where they are not remembered.
    pub(crate) async fn get(
        &self,
        shared: &Shared,
        numbers: BTreeSet<i32>,
    ) -> Result<HashMap<i32, Arc<Resource>>> {
        let (mut found, missing) = {
            let known = self.known();
            let (mut found, mut missing) = (HashMap::new(), Vec::new());
            for number in numbers {
                match known.by_number.get(&number) {
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
                .fetch_all(&shared.pool)
                .sent(&shared.measures, Purpose::ReadSkeletons)
                .await?;
        for (number, data) in rows {
            let value = serde_json::from_slice(&data)
                .map_err(|error| Error::internal("decode a Deployment resource", error))?;
            let resource = Arc::new(Resource::new(value)?);
            self.known().add(number, resource.clone());
            found.insert(number, resource);
        }
        Ok(found)
    }
}
