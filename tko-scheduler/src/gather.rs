//! The deployments that concern one site.

use crate::context::ScheduleContext;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::sync::Arc;
use tko_core::entity::{APPROVED, EDITED};
use tko_core::{
    Entity, Error, Generation, Kind, List, Package, Record, Result, Select, SiteId, Want,
};

/// Deployments on one page. They come with their packages.
const PAGE: usize = 200;

/// Number of changes that are searched for the package that was scheduled.
const HISTORY: usize = 100;

/// The deployments that concern one site, in key order.
#[derive(Default)]
pub(crate) struct SiteDeployments {
    /// Deployments to run here: prepared, approved, and not placed on another site. One that was edited
    /// after its approval is here as it was placed.
    pub(crate) wanted: Vec<Record>,
    /// Deployments placed here that are to be removed.
    pub(crate) removed: Vec<Record>,
    /// Deployments to run here once another site has reported them removed. Without packages.
    pub(crate) moving: Vec<Record>,
}

/// Reads the deployments that concern a site, page by page. Nothing is wanted on a site that is
/// being deleted.
///
/// # Errors
///
/// `BadArgument` if there are too many; else as [`tko_core::DataApi::list`].
pub(crate) async fn gather(
    context: &ScheduleContext,
    site: &SiteId,
    deleting: bool,
) -> Result<SiteDeployments> {
    let mut found = SiteDeployments::default();
    let mut list = List::new(
        Select::all(Kind::Deployment)
            .concerning(site.clone())
            .deleting(true),
    )
    .limit(PAGE)
    .want(Want::PACKAGE);
    // Nearly every site has one page, and a single call costs much less than a stream.
    let first = context.data.list(&list).await?;
    list.after.clone_from(&first.next);
    let rest = match list.after {
        Some(_) => context.data.clone().pages(list),
        None => stream::empty().boxed(),
    };
    let mut pages = stream::iter([Ok(first)]).chain(rest);
    while let Some(page) = pages.try_next().await? {
        for mut record in page.items {
            let placed = placed(&record.entity);
            let here = placed.is_some_and(|(at, _)| at == site);
            if !deleting && record.entity.wanted_on() == Some(site) {
                if here || placed.is_none() {
                    found.wanted.push(record);
                } else {
                    record.package = None;
                    found.moving.push(record);
                }
            } else if here && !deleting && awaits_approval(&record.entity, site) {
                found.wanted.push(as_placed(context, record).await?);
            } else if here {
                found.removed.push(as_scheduled(context, record).await?);
            }
        }
        let max = context.settings.max_deployments;
        if found.wanted.len() + found.removed.len() > max {
            return Err(Error::bad(
                "site",
                format!(
                    "the site has more than {max} deployments to run or remove; spread them over \
                     several sites, or raise max_deployments of the scheduling controller"
                ),
            ));
        }
    }
    Ok(found)
}

/// The site that a deployment is placed on, and the generation that was placed there.
pub(crate) fn placed(entity: &Entity) -> Option<&(SiteId, Generation)> {
    entity.deployment()?.placed.as_ref()
}

/// Whether a deployment was edited after its approval, and waits for the approval of the edit. Until
/// then the site keeps its manifests.
fn awaits_approval(entity: &Entity, site: &SiteId) -> bool {
    let is_edited = entity
        .condition(APPROVED)
        .is_some_and(|condition| condition.status == Some(false) && condition.reason == EDITED);
    is_edited
        && !entity.deleting
        && entity
            .deployment()
            .is_some_and(|d| d.prepared && !d.approved && d.site.as_ref() == Some(site))
}

/// The record of the generation that is placed, with its package.
///
/// # Errors
///
/// `BadArgument` if history does not reach back so far: nothing on the site may change then.
async fn as_placed(context: &ScheduleContext, record: Record) -> Result<Record> {
    let at = placed(&record.entity).map(|(_, at)| *at);
    let package = match at {
        Some(at) => history_package(context, &record, at).await?,
        None => None,
    };
    let (Some(at), Some(package)) = (at, package) else {
        return Err(Error::bad(
            "site",
            format!(
                "{} was edited after its approval, and the package that is on the site is no longer \
                 in history; approve the edit, or delete the deployment",
                record.entity.key
            ),
        ));
    };
    let mut entity = Entity::clone(&record.entity);
    entity.generation = at;
    Ok(record.entity(Arc::new(entity)).package(package))
}

/// The package of a generation, if history reaches back so far.
async fn history_package(
    context: &ScheduleContext,
    record: &Record,
    generation: Generation,
) -> Result<Option<Package>> {
    let changes = context
        .data
        .history(&record.entity.key, None, HISTORY)
        .await?;
    // The state before the oldest change is known, too.
    let states = changes
        .into_iter()
        .flat_map(|change| [change.after, change.before])
        .flatten();
    Ok(states
        .into_iter()
        .find(|state| state.entity.generation == generation)
        .and_then(|state| state.package))
}

/// The record with the package that was scheduled, if history reaches back so far; else with its
/// current package.
async fn as_scheduled(context: &ScheduleContext, record: Record) -> Result<Record> {
    let generation = record.entity.generation;
    let Some(scheduled) = placed(&record.entity).map(|(_, at)| *at) else {
        return Ok(record);
    };
    if scheduled == generation {
        return Ok(record);
    }
    let package = history_package(context, &record, scheduled).await?;
    Ok(match package {
        Some(package) => record.package(package),
        None => record,
    })
}
