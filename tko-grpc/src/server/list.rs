//! Listings and histories as streams of messages of bounded size.

use super::oversize::{MARGIN, skip};
use super::pages::{MAX_WITH_PACKAGES, pages};
use crate::proto::v1alpha2 as wire;
use crate::wire::change::pack_change;
use crate::wire::entity::{pack_record, unpack_want};
use crate::wire::scalar::{key, required, required_key, unpack_key};
use crate::wire::select::unpack_select;
use crate::wire::table::Packer;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use std::sync::Arc;
use tko_core::{ChangeRecord, Cursor, Error, List, Page, Record, Result, Revision, WorkerApi};

/// A message is sent once it has this many bytes; the last record may exceed it.
const MESSAGE: usize = 256 * 1024;

/// Maximum number of listings in one call, and of listings read at the same time. Their pages share
/// a message.
const MAX_LISTS: usize = 1_000;
const LISTS: usize = 200;
/// Maximum number of records of each of their pages.
const SHORT_PAGE: usize = 100;

/// Changes read from the API at a time.
const CHANGES: usize = 50;

/// Maximum number of changes in one history.
const MAX_CHANGES: u32 = 10_000;
/// Changes in a history whose request has no limit.
const DEFAULT_CHANGES: u32 = 100;

/// The messages of a listing.
pub(super) fn messages(
    api: Arc<dyn WorkerApi>,
    request: &wire::ListRequest,
    max: usize,
) -> Result<impl Stream<Item = Result<wire::ListResponse>> + Send + 'static> {
    let mut list = unpack_list(request)?;
    let one_page = request.one_page;
    let limit = (request.limit > 0).then_some(request.limit);
    let pages = if one_page {
        if list.want.package {
            list.limit = list.most().min(MAX_WITH_PACKAGES);
        }
        stream::once(async move { api.list(&list).await }).left_stream()
    } else {
        pages(api, list, limit).right_stream()
    };
    // The lowest revision that was sent.
    let mut sent = None::<Revision>;
    Ok(pages
        .map_ok(move |page| {
            let lower = sent.is_none_or(|sent| page.revision < sent);
            let revision = lower.then_some(page.revision);
            sent = revision.or(sent);
            page_messages(page, revision, one_page, max)
        })
        .try_flatten())
}

fn unpack_list(request: &wire::ListRequest) -> Result<List> {
    let select = unpack_select(required("select", request.select.as_ref())?)?;
    let after = request.after.as_ref().map(unpack_key).transpose()?;
    Ok(List::new(select)
        .after(after.map(Cursor))
        .limit(usize::try_from(request.limit).unwrap_or(usize::MAX))
        .want(unpack_want(request.want)))
}

/// The first pages of several listings, as many as fit into one message of at most `max` bytes.
/// There are none if the first page alone exceeds this.
pub(super) async fn first_pages(
    api: Arc<dyn WorkerApi>,
    request: &wire::ListPagesRequest,
    max: usize,
) -> Result<wire::ListPagesResponse> {
    if request.lists.len() > MAX_LISTS {
        return Err(Error::bad(
            "lists",
            format!(
                "there are {} lists; one call reads at most {MAX_LISTS}: read them in parts",
                request.lists.len()
            ),
        ));
    }
    if request.lists.is_empty() {
        // Even then, the guard is asked whether the caller may make the call.
        api.list_all(&[]).await?;
    }
    let lists = request.lists.iter().map(|list| {
        let list = unpack_list(list)?;
        let most = list.most().min(SHORT_PAGE);
        Ok(list.limit(most))
    });
    let lists: Vec<List> = lists.collect::<Result<_>>()?;
    // A page with packages can be as large as several messages.
    let has_packages = lists.iter().any(|list| list.want.package);
    let at_once = if has_packages { 1 } else { LISTS };
    let mut table = Packer::default();
    let mut packed = Vec::with_capacity(lists.len());
    let mut read: Vec<Page> = Vec::with_capacity(lists.len());
    'groups: for some in lists.chunks(at_once) {
        if table.bytes() >= MESSAGE {
            break;
        }
        for page in api.list_all(some).await? {
            packed.push(pack_page(&page, &mut table));
            if table.bytes().saturating_add(MARGIN) > max {
                // Pack only the pages before this one.
                table = Packer::default();
                packed.clear();
                packed.extend(read.iter().map(|page| pack_page(page, &mut table)));
                break 'groups;
            }
            read.push(page);
        }
    }
    Ok(wire::ListPagesResponse {
        packages: table.finish(),
        pages: packed,
    })
}

