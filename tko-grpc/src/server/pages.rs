//! Listings as streams: pages are read when what was read before is taken, so that a slow client
//! slows the listing and a gone one ends it.

use futures_core::Stream;
use futures_util::TryStreamExt;
use futures_util::stream;
use std::sync::Arc;
use tko_core::select::MAX_PAGE;
use tko_core::{Controller, Cursor, List, Page, Record, Result, Select, Want};

/// Most records of a page with packages: what a stream holds at a time.
pub(super) const MAX_WITH_PACKAGES: usize = 100;

/// Pages from `list` on, at least one; of at most `limit` records in all, if any.
pub(super) fn pages(
    data: Arc<dyn Controller>,
    list: List,
    limit: Option<u64>,
) -> impl Stream<Item = Result<Page>> + Send + 'static {
    let most = if list.want.package {
        MAX_WITH_PACKAGES
    } else {
        MAX_PAGE
    };
    stream::try_unfold(Some((list, limit)), move |place| {
        let data = data.clone();
        async move {
            let Some((mut list, mut limit)) = place else {
                return Ok(None);
            };
            list.limit = limit
                .and_then(|left| usize::try_from(left).ok())
                .map_or(most, |left| left.clamp(1, most));
            let mut page = data.list(&list).await?;
            if let Some(left) = &mut limit {
                let fit = usize::try_from(*left).unwrap_or(usize::MAX);
                if page.items.len() > fit {
                    page.items.truncate(fit);
                    page.next = page.items.last().map(|r| Cursor(r.entity.key.clone()));
                }
                *left -= u64::try_from(page.items.len()).unwrap_or(*left).min(*left);
            }
            list.after.clone_from(&page.next);
            let more = page.next.is_some() && limit != Some(0);
            Ok(Some((page, more.then_some((list, limit)))))
        }
    })
}

/// Records one by one.
pub(super) fn records(
    data: Arc<dyn Controller>,
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
