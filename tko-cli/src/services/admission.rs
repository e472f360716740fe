//! [`PatientAdmission`]: validates large packages on separate threads, so that other requests are
//! not blocked, and checks catalogs and inventories.

use async_trait::async_trait;
use tko_core::{Admission, NewPlugin, Package, Result, Violation};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Packages of up to this many bytes are validated on the thread of the request.
const SMALL: usize = 128 << 10;

/// An admission that limits how many large packages are checked at a time, each on a separate
/// thread. Every interface and every controller uses it.
pub(super) struct PatientAdmission<A> {
    inner: A,
    turns: Semaphore,
}

impl<A> PatientAdmission<A> {
    /// Checks as many large packages at a time as half of the processors, but at least one.
    pub(super) fn new(inner: A) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            inner,
            turns: Semaphore::new((processors / 2).max(1)),
        }
    }
}

#[async_trait]
impl<A: Admission> Admission for PatientAdmission<A> {
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>> {
        let handle = Handle::current();
        if package.size() <= SMALL || handle.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return self.inner.admit(package, complete).await;
        }
        let _turn = self.turns.acquire().await;
        tokio::task::block_in_place(|| handle.block_on(self.inner.admit(package, complete)))
    }

    async fn admit_plugin(&self, plugin: &NewPlugin) -> Result<()> {
        #[cfg(feature = "catalog")]
        tko_catalog::check_plugin(plugin)?;
        self.inner.admit_plugin(plugin).await
    }
}
