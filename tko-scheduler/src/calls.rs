//! Which schedulers a site calls for, and calling one of them.

use crate::controller::Context;
use crate::gather::Gathered;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tko_core::registry::{Handler, Table};
use tko_core::{Condition, Identifier, Package, Record, ScheduleCall, Scheduler};

/// One scheduler, and what triggered it; `None`: it serves every site.
pub(crate) struct Call<'a> {
    part: &'a Handler<dyn Scheduler>,
    target: Option<&'a Identifier>,
}

/// In order of the site's package; those that serve every site come last, for what they need may
/// have to be made first.
pub(crate) fn calls<'a>(table: &'a Table<dyn Scheduler>, package: &'a Package) -> Vec<Call<'a>> {
    let triggered = package.iter().flat_map(|resource| {
        table.of(resource.gvk()).iter().map(|part| Call {
            part,
            target: Some(resource.identifier()),
        })
    });
    let everywhere = table
        .everywhere()
        .iter()
        .map(|part| Call { part, target: None });
    triggered.chain(everywhere).collect()
}

impl Call<'_> {
    /// Calls it. An error says who failed, for what, and how.
    pub(crate) async fn make(
        &self,
        context: &Context,
        site: &Record,
        gathered: &Gathered,
        fence: u64,
    ) -> Result<Vec<Condition>, String> {
        let failed = |why: &str| match self.target {
            Some(target) => format!("scheduler {} (for {target}): {why}", self.part.name),
            None => format!("scheduler {}: {why}", self.part.name),
        };
        let scheduler = self.part.handler.as_ref().map_err(|why| failed(why))?;
        let call = ScheduleCall {
            site,
            target: self.target,
            wanted: &gathered.wanted,
            removed: &gathered.removed,
            fence,
        };
        let limit = context.settings.timeout;
        // What is someone else's code must not end the controller.
        let answer = AssertUnwindSafe(scheduler.schedule(call)).catch_unwind();
        tokio::select! {
            answer = answer => match answer {
                Ok(Ok(conditions)) => Ok(conditions),
                Ok(Err(error)) => Err(failed(&error.chain())),
                Err(_) => Err(failed("it panicked; the controller's log says where")),
            },
            () = context.clock.sleep(limit) => Err(failed(&too_long(limit))),
        }
    }
}

fn too_long(limit: Duration) -> String {
    format!(
        "took longer than {} s and was stopped; raise the time limit of schedulers if it needs more",
        limit.as_secs_f64()
    )
}
