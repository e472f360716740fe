//! Faults of the feed and of history.

use crate::broken::Broken;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tko_conformance::Reference;
use tko_core::change::FeedPosition;
use tko_core::{Backend, ChangeRecord, Error, Key, Result, Revision, Want};

/// Continues from the oldest position wherever the feed has expired.
fn resumed(
    inner: Reference,
    after: Revision,
    want: Want,
) -> BoxStream<'static, Result<ChangeRecord>> {
    let tail = inner.tail(after, want);
    tail.flat_map(move |item| match item {
        Err(Error::Expired { oldest }) => resumed(inner.clone(), oldest, want),
        item => stream::once(async { item }).boxed(),
    })
    .boxed()
}

impl Broken {
    pub(crate) async fn broken_head(&self) -> Result<FeedPosition> {
        let mut head = self.inner.feed_position().await?;
        if self.is("the feed position is one behind") {
            head.revision.0 = head.revision.0.saturating_sub(1);
        }
        if self.is("revisions have gaps") {
            head.revision.0 *= 2;
        }
        Ok(head)
    }

    pub(crate) fn broken_tail(
        &self,
        mut after: Revision,
        mut want: Want,
    ) -> BoxStream<'static, Result<ChangeRecord>> {
        if self.is("the feed starts one late") {
            after.0 += 1;
        }
        if self.is("the feed comes without packages") {
            want.package = false;
        }
        if self.is("revisions have gaps") {
            after.0 /= 2;
        }
        if self.is("only one reader gets changes") {
            self.memo().readers += 1;
            if self.memo().readers > 1 {
                return stream::pending().boxed();
            }
        }
        if self.is_any(&["expired changes are skipped", "a slow reader skips"]) {
            return resumed(self.inner.clone(), after, want);
        }
        if self.is("a wake-up of the feed is lost") {
            return self.sleepy(after, want);
        }
        if self.is("the feed waits for a future revision") {
            return self.patient(after, want);
        }
        if self.is("the feed after a future revision continues from the last") {
            let inner = self.inner.clone();
            let known = async move {
                let head = inner.feed_position().await;
                let head = head.map_or(after, |head| head.revision);
                inner.tail(after.min(head), want)
            };
            return stream::once(known).flatten().boxed();
        }
        if self.is("the feed ends at the last change") {
            let inner = self.inner.clone();
            let known = async move {
                let head = inner
                    .feed_position()
                    .await
                    .map_or(0, |head| head.revision.0);
                let count = usize::try_from(head.saturating_sub(after.0)).unwrap_or(0);
                inner.tail(after, want).take(count)
            };
            return stream::once(known).flatten().boxed();
        }
        let forgets = self.is("the previous state is missing");
        let (without_cause, gaps) = (self.is("causes are lost"), self.is("revisions have gaps"));
        let twice = self.is("a change comes twice");
        let spoilt = self.inner.tail(after, want).map(move |change| {
            let mut change = change?;
            if forgets {
                change.before = None;
            }
            if without_cause {
                change.cause = None;
            }
            if gaps {
                change.revision.0 *= 2;
                change.set.0 *= 2;
            }
            Ok(change)
        });
        if !twice {
            return spoilt.boxed();
        }
        let doubled = spoilt.flat_map(|change: Result<ChangeRecord>| {
            let again = change
                .as_ref()
                .ok()
                .cloned()
                .filter(|c| c.revision.0 % 10 == 0);
            stream::iter(std::iter::once(change).chain(again.map(Ok)))
        });
        doubled.boxed()
    }

    /// Waits for a future revision, and gives the changes after it.
    fn patient(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        let inner = self.inner.clone();
        let known = async move {
            let head = inner.feed_position().await;
            let head = head.map_or(after, |head| head.revision);
            inner.tail(after.min(head), want)
        };
        let later = move |change: &Result<ChangeRecord>| {
            let later = change.as_ref().is_ok_and(|change| change.revision <= after);
            std::future::ready(!later)
        };
        stream::once(known).flatten().filter(later).boxed()
    }

    /// Starts to listen for commits some time after the look at the feed.
    fn sleepy(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        let (inner, committed) = (self.inner.clone(), self.committed.clone());
        stream::unfold(after, move |after| {
            let (inner, committed) = (inner.clone(), committed.clone());
            async move {
                loop {
                    let head = inner.feed_position().await.ok()?;
                    if head.revision > after {
                        let change = inner.tail(after, want).next().await?;
                        let last = change.as_ref().map_or(after, |change| change.revision);
                        return Some((change, last));
                    }
                    tokio::task::yield_now().await;
                    committed.notified().await;
                }
            }
        })
        .boxed()
    }

    pub(crate) async fn broken_history(
        &self,
        key: &Key,
        before: Option<Revision>,
        mut limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        if self.is("history has no limit") {
            limit = usize::MAX;
        }
        let mut history = self.inner.history(key, before, limit).await?;
        if self.is("history is oldest first") {
            history.reverse();
        }
        if self.is("history is lost early") {
            history.truncate(5);
        }
        if self.is("history ignores the key") {
            let head = self.inner.feed_position().await?.revision;
            let count = usize::try_from(head.0).unwrap_or(0);
            let all = self.inner.tail(Revision(0), Want::PACKAGE).take(count);
            history = all
                .filter_map(|change| async { change.ok() })
                .collect()
                .await;
        }
        Ok(history)
    }
}
