//! The schedulers that were called for a site before, and that nothing in its package triggers now.
//!
//! Each gets a last call, with the resource that triggered it and with everything that is placed on
//! the site as removed. After its success it is forgotten. A scheduler that is still called for
//! another resource of the site gets none: that call is about the whole site, too.
//!
//! While one of them cannot be called, no removal from the site is reported as done, because its
//! deployments may still run there. It does not exist any more, or its resource is still there in
//! another version, which does not trigger it (yet).

use crate::call::SchedulerCall;
use crate::gather::{SiteDeployments, as_scheduled, placed};
use std::collections::BTreeSet;
use std::sync::Arc;
use tko_core::registry::Table;
use tko_core::{DataApi, Package, Record, Result, Scheduler, SiteId, SiteScheduler};

/// The recorded schedulers of a site that its package does not trigger any more.
#[derive(Default)]
pub(crate) struct FormerSchedulers<'a> {
    /// Those that can be called.
    pub(crate) available: Vec<FormerScheduler<'a>>,
    /// Those that cannot be called now.
    pub(crate) missing: Vec<&'a SiteScheduler>,
    /// Those that have nothing to remove, or are given up.
    pub(crate) forgotten: Vec<SiteScheduler>,
}

/// A scheduler that nothing triggers any more, and that still exists.
pub(crate) struct FormerScheduler<'a> {
    pub(crate) recorded: &'a SiteScheduler,
    /// Its last call.
    pub(crate) call: SchedulerCall<'a>,
}

impl<'a> FormerSchedulers<'a> {
    /// Compares the recorded schedulers of a site with the current calls.
    pub(crate) fn find(
        recorded: &'a [SiteScheduler],
        calls: &[SchedulerCall<'_>],
        table: &'a Table<dyn Scheduler>,
        package: &Package,
        abandoned: &BTreeSet<String>,
    ) -> Self {
        let current: Vec<SiteScheduler> = calls.iter().map(SchedulerCall::recorded).collect();
        let mut found = Self::default();
        for one in recorded {
            if current.iter().any(|call| call.is_same(one)) {
                continue;
            }
            let is_replaced = calls.iter().any(|call| call.replaces(one));
            if is_replaced || abandoned.contains(&one.name) {
                found.forgotten.push(one.clone());
            } else if has_other_version(package, one) {
                found.missing.push(one);
            } else if let Some(call) = last_call(table, one) {
                found.available.push(FormerScheduler {
                    recorded: one,
                    call,
                });
            } else {
                found.missing.push(one);
            }
        }
        found
    }

    /// Forgets the missing schedulers of a site on which nothing is placed.
    pub(crate) fn forget_missing(&mut self) {
        let missing = std::mem::take(&mut self.missing);
        self.forgotten.extend(missing.into_iter().cloned());
    }

    /// The site for the last call of a scheduler: its package has the resources that triggered the
    /// scheduler before, as they were when they left.
    ///
    /// # Errors
    /// The target of the scheduler is not known any more; the text says what to do.
    pub(crate) fn site_of(
        &self,
        former: &FormerScheduler<'_>,
        site: &Record,
    ) -> std::result::Result<Record, String> {
        let recorded = former.recorded;
        if recorded.resource.is_none() {
            return Err(format!(
                "scheduler {recorded} cannot remove its deployments: the resource left the package \
                 of the site, and was too large to keep; add it to the site again"
            ));
        }
        let of_scheduler = self.available.iter().map(|other| other.recorded);
        let left = of_scheduler.filter(|other| other.name == recorded.name);
        let resources = left.filter_map(|other| other.resource.as_ref());
        let package = resources.fold(
            site.package.clone().unwrap_or_default(),
            |package, resource| package.with(Arc::clone(resource)),
        );
        Ok(site.clone().package(package))
    }
}

/// The current schedulers that are not recorded with the site yet.
pub(crate) fn unrecorded(
    recorded: &[SiteScheduler],
    calls: &[SchedulerCall<'_>],
) -> Vec<SiteScheduler> {
    let current = calls.iter().map(SchedulerCall::recorded);
    let is_new = |one: &SiteScheduler| !recorded.iter().any(|known| known.is_same(one));
    current.filter(is_new).collect()
}

/// Everything that is placed on the site, in key order, with the packages that were scheduled.
pub(crate) async fn all_placed(
    data: &dyn DataApi,
    site: &SiteId,
    deployments: &SiteDeployments,
) -> Result<SiteDeployments> {
    let mut removed = deployments.removed.clone();
    for record in &deployments.wanted {
        if is_placed_on(record, site) {
            removed.push(as_scheduled(data, record.clone()).await?);
        }
    }
    removed.sort_by(|one, other| one.entity.key.cmp(&other.entity.key));
    Ok(SiteDeployments {
        removed,
        ..SiteDeployments::default()
    })
}

/// Whether a deployment is recorded as placed on this site.
pub(crate) fn is_placed_on(record: &Record, site: &SiteId) -> bool {
    placed(&record.entity).is_some_and(|(at, _)| at == site)
}

/// Whether the package has the object that triggered a scheduler in another version. Then nothing of
/// the site was given up.
fn has_other_version(package: &Package, recorded: &SiteScheduler) -> bool {
    let Some(target) = &recorded.target else {
        return false;
    };
    package
        .iter()
        .map(|resource| resource.identifier())
        .any(|one| {
            one.gvk.group == target.gvk.group
                && one.gvk.kind == target.gvk.kind
                && one.namespace == target.namespace
                && one.name == target.name
                && one.gvk.version != target.gvk.version
        })
}

/// The last call of a recorded scheduler; `None` if no scheduler has this name and trigger.
///
/// A scheduler of every site that exists is called anyway, so a former one does not exist.
fn last_call<'a>(
    table: &'a Table<dyn Scheduler>,
    recorded: &'a SiteScheduler,
) -> Option<SchedulerCall<'a>> {
    let target = recorded.target.as_ref()?;
    let mut schedulers = table.of(&target.gvk).iter();
    let scheduler = schedulers.find(|scheduler| *scheduler.name == *recorded.name)?;
    Some(SchedulerCall::last(scheduler, target))
}
