//! Commands for entities: templates, sites, deployments, plugins.

pub(crate) mod deployment;
pub(crate) mod plugin;
mod shown;
pub(crate) mod site;
pub(crate) mod template;

use crate::console::Console;
use crate::filter::WindowArgs;
use crate::output::{self, ListWriter};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use std::time::Duration;
use tko_core::{Bulk, DataApi, Key, Kind, List, Metadata, Pattern, Record, Revision, Select, Want};

/// Most ids of deployments that are shown with a template or site; filters give all.
const MAX_IDS: usize = 1_000;

/// How many templates or sites are asked for their deployments at once.
const AT_ONCE: usize = 8;

/// Metadata given out of band.
#[derive(Debug, Args)]
pub(crate) struct MetadataArgs {
    /// Set metadata over those of the package: KEY=VALUE[,KEY=VALUE...]
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = crate::filter::pair, value_delimiter = ',')]
    metadata: Vec<(String, String)>,
}

impl MetadataArgs {
    fn metadata(&self) -> Metadata {
        self.metadata.iter().cloned().collect()
    }
}

async fn list(
    data: &dyn DataApi,
    select: Select,
    window: &WindowArgs,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let mut skip = window.offset;
    let mut left = window.limit();
    let mut list = List {
        select,
        after: None,
        limit: left.min(500),
        want: Want {
            allow_stale: window.any_revision,
            ..Want::ROW
        },
    };
    let want = list.want;
    let mut shown_as_of = None;
    let mut writer = ListWriter::new(console.format, console.out);
    while left > 0 {
        let page = data.list(&list).await?;
        note(&mut shown_as_of, page.revision);
        let skipped = usize::try_from(skip).map_or(page.items.len(), |n| n.min(page.items.len()));
        skip -= skipped as u64;
        let shown = page.items.into_iter().skip(skipped).take(left);
        let mut values = stream::iter(shown)
            .map(|record| async move {
                let (ids, as_of) = deployment_ids(data, &record, want).await?.unzip();
                anyhow::Ok((shown::row(&record, ids), as_of))
            })
            .buffered(AT_ONCE);
        while let Some((value, as_of)) = values.try_next().await? {
            writer.item(value)?;
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
    if let Some(shown) = shown_as_of.filter(|_| window.any_revision) {
        console.done(&match data.feed_position().await {
            Ok(head) if shown < head.revision => {
                format!("as of revision {shown}; the latest is {}", head.revision)
            }
            Ok(_) => format!("as of revision {shown}, the latest"),
            Err(error) => format!("as of revision {shown}; the latest is not known: {error}"),
        });
    }
    Ok(())
}

/// What is shown is of the lowest revision.
fn note(lowest: &mut Option<Revision>, revision: Revision) {
    *lowest = Some(lowest.map_or(revision, |lowest| lowest.min(revision)));
}

/// The first of a template's or a site's deployments, and as of when; `None` for other kinds.
async fn deployment_ids(
    data: &dyn DataApi,
    record: &Record,
    want: Want,
) -> anyhow::Result<Option<(Vec<String>, Revision)>> {
    let mut select = Select::all(Kind::Deployment);
    match &record.entity.key {
        Key::Template(id) => select.template_ids.push(Pattern::literal(id.as_str())),
        Key::Site(id) => select.site_ids.push(Pattern::literal(id.as_str())),
        Key::Deployment(_) | Key::Plugin(_) => return Ok(None),
    }
    let mut list = List {
        select,
        after: None,
        limit: MAX_IDS,
        want,
    };
    let mut ids = Vec::new();
    let mut as_of = None;
    while ids.len() < MAX_IDS {
        let page = data.list(&list).await?;
        note(&mut as_of, page.revision);
        ids.extend(page.items.iter().map(|r| r.entity.key.id().to_owned()));
        list.after = page.next;
        if list.after.is_none() {
            break;
        }
    }
    ids.truncate(MAX_IDS);
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

/// Everything but the package: conditions and due work too.
async fn show(data: &dyn DataApi, key: &Key, console: &mut Console<'_>) -> anyhow::Result<()> {
    let want = Want {
        revision: true,
        work: true,
        ..Want::ROW
    };
    let record = data.get(key, want).await?;
    let ids = deployment_ids(data, &record, Want::ROW).await?;
    let ids = ids.map(|(ids, _)| ids);
    output::value(console.format, &shown::whole(&record, ids), console.out)
}

async fn delete(data: &dyn DataApi, key: &Key, console: &Console<'_>) -> anyhow::Result<()> {
    let deleting = data.delete(key);
    console.during(&format!("deleting {key}"), deleting).await?;
    console.done(&format!("deleted {key}"));
    Ok(())
}

async fn purge(data: &dyn DataApi, select: &Select, console: &Console<'_>) -> anyhow::Result<()> {
    let what = format!("deleting {}s", select.kind);
    let bulk = console.during(&what, data.purge(select)).await?;
    report(&bulk, "deleted", select.kind, console)
}

/// Says how many; what was left alone is a failure that names it.
fn report(bulk: &Bulk, verb: &str, kind: Kind, console: &Console<'_>) -> anyhow::Result<()> {
    console.done(&format!("{verb} {} {kind}s", bulk.done));
    for (key, why) in &bulk.skipped {
        eprintln!("left {key} alone: it {why}");
    }
    if bulk.skipped.is_empty() {
        Ok(())
    } else {
        let busy = bulk.skipped[0].0.clone();
        Err(tko_core::Error::Busy(busy).into())
    }
}

/// For how long a modification is claimed, if nothing else is said.
const MODIFICATION: Duration = Duration::from_secs(10);

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}
