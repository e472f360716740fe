//! What a site is to run, and what is to be taken off it.

use crate::controller::Context;
use futures_util::TryStreamExt;
use tko_core::{Entity, Error, Generation, Kind, List, Record, Result, Select, SiteId, Want};

/// Deployments on one page. They come with their packages.
const PAGE: usize = 200;

/// How many changes back a package that was scheduled is looked for.
const HISTORY: usize = 100;

/// The deployments that concern one site, in key order.
#[derive(Default)]
pub(crate) struct Gathered {
    /// To run here: prepared, approved, and not (or not any more) on another site.
    pub(crate) wanted: Vec<Record>,
    /// Placed here, and not to run here.
    pub(crate) removed: Vec<Record>,
    /// To run here once their old site has reported them off. Without packages.
    pub(crate) moving: Vec<Record>,
}

/// Reads page by page.
///
/// # Errors
/// `BadArgument`: there are too many; as [`tko_core::DataApi::list`].
pub(crate) async fn gather(context: &Context, site: &SiteId, going: bool) -> Result<Gathered> {
    let mut found = Gathered::default();
    let list = List {
        select: Select {
            concerning: Some(site.clone()),
            deleting: true,
            ..Select::all(Kind::Deployment)
        },
        after: None,
        limit: PAGE,
        want: Want::PACKAGE,
    };
    let mut pages = context.data.clone().pages(list);
    while let Some(page) = pages.try_next().await? {
        for mut record in page.items {
            let placed = placed(&record.entity);
            let here = placed.is_some_and(|(at, _)| at == site);
            if !going && record.entity.wanted_on() == Some(site) {
                if here || placed.is_none() {
                    found.wanted.push(record);
                } else {
                    record.package = None;
                    found.moving.push(record);
                }
            } else if here {
                found.removed.push(as_scheduled(context, record).await?);
            }
        }
        let most = context.settings.most;
        if found.wanted.len() + found.removed.len() > most {
            return Err(Error::bad(
                "site",
                format!(
                    "more than {most} deployments are to run on it or to be taken off it; spread \
                     them over several sites, or raise that limit of the scheduling controller"
                ),
            ));
        }
    }
    Ok(found)
}

/// Where a deployment is, as of which generation.
pub(crate) fn placed(entity: &Entity) -> Option<&(SiteId, Generation)> {
    entity.deployment()?.placed.as_ref()
}

/// With the package that was scheduled, as far as history is kept; else with that of now.
async fn as_scheduled(context: &Context, record: Record) -> Result<Record> {
    let generation = record.entity.generation;
    let Some(scheduled) = placed(&record.entity).map(|(_, at)| *at) else {
        return Ok(record);
    };
    if scheduled == generation {
        return Ok(record);
    }
    let changes = context
        .data
        .history(&record.entity.key, None, HISTORY)
        .await?;
    let package = changes
        .into_iter()
        .filter_map(|change| change.after)
        .find(|after| after.entity.generation == scheduled)
        .and_then(|after| after.package);
    Ok(Record {
        package: package.or(record.package),
        ..record
    })
}
