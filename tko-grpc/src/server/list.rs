//! Listings and histories as messages of bounded size.

use super::pages::pages;
use crate::proto::v1alpha2 as wire;
use crate::wire::change::pack_change;
use crate::wire::entity::{pack_record, unpack_want};
use crate::wire::scalar::{key, required, required_key, unpack_key};
use crate::wire::select::unpack_select;
use crate::wire::table::Packer;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use std::sync::Arc;
use tko_core::{Cursor, List, Page, Record, Result, Revision, WorkerApi};

/// A message is sent when it has this many bytes, or a little more.
const MESSAGE: usize = 256 * 1024;

/// Changes that are read at a time.
const CHANGES: usize = 50;

/// Most changes of one history, and how many there are of one that does not say.
const MAX_CHANGES: u32 = 10_000;
const SOME_CHANGES: u32 = 100;

/// The messages of a listing.
pub(super) fn messages(
    data: Arc<dyn WorkerApi>,
    request: &wire::ListRequest,
) -> Result<impl Stream<Item = Result<wire::ListResponse>> + Send + 'static> {
    let list = List {
        select: unpack_select(required("select", request.select.as_ref())?)?,
        after: request
            .after
            .as_ref()
            .map(unpack_key)
            .transpose()?
            .map(Cursor),
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        want: unpack_want(request.want),
    };
    let one_page = request.one_page;
    let limit = (request.limit > 0).then_some(request.limit);
    let pages = if one_page {
        stream::once(async move { data.list(&list).await }).left_stream()
    } else {
        pages(data, list, limit).right_stream()
    };
    // The lowest that was told.
    let mut told = None::<Revision>;
    Ok(pages
        .map_ok(move |page| {
            let lower = told.is_none_or(|told| page.revision < told);
            let revision = lower.then_some(page.revision);
            told = revision.or(told);
            of_page(page, revision, one_page)
        })
        .try_flatten())
}

/// The messages of one page, made when they are taken. The first has the revision, if it is to be
/// told; the last of a page that is asked for alone, and of a listing that its limit ends, has the
/// cursor.
fn of_page(
    page: Page,
    revision: Option<Revision>,
    one_page: bool,
) -> impl Stream<Item = Result<wire::ListResponse>> + Send + 'static {
    let next = page.next.map(|cursor| key(&cursor.0));
    let mut revision = revision.map(|revision| revision.0);
    let mut records = page.items.into_iter().peekable();
    let mut last = revision.is_some() || one_page || records.peek().is_some();
    stream::poll_fn(move |_| {
        if !last {
            return std::task::Poll::Ready(None);
        }
        let mut message = chunk(&mut records);
        message.revision = revision.take();
        last = records.peek().is_some();
        if !last {
            message.next.clone_from(&next);
        }
        std::task::Poll::Ready(Some(Ok(message)))
    })
}

fn chunk(records: &mut impl Iterator<Item = Record>) -> wire::ListResponse {
    let mut table = Packer::default();
    let mut packed = Vec::new();
    for record in records {
        packed.push(pack_record(&record, &mut table));
        if table.bytes() >= MESSAGE {
            break;
        }
    }
    wire::ListResponse {
        packages: table.finish(),
        records: packed,
        revision: None,
        next: None,
    }
}

/// The messages of a history: one for each change.
pub(super) fn history(
    data: Arc<dyn WorkerApi>,
    request: &wire::HistoryRequest,
) -> Result<impl Stream<Item = Result<wire::HistoryResponse>> + Send + 'static> {
    let key = required_key(request.key.as_ref())?;
    let limit = match request.limit {
        0 => SOME_CHANGES,
        limit => limit.min(MAX_CHANGES),
    };
    let left = usize::try_from(limit).unwrap_or(usize::MAX);
    let start = Some((request.before.map(Revision), left));
    let parts = stream::try_unfold(start, move |place| {
        let (data, key) = (data.clone(), key.clone());
        async move {
            let Some((before, left)) = place else {
                return Ok(None);
            };
            let wanted = left.min(CHANGES);
            let changes = data.history(&key, before, wanted).await?;
            let more = changes.len() == wanted && left > wanted;
            let next = changes
                .last()
                .map(|change| (Some(change.revision), left - wanted));
            Ok::<_, tko_core::Error>(Some((changes, next.filter(|_| more))))
        }
    });
    Ok(parts
        .map_ok(|changes| stream::iter(changes.into_iter().map(Ok)))
        .try_flatten()
        .and_then(|change| {
            let mut table = Packer::default();
            let change = pack_change(&change, &mut table);
            future::ready(Ok(wire::HistoryResponse {
                packages: table.finish(),
                change: Some(change),
            }))
        }))
}
