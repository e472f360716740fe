//! Faults of single reads, pages and counts.

use crate::broken::Broken;
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::select::{MAX_PAGE, metadata_match};
use tko_core::{
    Backend, Count, Cursor, Entity, Generation, Key, Kind, List, MAX_CHANGES, Page, Pattern,
    Record, Result, Revision, Select, Timestamp, Want,
};

/// The key in lower case.
pub(crate) fn folded(key: &Key) -> Key {
    Key::new(key.kind(), &key.id().to_lowercase()).expect("it stays an id")
}

impl Broken {
    pub(crate) async fn broken_get(
        &self,
        keys: &[Key],
        mut want: Want,
    ) -> Result<Vec<Option<Record>>> {
        let mut keys = keys.to_vec();
        if self.is("get answers in key order") {
            keys.sort();
        }
        if self.is("ids ignore case") {
            keys = keys.iter().map(folded).collect();
        }
        if self.is("work is never included") {
            want.work = false;
        }
        let mut found = Vec::new();
        if self.is("get takes any number of keys") {
            for chunk in keys.chunks(MAX_CHANGES) {
                found.extend(self.inner.get(chunk, want).await?);
            }
        } else {
            found = self.inner.get(&keys, want).await?;
        }
        let head = self.inner.feed_position().await?.revision;
        let spoilt = found.into_iter().map(|record| {
            record
                .map(|record| self.spoilt(record, head))
                .filter(|r| !(self.is("get hides entities under deletion") && r.entity.deleting))
        });
        Ok(spoilt.collect())
    }

    pub(crate) fn spoilt(&self, mut record: Record, head: Revision) -> Record {
        if self.is("the revision of a row is the last of the feed") {
            record.revision = record.revision.map(|_| head);
        }
        let entity = Arc::make_mut(&mut record.entity);
        if self.is("a new entity has no creation time") {
            entity.created = Timestamp(0);
        }
        if self.is("every change sets created") {
            entity.created = entity.updated;
        }
        if self.is("the generation counts every change") {
            entity.generation = Generation(entity.version.0);
        }
        if self.is("only one condition is kept") {
            let surplus = entity.conditions.len().saturating_sub(1);
            entity.conditions.drain(..surplus);
        }
        if self.is("the time of a status is not kept") {
            for condition in &mut entity.conditions {
                condition.since = Timestamp(0);
            }
        }
        if self.is("conditions count as generations") {
            entity.generation.0 += entity.conditions.len() as u64;
        }
        if self.is("a recreated entity keeps its creation time") {
            let mut memo = self.memo();
            let first = memo.created.entry(entity.key.clone());
            entity.created = *first.or_insert(entity.created);
        }
        record
    }

    fn selected(&self, select: &Select) -> Select {
        let mut select = select.clone();
        if self.is("ids do not filter") {
            select.ids.clear();
        }
        if self.is("only one id pattern counts") {
            select.ids.truncate(1);
        }
        if self.is("metadata do not filter") {
            select.metadata.clear();
        }
        if self.is("template ids do not filter") {
            select.template_ids.clear();
        }
        if self.is("site ids do not filter") {
            select.site_ids.clear();
        }
        if self.is("parents do not filter") {
            select.parent = None;
        }
        if self.is("template metadata do not filter")
            || (self.is("joins do not filter with deleting") && select.deleting)
        {
            select.template_metadata.clear();
        }
        if self.is("site metadata do not filter") {
            select.site_metadata.clear();
        }
        if self.is("prepared does not filter") {
            select.prepared = None;
        }
        if self.is("placements do not concern a site")
            && let Some(site) = select.concerning.take()
        {
            select.site_ids.push(Pattern::literal(site.as_str()));
        }
        if self.is("triggers do not filter") {
            select.trigger = None;
        }
        if self.is("ids do not filter beside a parent") && select.parent.is_some() {
            select.ids.clear();
        }
        if self.is("a parent excludes site metadata") && select.parent.is_some() {
            select.site_metadata.clear();
        }
        for joined in [&mut select.template_metadata, &mut select.site_metadata] {
            if self.is("only one key of a join counts")
                && let Some((key, pattern)) = joined.pop_first()
            {
                *joined = [(key, pattern)].into();
            }
        }
        if self.is("only two id patterns count") {
            select.ids.truncate(2);
        }
        if self.is("pages show entities under deletion") {
            select.deleting = true;
        }
        select
    }

