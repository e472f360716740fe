//! The schedulers that a site needs, and the call of one of them.

use crate::context::ScheduleContext;
use crate::gather::SiteDeployments;
use tko_core::registry::{Handler, Table};
use tko_core::{
    Condition, Gvk, Identifier, Package, Record, ScheduleCall, ScheduleReports, Scheduler,
};
use tko_worker::guarded;

/// One scheduler to call for a site.
pub(crate) struct SchedulerCall<'a> {
    scheduler: &'a Handler<dyn Scheduler>,
    /// The resource that triggers it; `None` if it serves every site.
    target: Option<&'a Identifier>,
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
        })
    });
    let everywhere = table.everywhere().iter().map(|scheduler| SchedulerCall {
        scheduler,
        target: None,
    });
    triggered.chain(everywhere).collect()
}

impl SchedulerCall<'_> {
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
            Some(target) => format!("scheduler {name} (for {target}) failed: {why}"),
            None => format!("scheduler {name} failed: {why}"),
        };
        let scheduler = self.scheduler.handler.as_ref().map_err(|why| failed(why))?;
        let call = scheduler.schedule(
            ScheduleCall::new(site, fence)
                .target(self.target)
                .wanted(&deployments.wanted)
                .removed(&deployments.removed)
                .reports(reports),
        );
        let limit = (!scheduler.limits_itself()).then_some(context.settings.timeout);
        match guarded(&*context.clock, limit, call).await {
            Ok(answer) => answer.map_err(|error| failed(&error.chain())),
            Err(failure) => Err(failed(&failure.to_string())),
        }
    }
}
