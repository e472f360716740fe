//! Faults of deletions.

use crate::broken::Broken;
use crate::inner_calls::only;
use tko_core::{Bulk, Error, Key, Kind, List, Pattern, Result, Select, Stage, Version, Want};

impl Broken {
    pub(crate) async fn broken_delete(&self, key: &Key) -> Result<()> {
        if self.keeps(key).await? {
            return Ok(());
        }
        self.refuse(key).await?;
        if self.is("deployments go with their parent")
            && let Key::Deployment(id) = key
        {
            let select = Select::all(Kind::Deployment).parent(id.clone());
            self.inner.purge(&select).await?;
        }
        if self.is("sites go with their template")
            && let Key::Template(id) = key
        {
            let select = Select::all(Kind::Site).template_id(Pattern::literal(id.as_str()));
            self.inner.purge(&select).await?;
        }
        let mut due = Vec::new();
        if self.is("a deletion makes its referrers due") {
            due = self.referrers(key).await?;
        }
        let deleted = self.inner.delete(key).await;
        for id in due {
            self.make_due(Stage::Prepare, &id.into()).await?;
        }
        if self.is("a deleted site is not due") {
            self.lose_work(Stage::Schedule, key).await?;
        }
        match deleted {
            Err(Error::NotFound(_)) if self.is("deleting an absent entity succeeds") => Ok(()),
            deleted => deleted,
        }
    }

    /// Whether the fault only pretends to delete this entity.
    async fn keeps(&self, key: &Key) -> Result<bool> {
        let lies = self.is("relations are not cleared");
        let hides = self.is("a deleted template is only hidden");
        let waits = self.is("an approved deployment waits for its site");
        if !(lies || hides || waits) {
            return Ok(false);
        }
        let row = self.inner.get(key, Want::ROW).await?.entity;
        let keeps = if waits {
            row.wanted_on().is_some()
        } else {
            key.kind() == Kind::Template
        };
        if keeps && !lies {
            self.memo().deleted.insert(key.clone());
        }
        Ok(keeps)
    }

    /// Refuses a deletion that must succeed.
    async fn refuse(&self, key: &Key) -> Result<()> {
        if self.is("a modification blocks the deletion of its template") {
            for id in self.referrers(key).await? {
                self.check_free(&id).await?;
            }
        }
        if self.is("a deletion clears at most 500 relations") && self.is_large(key).await? {
            return Err(Error::bad("changes", "there are more than 500"));
        }
        Ok(())
    }

    /// Whether a deletion of this entity clears more than 500 relations.
    async fn is_large(&self, key: &Key) -> Result<bool> {
        Ok(self.referrers(key).await?.len() > 500)
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
        let large = "each commit of a deletion requires the version";
        if self.is(large) && self.is_large(key).await? {
            // The first commit has changed the version.
            self.inner.delete_at(key, expect).await?;
            return Err(Error::Conflict(vec![key.clone()]));
        }
        self.inner.delete_at(key, expect).await
    }

    pub(crate) async fn broken_purge(&self, select: &Select) -> Result<Bulk> {
        let mut select = select.clone();
        if self.is("a purge ignores metadata filters") {
            select.metadata.clear();
        }
        let restricts = self.is("a purge skips referenced entities");
        if restricts || self.is("a hundred are purged") {
            return self.purged_alone(select, restricts).await;
        }
        let mut bulk = self.inner.purge(&select).await?;
        if self.is("a purge reports no skipped entities") {
            bulk.skipped.clear();
        }
        Ok(bulk)
    }

    /// Purges the first hundred matches one by one; `restricts` skips those that others refer to.
    async fn purged_alone(&self, select: Select, restricts: bool) -> Result<Bulk> {
        let list = List::new(select).limit(100);
        let mut bulk = Bulk::default();
        for record in self.inner.list(&list).await?.items {
            let key = &record.entity.key;
            if restricts && !self.referrers(key).await?.is_empty() {
                bulk.skipped.push((key.clone(), "is in use".to_owned()));
            } else {
                bulk.done += self.inner.purge(&only(key)).await?.done;
            }
        }
        Ok(bulk)
    }
}
