//! Pages of entities by their state or reason, which backends cannot select.
//!
//! The deployments that fail, are being deleted or are blocked are in the
//! [`AttentionIndex`](crate::summary::AttentionIndex); others are found by examining a bounded
//! number of rows.

use crate::context::{ApiCaller, SharedContext};
use crate::summary::{AttentionEnd, AttentionFilter, AttentionIds};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tko_core::select::MAX_PAGE;
use tko_core::view::{DeploymentState, FilterLine};
use tko_core::{Cursor, DataApi, DeploymentId, Error, Key, Kind, List, Page, Result, Revision};

/// Maximum number of pages that are read for one page of a listing.
const MAX_SCAN: usize = 20;

/// Maximum number of deployments that are looked up for one page.
const MAX_LOOKUPS: usize = 1_000;

/// Number of deployments that are looked up at the same time.
const AT_ONCE: usize = 32;

/// Maximum number of changes that are searched for the last one of a deployment.
const MAX_UNREAD: usize = 500;

/// The longest wait for the index to have the latest changes.
const CATCH_UP: Duration = Duration::from_millis(300);

/// Reads a page of the entities that a filter selects.
///
/// A page of a rare state that is not in the index can be short, or even empty, and have a next
/// one.
pub(crate) async fn page(
    context: &SharedContext,
    caller: &ApiCaller,
    mut list: List,
    filter: &FilterLine,
) -> Result<Page> {
    let api = &*caller.api;
    if !filter.is_scanned() {
        return api.list(&list).await;
    }
    list.select.deleting |= filter.state == Some(DeploymentState::Deleting);
    let indexed = AttentionFilter {
        state: filter.state,
        reason: filter.reason.as_deref(),
        select: &list.select,
    };
    let is_indexed = list.select.kind == Kind::Deployment && indexed.is_indexed();
    // The index has deployments that a restricted caller must not see.
    if !is_indexed || !caller.reads_all() {
        return scanned(api, list, filter).await;
    }
    let Some(revision) = caught_up(context, api).await? else {
        return scanned(api, list, filter).await;
    };
    looked_up(context, api, list, filter, revision).await
}

/// Waits until the index has every change of a deployment up to now, and returns the revision that
/// it has. `None` if it falls behind, or does not have everything yet.
async fn caught_up(context: &SharedContext, api: &dyn DataApi) -> Result<Option<Revision>> {
    let Some(read) = context.feeds.tally().read(Kind::Deployment) else {
        return Ok(None);
    };
    let latest = api.feed_position().await?.revision;
    let wanted = if read < latest {
        last_change(api, read, latest).await?
    } else {
        read
    };
    let mut changes = context.feeds.changes();
    let wait = async {
        loop {
            let read = context.feeds.tally().read(Kind::Deployment)?;
            if read >= wanted {
                return Some(read);
            }
            changes.changed().await.ok()?;
        }
    };
    Ok(tokio::time::timeout(CATCH_UP, wait).await.ok().flatten())
}

/// The revision of the last change of a deployment after `read`, or `read` if there is none. If
/// that is not found soon, returns `latest`.
///
/// The index reads changes of deployments only, so it does not know when others are the last ones.
async fn last_change(api: &dyn DataApi, read: Revision, latest: Revision) -> Result<Revision> {
    let mut changes = api.changes(Some(read)).take(MAX_UNREAD);
    let (mut last, mut seen) = (read, 0);
    while let Some(change) = changes.next().await {
        match change {
            Ok(change) if change.key.kind() == Kind::Deployment => last = change.revision,
            Ok(_) => {}
            Err(Error::Expired { .. } | Error::NotImplemented(_)) => return Ok(latest),
            Err(error) => return Err(error),
        }
        seen += 1;
    }
    Ok(if seen < MAX_UNREAD { last } else { latest })
}

/// A page by the index.
async fn looked_up(
    context: &SharedContext,
    api: &dyn DataApi,
    mut list: List,
    filter: &FilterLine,
    revision: Revision,
) -> Result<Page> {
    let most = list.most();
    let mut want = list.want;
    want.deleting |= list.select.deleting;
    let mut page = Page::new(revision, Vec::new());
    let mut after = after(&list)?;
    for _ in 0..MAX_LOOKUPS.div_ceil(most) {
        let found = {
            let indexed = AttentionFilter {
                state: filter.state,
                reason: filter.reason.as_deref(),
                select: &list.select,
            };
            let wanted = most - page.items.len();
            let tally = context.feeds.tally();
            if tally.read(Kind::Deployment).is_some() {
                tally.attention().after(after.as_ref(), indexed, wanted)
            } else {
                // The feed has expired meanwhile, and the index is filled again.
                AttentionIds::unknown(after.clone())
            }
        };
        let mut records = stream::iter(found.ids)
            .map(async |id| api.get(&Key::from(&id), want).await)
            .buffered(AT_ONCE);
        while let Some(record) = records.next().await {
            match record {
                Ok(record) if fits(&list, filter, &record.entity) => page.items.push(record),
                Ok(_) | Err(Error::NotFound(_) | Error::Forbidden(_)) => {}
                Err(error) => return Err(error),
            }
        }
        drop(records);
        match found.end {
            AttentionEnd::All => return Ok(page),
            AttentionEnd::More => {
                after = found.last;
                if page.items.len() == most {
                    break;
                }
            }
            AttentionEnd::Unknown(until) => {
                if page.items.len() == most {
                    after = until;
                    break;
                }
                // The rest is examined one by one.
                list.after = until.as_ref().map(|id| Cursor(id.into()));
                list.limit = most - page.items.len();
                let rest = scanned(api, list, filter).await?;
                page.items.extend(rest.items);
                page.next = rest.next;
                return Ok(page);
            }
        }
    }
    page.next = after.map(|id| Cursor(Key::from(id)));
    Ok(page)
}

fn after(list: &List) -> Result<Option<DeploymentId>> {
    let after = list.after.as_ref();
    after
        .map(|Cursor(key)| DeploymentId::new(key.id()))
        .transpose()
}

fn fits(list: &List, filter: &FilterLine, entity: &tko_core::Entity) -> bool {
    filter.fits(entity) && list.select.matches(entity)
}

/// A page by looking at a bounded number of rows.
async fn scanned(api: &dyn DataApi, mut list: List, filter: &FilterLine) -> Result<Page> {
    if let Some(state) = filter.state {
        state.narrow(&mut list.select);
    }
    let most = list.most();
    list.limit = MAX_PAGE;
    let mut found = None::<Page>;
    for _ in 0..MAX_SCAN {
        let page = api.list(&list).await?;
        list.after.clone_from(&page.next);
        let found = found.get_or_insert_with(|| Page::new(page.revision, Vec::new()));
        found.next.clone_from(&page.next);
        for record in page.items {
            if !filter.fits(&record.entity) {
                continue;
            }
            if found.items.len() == most {
                let last = found.items.last();
                found.next = last.map(|last| Cursor(last.entity.key.clone()));
                break;
            }
            found.items.push(record);
        }
        if found.items.len() == most || list.after.is_none() {
            break;
        }
    }
    found.ok_or_else(|| Error::internal("list entities", "no page was read"))
}
