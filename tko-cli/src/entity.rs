//! The commands for templates, sites, deployments and plugins, and what they have in common.

#[cfg(feature = "catalog")]
pub(crate) mod catalog;
pub(crate) mod deployment;
pub(crate) mod diff;
pub(crate) mod plugin;
pub(crate) mod removal;
pub(crate) mod site;
pub(crate) mod template;
mod wait;

use crate::console::{Console, to_stderr};
use crate::filter::WindowArgs;
use crate::output::{self, ListWriter, OutputFormat};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::Duration;
use tko_core::select::MAX_PAGE;
use tko_core::view::DeploymentState;
use tko_core::{Bulk, DataApi, Key, Kind, List, Metadata, Record, Revision, Select, Want, view};

/// Maximum number of deployment ids that are shown with a template or site; `deployment list` shows
/// all.
const MAX_IDS: usize = 1_000;

/// How many listings of deployment ids run at the same time.
const AT_ONCE: usize = 8;

/// The flag for metadata that do not come from the package.
#[derive(Debug, Args)]
pub(crate) struct MetadataArgs {
    /// Set metadata, KEY=VALUE[,KEY=VALUE...]; wins over metadata of the package
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = crate::filter::pair, value_delimiter = ',')]
    metadata: Vec<(String, String)>,
}

impl MetadataArgs {
    fn metadata(&self) -> Metadata {
        self.metadata.iter().cloned().collect()
    }
}

/// The number of rows in a page: few calls reach a window that is far from the start, whatever its
/// size.
fn page_size(window: &WindowArgs, state: Option<DeploymentState>) -> usize {
    let skip = usize::try_from(window.offset).unwrap_or(usize::MAX);
    match state {
        Some(_) => MAX_PAGE,
        // Pages contain what is skipped, too.
        None => window.limit().saturating_add(skip).min(500),
    }
}

