//! The schedulers that a site needs, and the call of one of them.

use crate::context::ScheduleContext;
use crate::gather::SiteDeployments;
use tko_core::registry::{Handler, Table};
use tko_core::{
    Condition, Gvk, Identifier, Package, Record, ScheduleCall, ScheduleReports, Scheduler,
    SiteScheduler,
};
use tko_worker::guarded;

/// One scheduler to call for a site.
pub(crate) struct SchedulerCall<'a> {
    scheduler: &'a Handler<dyn Scheduler>,
    /// The resource that triggers it; `None` if it serves every site.
    target: Option<&'a Identifier>,
    /// Whether the target has left the package of the site.
    has_left: bool,
}

/// The schedulers to call, in the order of the site's package. Those that serve every site come
/// last, because they may depend on results of the others.
pub(crate) fn scheduler_calls<'a>(
    table: &'a Table<dyn Scheduler>,
    package: &'a Package,
) -> Vec<SchedulerCall<'a>> {
    let triggered = package.iter().flat_map(|resource| {
        let schedulers = table.of(resource.gvk()).iter();
        schedulers.map(|scheduler| SchedulerCall {
            scheduler,
            target: Some(resource.identifier()),
            has_left: false,
        })
    });
    let everywhere = table.everywhere().iter().map(|scheduler| SchedulerCall {
        scheduler,
        target: None,
        has_left: false,
    });
    triggered.chain(everywhere).collect()
}

impl<'a> SchedulerCall<'a> {
    /// The last call of a scheduler whose target has left the package of the site.
    pub(crate) fn last(scheduler: &'a Handler<dyn Scheduler>, target: &'a Identifier) -> Self {
        Self {
            scheduler,
            target: Some(target),
            has_left: true,
        }
    }

    /// The call as it is recorded with the site.
    pub(crate) fn recorded(&self) -> SiteScheduler {
        SiteScheduler::new(&*self.scheduler.name).target(self.target.cloned())
    }

    /// Whether this call takes the place of a recorded one: it is of the same scheduler, which gets
    /// the whole site at each call.
    pub(crate) fn replaces(&self, recorded: &SiteScheduler) -> bool {
        *self.scheduler.name == *recorded.name
    }

    /// Whether the scheduler does nothing with resources of this kind. Unknown, and so false, if the
    /// scheduler cannot be made.
    pub(crate) fn ignores(&self, kind: &Gvk) -> bool {
        let scheduler = self.scheduler.handler.as_ref();
        scheduler.is_ok_and(|scheduler| scheduler.ignores(kind))
    }

    /// Calls the scheduler. The error names the scheduler, its trigger and the failure.
    pub(crate) async fn make(
        &self,
        context: &ScheduleContext,
        site: &Record,
        deployments: &SiteDeployments,
        fence: u64,
        reports: &ScheduleReports,
    ) -> Result<Vec<Condition>, String> {
        let name = &self.scheduler.name;
        let failed = |why: &str| match self.target {
            Some(target) if self.has_left => format!(
                "scheduler {name} failed to remove its deployments (for {target}, which left the \
                 package of the site): {why}"
            ),
            Some(target) => format!("scheduler {name} (for {target}) failed: {why}"),
            None => format!("scheduler {name} failed: {why}"),
        };
        let scheduler = self.scheduler.handler.as_ref().map_err(|why| failed(why))?;
        let call = scheduler.schedule(
            ScheduleCall::new(site, fence)
                .target(self.target)
                .wanted(&deployments.wanted)
                .removed(&deployments.removed)
                .last(self.has_left || site.entity.deleting)
                .reports(reports),
        );
        let limit = (!scheduler.limits_itself()).then_some(context.settings.timeout);
        match guarded(&*context.clock, limit, call).await {
            Ok(answer) => answer.map_err(|error| failed(&error.chain())),
            Err(failure) => Err(failed(&failure.to_string())),
        }
    }
}
