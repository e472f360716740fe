//! Faults of deletions.

use crate::broken::Broken;
use tko_core::{Bulk, Error, Key, Kind, Result, Select, Version, Want};

impl Broken {
    pub(crate) async fn broken_delete(&self, key: &Key) -> Result<()> {
        if self.is("relations are not cleared") && key.kind() == Kind::Template {
            // Reports success without deleting anything.
            return match self.inner.get(key, Want::ROW).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if self.is("deployments go with their parent")
            && let Key::Deployment(id) = key
        {
            let select = Select::all(Kind::Deployment).parent(id.clone());
            self.inner.purge(&select).await?;
        }
        match self.inner.delete(key).await {
            Err(Error::NotFound(_)) if self.is("deleting an absent entity succeeds") => Ok(()),
            deleted => deleted,
        }
    }

    pub(crate) async fn broken_delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        if self.is("deletions ignore versions") {
            return self.inner.delete(key).await;
        }
        if self.is("a version is checked before the deletion") {
            let read = self.inner.get(key, Want::ROW).await?;
            if read.entity.version != expect {
                return Err(Error::Conflict(vec![key.clone()]));
            }
            tokio::task::yield_now().await;
            return self.inner.delete(key).await;
        }
        self.inner.delete_at(key, expect).await
    }

    pub(crate) async fn broken_purge(&self, select: &Select) -> Result<Bulk> {
        let mut select = select.clone();
        if self.is("a purge ignores metadata filters") {
            select.metadata.clear();
        }
        let mut bulk = self.inner.purge(&select).await?;
        if self.is("a purge reports no skipped entities") {
            bulk.skipped.clear();
        }
        Ok(bulk)
    }
}
