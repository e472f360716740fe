//! The parts of a preparer that are shared by all of its work.

use crate::result_cache::ResultCache;
use crate::settings::PrepareSettings;
use std::sync::Arc;
use tko_core::{Clock, Ids, Preparer, Registry, WorkerApi};

/// The parts of a [`PrepareController`](crate::PrepareController) that all of its work shares.
#[derive(Clone)]
pub(crate) struct PrepareContext {
    pub(crate) data: Arc<dyn WorkerApi>,
    pub(crate) registry: Arc<Registry<dyn Preparer>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) settings: PrepareSettings,
    pub(crate) results: Arc<ResultCache>,
}