    pub(crate) async fn broken_list(&self, list: &List) -> Result<Page> {
        let asked = format!("{list:?}");
        if self.is("pages are remembered")
            && let Some(page) = self.memo().pages.get(&asked)
        {
            return Ok(page.clone());
        }
        let mut list = list.clone().select(self.selected(&list.select));
        let after = list.after.clone();
        if self.is("the cursor is ignored") {
            list.after = None;
        }
        if self.is("the limit is ignored") {
            list.limit = 0;
        }
        if self.is("pages come without packages") {
            list.want.package = false;
        }
        if self.is("work is never included") {
            list.want.work = false;
        }
        let mut page = if self.is("site metadata fall back to the placement") {
            self.joined_by_place(&list).await?
        } else if self.is("a template under deletion does not join") {
            self.joined_without_deleting(&list).await?
        } else if self.is("pages have no bound") && (list.limit == 0 || list.limit > MAX_PAGE) {
            self.in_pieces(&list, MAX_PAGE, usize::MAX).await?
        } else if self.is("a page is read in pieces") {
            self.in_pieces(&list, 1, list.limit.min(MAX_PAGE)).await?
        } else {
            self.inner.list(&list).await?
        };
        if self.is("pages are in reverse order") {
            page.items.reverse();
        }
        if self.is("the cursor's own key is repeated")
            && let Some(Cursor(key)) = &after
        {
            page.items.splice(..0, self.find(key, list.want).await);
        }
        if self.is("the first page is the last") {
            page.next = None;
        }
        if self.is("a listing never ends") && page.next.is_none() {
            let end = Key::new(Kind::Plugin, "validate|zzz").expect("an id");
            page.next = Some(Cursor(end));
        }
        if self.is("a listing mixes kinds") && list.select.kind == Kind::Site {
            let other = list.clone().select(Select::all(Kind::Template));
            page.items.extend(self.inner.list(&other).await?.items);
        }
        if self.is("a stale page names a future revision") && list.want.allow_stale {
            page.revision.0 += 1;
        }
        if self.is("a stale page names the latest revision") && list.want.allow_stale {
            page.items.pop();
        }
        if self.is("the revision of a page is read after its rows") {
            tokio::task::yield_now().await;
            page.revision = self.inner.feed_position().await?.revision;
        }
        if self.is("a page names the next revision") {
            page.revision.0 += 1;
        }
        if self.is("a page names a revision three too high") {
            page.revision.0 += 3;
        }
        let head = self.inner.feed_position().await?.revision;
        let items = std::mem::take(&mut page.items);
        page.items = items.into_iter().map(|r| self.spoilt(r, head)).collect();
        self.memo().pages.insert(asked, page.clone());
        Ok(page)
    }

    /// Lets a deployment without a site join the site where it is placed.
    async fn joined_by_place(&self, list: &List) -> Result<Page> {
        let mut all = list.clone();
        let patterns = std::mem::take(&mut all.select.site_metadata);
        let sites = self.rows(Kind::Site).await?;
        self.filtered(&all, |entity| {
            let Some(deployment) = entity.deployment().filter(|_| !patterns.is_empty()) else {
                return true;
            };
            let placed = deployment.placed.as_ref().map(|(site, _)| site);
            let site = deployment.site.as_ref().or(placed).map(Key::from);
            let site = site.and_then(|key| sites.get(&key));
            site.is_some_and(|site| metadata_match(&patterns, &site.metadata))
        })
        .await
    }

    async fn joined_without_deleting(&self, list: &List) -> Result<Page> {
        let templates = self.rows(Kind::Template).await?;
        let joins = !list.select.template_metadata.is_empty();
        self.filtered(list, |entity| {
            let template = entity.template().filter(|_| joins).map(Key::from);
            let template = template.and_then(|key| templates.get(&key));
            template.is_none_or(|template| !template.deleting)
        })
        .await
    }

    /// All rows of a kind.
    async fn rows(&self, kind: Kind) -> Result<BTreeMap<Key, Arc<Entity>>> {
        let list = List::new(Select::all(kind).deleting(true)).limit(0);
        let page = self.inner.list(&list).await?;
        let rows = page.items.into_iter().map(|record| record.entity);
        Ok(rows.map(|entity| (entity.key.clone(), entity)).collect())
    }

    /// A page of the matches that pass this filter.
    async fn filtered(&self, list: &List, filter: impl Fn(&Entity) -> bool) -> Result<Page> {
        let all = list.clone().limit(0);
        let mut page = self.inner.list(&all).await?;
        page.items.retain(|record| filter(&record.entity));
        if page.items.len() > list.most() {
            page.items.truncate(list.most());
            let last = page.items.last();
            page.next = last.map(|last| Cursor(last.entity.key.clone()));
        }
        Ok(page)
    }

    /// One page made of many small ones, read one after the other.
    async fn in_pieces(&self, list: &List, size: usize, limit: usize) -> Result<Page> {
        let mut small = list.clone().limit(size);
        let mut page = self.inner.list(&small).await?;
        while page.items.len() < limit && page.next.is_some() {
            tokio::task::yield_now().await;
            small.after = page.next.take();
            let next = self.inner.list(&small).await?;
            page.items.extend(next.items);
            page.next = next.next;
        }
        Ok(page)
    }

    pub(crate) async fn broken_count(
        &self,
        select: &Select,
        bound: u64,
        want: Want,
    ) -> Result<Count> {
        let asked = format!("{select:?} {bound}");
        if self.is("counts are remembered")
            && let Some(count) = self.memo().counts.get(&asked)
        {
            return Ok(*count);
        }
        let bound = if self.is("counts have no bound") {
            u64::MAX
        } else {
            bound
        };
        let select = self.selected(select);
        let count = self.inner.count(&select, bound, want).await?;
        self.memo().counts.insert(asked, count);
        Ok(count)
    }
}
