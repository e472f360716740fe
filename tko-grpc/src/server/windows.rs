//! Windows of listings, for clients that list by offset.
//!
//! The rows before a window have to be counted, and so read. But a client that lists by offset
//! requests one window after the other. So the server remembers where the last windows ended, and
//! the next one continues there, unless anything has changed since.

use super::pages::pages;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::{Caller, Cursor, List, Page, Record, Result, Revision, Select, WorkerApi};

/// Maximum number of ends of windows that are remembered.
const MAX_ENDS: usize = 256;

/// Selections whose text is longer are not remembered, which bounds the memory.
const MAX_SELECT: usize = 4_096;

/// The ends of the last windows of all callers.
#[derive(Debug, Default)]
pub(super) struct WindowEnds(Mutex<VecDeque<WindowEnd>>);

/// The end of a window: the next one starts at this offset, after this key.
#[derive(Clone, Debug)]
struct WindowEnd {
    /// The answer may depend on the caller's roles.
    caller: Option<Caller>,
    select: Select,
    offset: usize,
    after: Cursor,
    /// The revision of the window.
    revision: Revision,
}

impl WindowEnds {
    fn lock(&self) -> MutexGuard<'_, VecDeque<WindowEnd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, caller: Option<&Caller>, select: &Select, offset: usize) -> Option<WindowEnd> {
        let ends = self.lock();
        let is = |end: &&WindowEnd| {
            end.offset == offset && end.caller.as_ref() == caller && end.select == *select
        };
        ends.iter().find(is).cloned()
    }

    fn add(&self, end: WindowEnd) {
        if format!("{:?}", end.select).len() > MAX_SELECT {
            return;
        }
        let mut ends = self.lock();
        ends.retain(|known| {
            known.offset != end.offset || known.caller != end.caller || known.select != end.select
        });
        if ends.len() >= MAX_ENDS {
            ends.pop_front();
        }
        ends.push_back(end);
    }
}

/// The listings of one caller.
#[derive(Clone)]
pub(super) struct CallerWindows {
    pub(super) api: Arc<dyn WorkerApi>,
    pub(super) caller: Option<Caller>,
    pub(super) ends: Arc<WindowEnds>,
}

impl CallerWindows {
    /// The rows of a window: up to `count` after the first `offset`.
    pub(super) fn rows(
        self,
        select: Select,
        offset: usize,
        count: Option<usize>,
    ) -> impl Stream<Item = Result<Record>> + Send + 'static {
        stream::once(self.open(select, offset, count)).try_flatten()
    }

    async fn open(
        self,
        select: Select,
        offset: usize,
        count: Option<usize>,
    ) -> Result<BoxStream<'static, Result<Record>>> {
        let mut list = List::new(select).limit(0);
        let limit = |rows: usize| Some(u64::try_from(rows).unwrap_or(u64::MAX));
        let known = self.ends.find(self.caller.as_ref(), &list.select, offset);
        if let (Some(end), Some(count)) = (known, count) {
            list.after = Some(end.after);
            let mut next = Box::pin(pages(self.api.clone(), list.clone(), limit(count)));
            if let Some(first) = next.try_next().await?
                && first.revision == end.revision
            {
                let pages = stream::iter([Ok(first)]).chain(next);
                return Ok(self
                    .counted(pages, list.select, offset, 0, Some(count))
                    .boxed());
            }
            list.after = None;
        }
        let most = count.and_then(|count| limit(offset.saturating_add(count)));
        let select = list.select.clone();
        let pages = pages(self.api.clone(), list, most);
        Ok(self.counted(pages, select, offset, offset, count).boxed())
    }

    /// The rows of pages without the first `skipped`, up to `count`, which end a window.
    fn counted(
        self,
        pages: impl Stream<Item = Result<Page>> + Send + 'static,
        select: Select,
        offset: usize,
        mut skipped: usize,
        count: Option<usize>,
    ) -> impl Stream<Item = Result<Record>> + Send + 'static {
        let mut left = count.unwrap_or(usize::MAX);
        let mut revision = None;
        let mut is_one_state = true;
        let rows = pages.map_ok(move |page| {
            is_one_state &= revision
                .replace(page.revision)
                .is_none_or(|r| r == page.revision);
            let before = skipped.min(page.items.len());
            skipped -= before;
            let items: Vec<Record> = page.items.into_iter().skip(before).take(left).collect();
            left -= items.len();
            if left == 0
                && is_one_state
                && let Some(last) = items.last()
            {
                self.ends.add(WindowEnd {
                    caller: self.caller.clone(),
                    select: select.clone(),
                    offset: offset.saturating_add(count.unwrap_or_default()),
                    after: Cursor(last.entity.key.clone()),
                    revision: page.revision,
                });
            }
            stream::iter(items.into_iter().map(Ok))
        });
        rows.try_flatten()
    }
}