async fn list(
    data: &dyn DataApi,
    select: Select,
    window: &WindowArgs,
    state: Option<DeploymentState>,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let mut skip = window.offset;
    let mut left = window.limit();
    let mut list = List::new(select)
        .limit(page_size(window, state))
        .want(Want::ROW);
    list.want.allow_stale = window.allow_stale;
    if let Some(state) = state {
        state.narrow(&mut list.select);
    }
    let want = list.want;
    let mut cut = 0_u64;
    let mut shown_as_of = None;
    let format = console.format;
    let mut writer = ListWriter::new(format, console.out);
    while left > 0 {
        let mut page = data.list(&list).await?;
        note(&mut shown_as_of, page.revision);
        if let Some(state) = state {
            page.items.retain(|record| state.holds(&record.entity));
        }
        let skipped = usize::try_from(skip).map_or(page.items.len(), |n| n.min(page.items.len()));
        skip -= skipped as u64;
        let shown = page.items.into_iter().skip(skipped).take(left);
        let mut values = stream::iter(shown)
            .map(|record| async move {
                let (ids, as_of) = deployment_ids(data, &record, want).await?.unzip();
                let is_cut = ids.as_ref().is_some_and(|ids| ids.len() > MAX_IDS);
                let shown = ids.as_ref().map(|ids| &ids[..ids.len().min(MAX_IDS)]);
                let mut row = view::summary(&record, shown);
                // A table has a column for every key.
                if format != OutputFormat::Table {
                    row = view::without_empty(row);
                }
                anyhow::Ok((row, as_of, is_cut))
            })
            .buffered(AT_ONCE);
        while let Some((value, as_of, is_cut)) = values.try_next().await? {
            writer.item(value)?;
            cut += u64::from(is_cut);
            if let Some(as_of) = as_of {
                note(&mut shown_as_of, as_of);
            }
            left -= 1;
        }
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    writer.end()?;
    if cut > 0 {
        console.done(&format!(
            "{cut} of them have more than {MAX_IDS} deployments, of which the first are shown; see \
             tko deployment list"
        ));
    }
    if let Some(shown) = shown_as_of.filter(|_| window.allow_stale) {
        console.done(&match data.feed_position().await {
            Ok(head) if shown < head.revision => {
                format!("shows revision {shown}; the latest is {}", head.revision)
            }
            Ok(_) => format!("shows revision {shown}, the latest"),
            Err(error) => format!("shows revision {shown}; cannot read the latest: {error}"),
        });
    }
    Ok(())
}

/// Makes work that waits for its next attempt due.
async fn retry(data: &dyn DataApi, key: &Key, console: &Console<'_>) -> anyhow::Result<()> {
    let message = match data.retry(key).await? {
        0 => format!("no work of {key} waits for another attempt"),
        _ => format!("retrying {key} now"),
    };
    console.done(&message);
    Ok(())
}

/// Pages may come from different replicas: the lowest revision holds for all of them.
fn note(lowest: &mut Option<Revision>, revision: Revision) {
    *lowest = Some(lowest.map_or(revision, |lowest| lowest.min(revision)));
}

/// The first deployment ids of a template or site, one more than are shown, and the revision that
/// they show; `None` for other kinds.
async fn deployment_ids(
    data: &dyn DataApi,
    record: &Record,
    want: Want,
) -> anyhow::Result<Option<(Vec<String>, Revision)>> {
    let Some(select) = view::deployments_of(&record.entity.key) else {
        return Ok(None);
    };
    let mut list = List::new(select).limit(MAX_IDS).want(want);
    let mut ids = Vec::new();
    let mut as_of = None;
    while ids.len() <= MAX_IDS {
        let page = data.list(&list).await?;
        note(&mut as_of, page.revision);
        ids.extend(page.items.iter().map(|r| r.entity.key.id().to_owned()));
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    ids.truncate(MAX_IDS + 1);
    Ok(as_of.map(|as_of| (ids, as_of)))
}

async fn get(data: &dyn DataApi, key: &Key, console: &mut Console<'_>) -> anyhow::Result<()> {
    let record = data.get(key, Want::PACKAGE).await?;
    output::package(
        console.format,
        &record.package.unwrap_or_default(),
        console.out,
    )
}

/// Prints everything about an entity but its package.
async fn show(data: &dyn DataApi, key: &Key, console: &mut Console<'_>) -> anyhow::Result<()> {
    let want = Want::ROW.with_revision().with_work().with_deleting();
    let record = data.get(key, want).await?;
    let ids = deployment_ids(data, &record, Want::ROW).await?;
    let mut ids = ids.map(|(ids, _)| ids);
    if let Some(ids) = &mut ids
        && ids.len() > MAX_IDS
    {
        ids.truncate(MAX_IDS);
        console.done(&format!(
            "{key} has more than {MAX_IDS} deployments, of which the first are shown; see tko \
             deployment list"
        ));
    }
    let value = view::detail(&record, ids.as_deref());
    output::value(console.format, &value, console.out)
}

/// Prints how many entities were changed. Skipped entities are printed too, and are an error.
fn report(bulk: &Bulk, verb: &str, kind: Kind, console: &Console<'_>) -> anyhow::Result<()> {
    console.done(&format!("{verb} {} {kind}s", bulk.done));
    report_skipped(bulk)
}

/// Prints skipped entities, which are an error.
fn report_skipped(bulk: &Bulk) -> anyhow::Result<()> {
    for (key, why) in &bulk.skipped {
        to_stderr(format_args!("skipped {key}: it {why}"));
    }
    if bulk.skipped.is_empty() {
        Ok(())
    } else {
        let busy = bulk.skipped[0].0.clone();
        Err(tko_core::Error::Busy(busy).into())
    }
}

/// The duration of a modification if `--time` is zero.
const MODIFICATION: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::page_size;
    use crate::filter::WindowArgs;

    #[test]
    fn o11_a_small_window_far_behind_the_start_is_read_in_large_pages() {
        let size = |offset, max_count| {
            let window = WindowArgs {
                offset,
                max_count,
                allow_stale: false,
            };
            page_size(&window, None)
        };
        assert_eq!([size(40_000, 1), size(40_000, 100)], [500, 500]);
        assert_eq!([size(0, 1), size(3, 1), size(0, 0)], [1, 4, 500]);
    }
}
