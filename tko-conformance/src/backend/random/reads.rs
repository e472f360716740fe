//! Comparison of whole listings, the feed and histories.

use super::compare;
use super::naming;
use super::operation::RandomSelect;
use super::pair::{BackendPair, HISTORY};
use crate::backend::fixture::ALL;
use crate::explore::ensure;
use futures_util::StreamExt;
use tko_core::{Error, Key, List, Record, Revision, Want};

impl BackendPair {
    pub(super) async fn list(&self, choice: &RandomSelect, limit: usize) -> Result<(), String> {
        let mut list = List::new(naming::select(choice)).limit(limit).want(ALL);
        let mut subject: Vec<Record> = Vec::new();
        for _ in 0..1_000 {
            let page = self.fixture.backend.list(&list).await;
            let page = page.map_err(|error| error.chain())?;
            ensure!(
                limit == 0 || page.items.len() <= limit,
                "{} on a page of {limit}",
                page.items.len()
            );
            ensure!(
                page.revision == self.model.revision(),
                "a page names {} at {}",
                page.revision,
                self.model.revision()
            );
            subject.extend(page.items);
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        ensure!(list.after.is_none(), "the listing does not end");
        let keys = self.model.matching(&list.select);
        let model: Vec<_> = keys.filter_map(|key| self.model.record(key, ALL)).collect();
        let now = self.times().await;
        let subject: Vec<_> = subject.iter().map(Some).collect();
        let model: Vec<_> = model.iter().map(Some).collect();
        compare::lists("the listing", &subject, &model, |subject, model| {
            compare::options(*subject, *model, now)
        })
    }

    pub(super) async fn tail(&self, back: u64) -> Result<(), String> {
        self.fixture.trim().await;
        let head = self.fixture.feed_position().await;
        // Earlier changes belong to another case.
        let after = Revision(head.revision.0.saturating_sub(back)).max(self.start);
        let kept = head.revision.0.saturating_sub(HISTORY as u64);
        let kept = kept.max(self.start.0);
        ensure!(
            head.oldest.0 <= kept,
            "changes after {kept} are to be kept: {head:?}"
        );
        let count = usize::try_from(head.revision.0 - after.0).unwrap_or(usize::MAX);
        let mut tail = self.fixture.backend.tail(after, Want::PACKAGE);
        if after < head.oldest {
            let first = tail.next().await;
            let expired = matches!(first, Some(Err(Error::Expired { .. })));
            ensure!(expired, "{first:?} after {after}, but it has expired");
            return Ok(());
        }
        let told: Vec<_> = tail.take(count).collect().await;
        let told: Result<Vec<_>, Error> = told.into_iter().collect();
        let told = told.map_err(|error| error.chain())?;
        let mut model = Vec::new();
        let mut at = after;
        while let Ok(Some(change)) = self.model.change_after(at) {
            at = change.revision;
            model.push(change);
        }
        compare::lists("the feed", &told, &model, |told, model| {
            compare::changes(told, model)
        })
    }

    pub(super) async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<(), String> {
        let subject = self.fixture.backend.history(key, before, limit).await;
        let subject = subject.map_err(|error| error.chain())?;
        let mut model = self.model.history(key, before, limit);
        let kept = self.model.revision().0.saturating_sub(HISTORY as u64);
        let must = model.iter().filter(|c| c.revision.0 > kept).count();
        ensure!(
            subject.len() >= must,
            "{} changes of {key}, but {must} are to be kept",
            subject.len()
        );
        model.truncate(subject.len());
        compare::lists("the history", &subject, &model, compare::changes)
    }
}
