//! Faults of reads.

use crate::broken::Broken;
use crate::packages::{changed, floated, head_of};
use std::sync::Arc;
use tko_core::{
    ChangeRecord, Count, Error, Facts, Key, List, Package, Page, Record, Resource, Result,
    Revision, Select, Subject, Want,
};

impl Broken {
    fn spoilt(&self, mut record: Record) -> Record {
        if let Some(package) = &record.package {
            if self.is("packages are reversed") {
                let mut resources: Vec<Arc<Resource>> = package.resources().to_vec();
                resources.reverse();
                record.package = Some(Package::new(resources).expect("it stays a package"));
            } else if self.is("numbers become floats") {
                record.package = Some(changed(package, floated));
            } else if self.is("the Deployment resource comes last")
                && let Some(head) = head_of(package)
            {
                let rest = package.without(head.identifier());
                record.package = Some(rest.with(head.clone()));
            }
        }
        let entity = Arc::make_mut(&mut record.entity);
        if self.is("given metadata lose against the package") {
            entity.metadata = entity.metadata.overlaid(&entity.inherited);
        }
        if let Facts::Deployment(deployment) = &mut entity.facts {
            if self.is("parents are lost") {
                deployment.parent = None;
            }
            if self.is("relations are what the package names") {
                let named = deployment.resource.clone();
                deployment.template = named.template;
                deployment.site = named.site;
            }
            let id = entity.key.deployment();
            if id.is_some_and(|id| self.memo().removed.contains(id)) {
                deployment.placed = None;
            }
        }
        record
    }

    pub(crate) fn selected(&self, select: &Select) -> Select {
        let mut select = select.clone();
        if self.is("executors do not filter") {
            select.executor = None;
        }
        if self.is("parents do not filter") {
            select.parent = None;
        }
        if self.is("entities under deletion are shown") {
            select.deleting = true;
        }
        select
    }

    pub(crate) async fn broken_get(&self, key: &Key, mut want: Want) -> Result<Record> {
        want.deleting |= self.is("entities under deletion are shown");
        want.kept &= !self.is("sites read unapproved edits");
        want.package |= self.is("packages are always read");
        let is_deleted = self.memo().deleted.contains(key);
        let is_hidden = !want.deleting || self.is("a deleted template is only hidden");
        if is_deleted && is_hidden {
            return Err(Error::not_found(key));
        }
        let mut record = match self.inner.get(key, want).await {
            Err(Error::NotFound(_)) if self.is("a missing entity is a missing claim") => {
                return Err(Error::NotFound(Subject::Claim(key.clone())));
            }
            found => found?,
        };
        if is_deleted {
            Arc::make_mut(&mut record.entity).deleting = true;
        }
        Ok(self.spoilt(record))
    }

    pub(crate) async fn broken_list(&self, list: &List) -> Result<Page> {
        let mut list = list.clone().select(self.selected(&list.select));
        list.want.kept &= !self.is("sites read unapproved edits");
        if self.is("the cursor is ignored") {
            list.after = None;
        }
        let mut page = self.inner.list(&list).await?;
        let items = std::mem::take(&mut page.items);
        page.items = items
            .into_iter()
            .map(|record| self.spoilt(record))
            .collect();
        Ok(page)
    }

    pub(crate) async fn broken_count(
        &self,
        select: &Select,
        mut bound: u64,
        want: Want,
    ) -> Result<Count> {
        if self.is("counts have no bound") {
            bound = u64::MAX;
        }
        self.inner.count(&self.selected(select), bound, want).await
    }

    pub(crate) async fn broken_history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        let mut history = self.inner.history(key, before, limit).await?;
        if self.is("history is oldest first") {
            history.reverse();
        }
        if self.is("causes are all the same") {
            for change in &mut history {
                change.cause = Some("changed".into());
            }
        }
        Ok(history)
    }
}
