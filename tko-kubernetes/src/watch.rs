//! [`SiteWatches`]: watches the objects of sites, so that drift and health are seen at once.
//!
//! - A watch is of one kind and one set, and of metadata only: a new `resourceVersion` is enough to
//!   make the site due. What changed is found by the pass that follows, which reads lists anyway.
//! - A watch starts at the version of the pass's list. An event for a version that the pass has read
//!   or written itself makes nothing due.
//! - Watches are an accelerator. Without them (no right to watch, too many, a lost connection) the
//!   resync finds the same.

mod limits;
mod site;
mod stream;

use self::limits::WatchLimits;
use self::site::{PassCommand, SiteTask};
use crate::client::ClusterClient;
use crate::settings::KubernetesSettings;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tko_core::{SiteId, WorkerApi};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What one pass read and left in a cluster.
#[derive(Debug, Default)]
pub(crate) struct SeenObjects {
    /// The lists to follow, by path, with the version of each; empty where none was read.
    pub(crate) lists: BTreeMap<String, String>,
    /// The version of each object, by UID.
    pub(crate) versions: HashMap<String, String>,
}

/// Whether a set is of the objects of a site, or of its infrastructure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetRole {
    /// The objects of its deployments.
    Site,
    /// The objects that make its cluster.
    Infrastructure,
}

/// The watches of all sites that this process schedules.
pub(crate) struct SiteWatches {
    /// Where sites are made due; `None`: nothing is watched.
    data: Option<Arc<dyn WorkerApi>>,
    limits: Arc<WatchLimits>,
    tasks: Mutex<HashMap<(SetRole, SiteId), UnboundedSender<PassCommand>>>,
}

impl SiteWatches {
    pub(crate) fn new(settings: &KubernetesSettings) -> Self {
        Self {
            data: None,
            limits: Arc::new(WatchLimits::new(settings.watches)),
            tasks: Mutex::default(),
        }
    }

    /// Makes sites due through this API.
    pub(crate) fn enable(&mut self, data: Arc<dyn WorkerApi>) {
        self.data = Some(data);
    }

    /// A pass over a set begins.
    pub(crate) fn begin(&self, role: SetRole, site: &SiteId) -> WatchedPass {
        let Some(data) = self.data.as_ref().filter(|_| self.limits.are_on()) else {
            return WatchedPass(None);
        };
        let mut tasks = self.lock();
        // Tasks end by themselves, too.
        tasks.retain(|_, task| !task.is_closed());
        let known = tasks.entry((role, site.clone()));
        let task = known.or_insert_with(|| {
            let (sender, commands) = unbounded_channel();
            let task = SiteTask::new(site.clone(), data.clone(), self.limits.clone());
            tokio::spawn(task.run(commands));
            sender
        });
        // A task that has just ended misses this pass, and the next one starts another.
        let _ = task.send(PassCommand::Started);
        WatchedPass(Some(task.clone()))
    }

    /// Ends the watches of a site.
    pub(crate) fn forget(&self, site: &SiteId) {
        self.lock().retain(|(_, of), _| of != site);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SetRole, SiteId), UnboundedSender<PassCommand>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that may be dropped at any point.
pub(crate) struct WatchedPass(Option<UnboundedSender<PassCommand>>);

impl WatchedPass {
    /// The pass is over: these objects are followed from now on.
    pub(crate) fn finish(
        mut self,
        client: &Arc<ClusterClient>,
        selector: String,
        seen: SeenObjects,
    ) {
        if let Some(task) = self.0.take() {
            let _ = task.send(PassCommand::Finished {
                client: client.clone(),
                selector,
                seen,
            });
        }
    }
}

impl Drop for WatchedPass {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            let _ = task.send(PassCommand::Failed);
        }
    }
}
