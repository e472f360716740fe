//! [`PacedAdmission`]: slows the demo down, so that people can watch it.

use std::sync::Arc;
use std::time::Duration;
use tko_core::{Admission, NewPlugin, Package, Result, Violation, async_trait};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// An admission that lets a limited number of packages pass in a second.
///
/// Every step of the demo stores a package: registrations, creations, and each step of preparation.
pub(crate) struct PacedAdmission {
    inner: Arc<dyn Admission>,
    interval: Duration,
    next: Mutex<Instant>,
}

impl PacedAdmission {
    /// Lets `rate` packages pass in a second; at least one.
    pub(crate) fn new(inner: Arc<dyn Admission>, rate: u32) -> Self {
        Self {
            inner,
            interval: Duration::from_secs(1) / rate.max(1),
            next: Mutex::new(Instant::now()),
        }
    }
}

#[async_trait]
impl Admission for PacedAdmission {
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>> {
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + self.interval;
            turn
        };
        sleep_until(turn).await;
        self.inner.admit(package, complete).await
    }

    async fn admit_plugin(&self, plugin: &NewPlugin) -> Result<()> {
        self.inner.admit_plugin(plugin).await
    }
}

#[cfg(test)]
mod tests {
    use super::PacedAdmission;
    use std::sync::Arc;
    use std::time::Duration;
    use tko_core::{Admission, Package, Result, Violation, async_trait};
    use tokio::time::Instant;

    struct AdmitAll;

    #[async_trait]
    impl Admission for AdmitAll {
        async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn packages_pass_one_after_the_other() {
        let paced = PacedAdmission::new(Arc::new(AdmitAll), 10);
        let began = Instant::now();
        for _ in 0..21 {
            paced
                .admit(&Package::default(), true)
                .await
                .expect("it is admitted");
        }
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }
}
