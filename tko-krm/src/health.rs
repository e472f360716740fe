//! [`DataHealth`]: whether the data service answers, for probes.

use std::time::Duration;
use tko_core::Result as CoreResult;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long the data service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one answer serves all probes. They need no credentials, so many probes must not cause
/// many calls of the data service.
const SHARED: Duration = Duration::from_secs(1);

/// The last answer of the data service to a probe.
#[derive(Default)]
pub(crate) struct DataHealth(Mutex<Option<(Instant, HealthAnswer)>>);

/// The error is the text for a client without credentials: as in Kubernetes, it does not reveal the
/// reason.
type HealthAnswer = Result<(), &'static str>;

impl DataHealth {
    /// Makes a call of the data service, unless the last one was less than a second ago. Concurrent
    /// callers share one call.
    pub(crate) async fn check<T>(&self, call: impl Future<Output = CoreResult<T>>) -> HealthAnswer {
        let mut last = self.0.lock().await;
        if let Some((at, answer)) = *last
            && at.elapsed() < SHARED
        {
            return answer;
        }
        let answer = match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "not ready: the data service failed");
                Err("reason withheld")
            }
            Err(_) => Err("the data service does not answer"),
        };
        *last = Some((Instant::now(), answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::{DataHealth, PATIENCE, SHARED};
    use std::future::{pending, ready};
    use tko_core::{Error, Result as CoreResult};

    #[tokio::test(start_paused = true)]
    async fn one_answer_serves_all_probes_of_a_second() {
        let health = DataHealth::default();
        assert_eq!(health.check(ready(Ok(()))).await, Ok(()));
        let failed = || ready(CoreResult::<()>::Err(Error::unavailable("read", "secret")));
        assert_eq!(health.check(failed()).await, Ok(()), "no call was made");
        tokio::time::advance(SHARED).await;
        assert_eq!(health.check(failed()).await, Err("reason withheld"));
        tokio::time::advance(SHARED).await;
        let begun = tokio::time::Instant::now();
        let (first, second) = tokio::join!(
            health.check(pending::<CoreResult<()>>()),
            health.check(pending::<CoreResult<()>>()),
        );
        assert_eq!(first, Err("the data service does not answer"));
        assert_eq!(second, first);
        assert_eq!(begun.elapsed(), PATIENCE, "they wait together");
    }
}
