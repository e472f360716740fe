//! Listings as streams: pages are read when what was read before is taken, and a few ahead, so that
//! a slow client slows the listing and a gone one ends it.

use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use tko_core::select::{self, MAX_PAGE};
use tko_core::{Cursor, List, Page, Record, Result, Select, Want, WorkerApi};

/// Most records of a page with packages: what a stream holds at a time.
pub(super) const MAX_WITH_PACKAGES: usize = 100;

/// Pages from `list` on, at least one; of at most `limit` records in all, if any.
pub(super) fn pages(
    data: Arc<dyn WorkerApi>,
    list: List,
    limit: Option<u64>,
) -> impl Stream<Item = Result<Page>> + Send + 'static {
    let most = if list.want.package {
        MAX_WITH_PACKAGES
    } else {
        MAX_PAGE
    };
    let left = limit.map_or(usize::MAX, |left| {
        usize::try_from(left).unwrap_or(usize::MAX)
    });
    let list = List {
        limit: left.clamp(1, most),
        ..list
    };
    let pages = if left <= most {
        // One may do: nothing is read ahead.
        select::pages(list, move |list| {
            let data = data.clone();
            async move { data.list(&list).await }
        })
        .boxed()
    } else {
        data.pages(list)
    };
    // What is not wanted any more is not waited for.
    stream::try_unfold(Some((pages, left)), |place| async move {
        let Some((mut pages, left)) = place else {
            return Ok(None);
        };
        let Some(mut page) = pages.try_next().await? else {
            return Ok(None);
        };
        if page.items.len() > left {
            page.items.truncate(left);
            page.next = page.items.last().map(|r| Cursor(r.entity.key.clone()));
        }
        let left = left - page.items.len();
        let more = left > 0 && page.next.is_some();
        Ok(Some((page, more.then_some((pages, left)))))
    })
}

/// Records one by one.
pub(super) fn records(
    data: Arc<dyn WorkerApi>,
    select: Select,
    limit: Option<u64>,
    want: Want,
) -> impl Stream<Item = Result<Record>> + Send + 'static {
    let list = List {
        select,
        after: None,
        limit: 0,
        want,
    };
    pages(data, list, limit)
        .map_ok(|page| stream::iter(page.items.into_iter().map(Ok)))
        .try_flatten()
}
