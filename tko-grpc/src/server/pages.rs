//! Listings as streams that read only a few pages ahead. A slow client slows the listing; a
//! disconnected client ends it.

use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use tko_core::select::{self, MAX_PAGE};
use tko_core::{Cursor, List, Page, Record, Result, Select, Want, WorkerApi};

/// Maximum number of records of a page with packages, which bounds the memory of a stream.
pub(super) const MAX_WITH_PACKAGES: usize = 100;

/// Pages from `list` on, at least one, with at most `limit` records in total.
pub(super) fn pages(
    api: Arc<dyn WorkerApi>,
    list: List,
    limit: Option<u64>,
) -> impl Stream<Item = Result<Page>> + Send + 'static {
    let max = if list.want.package {
        MAX_WITH_PACKAGES
    } else {
        MAX_PAGE
    };
    let left = limit.map_or(usize::MAX, |left| {
        usize::try_from(left).unwrap_or(usize::MAX)
    });
    let list = list.limit(left.clamp(1, max));
    let pages = if left <= max {
        // One page may be enough, so nothing is read ahead.
        select::pages(list, move |list| {
            let api = api.clone();
            async move { api.list(&list).await }
        })
        .boxed()
    } else {
        api.pages(list)
    };
    // Stop at the limit instead of waiting for the next page.
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

/// The records of a listing, one by one.
pub(super) fn records(
    api: Arc<dyn WorkerApi>,
    select: Select,
    limit: Option<u64>,
    want: Want,
) -> impl Stream<Item = Result<Record>> + Send + 'static {
    let list = List::new(select).limit(0).want(want);
    pages(api, list, limit)
        .map_ok(|page| stream::iter(page.items.into_iter().map(Ok)))
        .try_flatten()
}
