//! The parts of a scheduling controller that are shared by all of its work.

use crate::settings::ScheduleSettings;
use std::sync::Arc;
use tko_core::{Clock, Registry, Scheduler, WorkerApi};

/// The parts of a [`ScheduleController`](crate::ScheduleController) that all of its work shares.
#[derive(Clone)]
pub(crate) struct ScheduleContext {
    pub(crate) data: Arc<dyn WorkerApi>,
    pub(crate) registry: Arc<Registry<dyn Scheduler>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: ScheduleSettings,
}
