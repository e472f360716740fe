//! The deployments that concern one site.

use tko_core::{
    DataApi, Entity, Error, Generation, Kind, List, Package, Record, Result, Revision, Select,
    SiteId, Want,
};

/// Number of deployments in one page. They are read with their packages.
const PAGE: usize = 200;

/// Number of changes in one page of history. They are read with their packages.
const HISTORY_PAGE: usize = 100;

/// Maximum number of changes that are searched for the package on the site of a deployment that
/// leaves it.
const MAX_HISTORY: usize = 10_000;

/// The deployments that concern one site, in key order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SiteDeployments {
    /// Deployments to run here: prepared, approved, and not placed on another site. A deployment
    /// with an edit that waits for approval is included [as it was approved](Want::kept), also if
    /// the edit names another site.
    pub wanted: Vec<Record>,
    /// Deployments placed here that must be removed.
    pub removed: Vec<Record>,
    /// Deployments to run here once another site has reported them as removed. Without packages.
    pub moving: Vec<Record>,
}

/// Reads the deployments that concern a site, page by page. Nothing is wanted on a site that is
/// being deleted.
///
/// # Errors
/// `BadArgument`: more than `max` are to run or to be removed, or the data service does not tell the
/// package that the site keeps. Otherwise as [`DataApi::list`].
pub async fn gather(
    data: &dyn DataApi,
    site: &SiteId,
    deleting: bool,
    max: usize,
) -> Result<SiteDeployments> {
    let mut found = SiteDeployments::default();
    let mut list = List::new(
        Select::all(Kind::Deployment)
            .concerning(site.clone())
            .deleting(true),
    )
    .limit(PAGE)
    .want(Want::PACKAGE.with_kept());
    loop {
        let page = data.list(&list).await?;
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
            } else if here && !deleting && record.entity.has_unapproved_edit() {
                // Nothing on the site may change: it is neither to be removed nor known.
                return Err(Error::bad(
                    "site",
                    format!(
                        "{} was edited after its approval, and the data service does not tell the \
                         package that was approved; approve the edit, or update the data service",
                        record.entity.key
                    ),
                ));
            } else if here {
                found.removed.push(as_scheduled(data, record).await?);
            }
        }
        if found.wanted.len() + found.removed.len() > max {
            return Err(Error::bad(
                "site",
                format!(
                    "the site has more than {max} deployments to run or remove; spread them over \
                     several sites, or raise max_deployments of the scheduling controller"
                ),
            ));
        }
        list.after = page.next;
        if list.after.is_none() {
            return Ok(found);
        }
    }
}

/// The site that a deployment is placed on, and the generation that was placed there.
pub(crate) fn placed(entity: &Entity) -> Option<&(SiteId, Generation)> {
    entity.deployment()?.placed.as_ref()
}

/// The package of a generation, if history reaches back that far. It is searched page by page.
async fn history_package(
    data: &dyn DataApi,
    record: &Record,
    generation: Generation,
) -> Result<Option<Package>> {
    let mut before: Option<Revision> = None;
    let mut searched = 0;
    while searched < MAX_HISTORY {
        let key = &record.entity.key;
        let changes = data.history(key, before, HISTORY_PAGE).await?;
        let Some(oldest) = changes.last() else {
            return Ok(None);
        };
        before = Some(oldest.revision);
        searched += changes.len();
        for change in changes {
            // Earlier changes are those of a deleted deployment with the same id.
            let is_creation = change.before.is_none();
            // The state before the oldest change is known, too.
            for state in [change.after, change.before].into_iter().flatten() {
                if state.entity.generation == generation {
                    return Ok(state.package);
                }
                // Generations only rise, so all earlier ones are lower, too.
                if state.entity.generation < generation {
                    return Ok(None);
                }
            }
            if is_creation {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// The record with the package that was scheduled, if history reaches back that far; else with its
/// current package.
pub(crate) async fn as_scheduled(data: &dyn DataApi, record: Record) -> Result<Record> {
    let generation = record.entity.generation;
    let Some(scheduled) = placed(&record.entity).map(|(_, at)| *at) else {
        return Ok(record);
    };
    if scheduled == generation {
        return Ok(record);
    }
    let package = history_package(data, &record, scheduled).await?;
    Ok(match package {
        Some(package) => record.package(package),
        None => record,
    })
}