/// Adds the packages of a page to the table of its message.
fn pack_page(page: &Page, table: &mut Packer) -> wire::list_pages_response::Page {
    let records = page.items.iter();
    wire::list_pages_response::Page {
        records: records.map(|record| pack_record(record, table)).collect(),
        revision: page.revision.0,
        next: page.next.as_ref().map(|cursor| key(&cursor.0)),
    }
}

/// The messages of one page, encoded as the client accepts them.
///
/// The first has the revision, if it is given. The last has the cursor, if the page is the only one
/// or the limit ends the listing.
fn page_messages(
    page: Page,
    revision: Option<Revision>,
    one_page: bool,
    max: usize,
) -> impl Stream<Item = Result<wire::ListResponse>> + Send + 'static {
    let next = page.next.map(|cursor| key(&cursor.0));
    let mut revision = revision.map(|revision| revision.0);
    let mut records = page.items.into_iter().peekable();
    let mut last = revision.is_some() || one_page || records.peek().is_some();
    stream::poll_fn(move |_| {
        if !last {
            return std::task::Poll::Ready(None);
        }
        let mut message = chunk(&mut records, max);
        message.revision = revision.take();
        last = records.peek().is_some();
        if !last {
            message.next.clone_from(&next);
        }
        std::task::Poll::Ready(Some(Ok(message)))
    })
}

/// The next message, of at most `max` bytes. A record that exceeds this alone is left out.
fn chunk(records: &mut impl Iterator<Item = Record>, max: usize) -> wire::ListResponse {
    let mut table = Packer::default();
    let mut packed = Vec::new();
    let mut taken = Vec::new();
    for record in records {
        packed.push(pack_record(&record, &mut table));
        if table.bytes().saturating_add(MARGIN) > max {
            skip(&record.entity.key, table.bytes());
            // Only the last record can have exceeded it: pack the others again.
            table = Packer::default();
            packed.clear();
            packed.extend(taken.iter().map(|taken| pack_record(taken, &mut table)));
            continue;
        }
        if table.bytes() >= MESSAGE {
            break;
        }
        taken.push(record);
    }
    wire::ListResponse {
        packages: table.finish(),
        records: packed,
        revision: None,
        next: None,
    }
}

/// The messages of a history, one for each change.
pub(super) fn history(
    api: Arc<dyn WorkerApi>,
    request: &wire::HistoryRequest,
) -> Result<impl Stream<Item = Result<wire::HistoryResponse>> + Send + 'static> {
    let key = required_key(request.key.as_ref())?;
    let limit = match request.limit {
        0 => DEFAULT_CHANGES,
        limit => limit.min(MAX_CHANGES),
    };
    let left = usize::try_from(limit).unwrap_or(usize::MAX);
    let start = Some((request.before.map(Revision), left));
    let parts = stream::try_unfold(start, move |place| {
        let (api, key) = (api.clone(), key.clone());
        async move {
            let Some((before, left)) = place else {
                return Ok(None);
            };
            let wanted = left.min(CHANGES);
            let changes = api.history(&key, before, wanted).await?;
            let more = changes.len() == wanted && left > wanted;
            let next = changes
                .last()
                .map(|change| (Some(change.revision), left - wanted));
            Ok::<_, tko_core::Error>(Some((changes, next.filter(|_| more))))
        }
    });
    let changes = parts
        .map_ok(|changes| stream::iter(changes.into_iter().map(Ok)))
        .try_flatten();
    Ok(change_messages(changes))
}

/// One message for each change.
pub(super) fn change_messages(
    changes: impl Stream<Item = Result<ChangeRecord>> + Send + 'static,
) -> impl Stream<Item = Result<wire::HistoryResponse>> + Send + 'static {
    changes.and_then(|change| {
        let mut table = Packer::default();
        let change = pack_change(&change, &mut table);
        future::ready(Ok(wire::HistoryResponse {
            packages: table.finish(),
            change: Some(change),
        }))
    })
}
