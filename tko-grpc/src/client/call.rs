//! Calls: deadlines, statuses and retries.

use super::{Client, ClientChannel};
use crate::proto::v1alpha2::controller_client::ControllerClient;
use crate::proto::v1alpha2::data_client::DataClient;
use crate::status::to_error;
use std::time::Duration;
use tko_core::{Error, Result};
use tonic::{Request, Response, Status, Streaming};

/// Backoff before the second attempt; it quadruples before each further attempt.
const PAUSE: Duration = Duration::from_millis(50);

impl Client {
    /// Makes a call that changes something, once.
    pub(super) async fn write<Q, A, F>(
        &self,
        action: &'static str,
        request: Q,
        call: impl FnOnce(DataClient<ClientChannel>, Request<Q>) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let time = self.settings.timeout;
        let request = within(time, request);
        answer(action, time, call(self.data.clone(), request)).await
    }

    /// Makes a call that may work on very many entities, once, with a longer timeout.
    pub(super) async fn bulk<Q, A, F>(
        &self,
        action: &'static str,
        request: Q,
        call: impl FnOnce(DataClient<ClientChannel>, Request<Q>) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let time = self.settings.bulk_timeout;
        let request = within(time, request);
        answer(action, time, call(self.data.clone(), request)).await
    }

    /// Makes an idempotent call; retries while the server is unavailable.
    pub(super) async fn read<Q, A, F>(
        &self,
        action: &'static str,
        request: Q,
        call: impl Fn(DataClient<ClientChannel>, Request<Q>) -> F,
    ) -> Result<A>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let time = self.settings.timeout;
        self.repeat(|| {
            let request = within(time, request.clone());
            answer(action, time, call(self.data.clone(), request))
        })
        .await
    }

    /// Retries while the server is unavailable.
    pub(super) async fn repeat<A, F>(&self, attempt: impl Fn() -> F) -> Result<A>
    where
        F: Future<Output = Result<A>>,
    {
        let mut pause = PAUSE;
        for _ in 1..self.settings.tries {
            match attempt().await {
                Err(error @ Error::Unavailable { .. }) => {
                    tracing::debug!(error = error.chain(), "retrying a call");
                }
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
        attempt().await
    }

    /// Makes a worker's call, once, because workers have their own retries.
    pub(super) async fn work<Q, A, F>(
        &self,
        action: &'static str,
        time: Duration,
        request: Q,
        call: impl FnOnce(ControllerClient<ClientChannel>, Request<Q>) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let request = within(time, request);
        answer(action, time, call(self.controller.clone(), request)).await
    }
}

/// A request with this timeout.
pub(super) fn within<Q>(time: Duration, request: Q) -> Request<Q> {
    let mut request = Request::new(request);
    request.set_timeout(time);
    request
}

async fn answer<A>(
    action: &'static str,
    time: Duration,
    call: impl Future<Output = Result<Response<A>, Status>>,
) -> Result<A> {
    // The generated future of a call is large.
    let call = Box::pin(call);
    limited(action, time, async {
        call.await
            .map(Response::into_inner)
            .map_err(|status| to_error(status, action))
    })
    .await
}

/// Fails with `Unavailable` after this time.
pub(super) async fn limited<A>(
    action: &'static str,
    time: Duration,
    work: impl Future<Output = Result<A>>,
) -> Result<A> {
    tokio::time::timeout(time, work)
        .await
        .unwrap_or_else(|elapsed| Err(Error::unavailable(action, elapsed)))
}

/// The next message of a stream.
pub(super) async fn next<A>(action: &'static str, stream: &mut Streaming<A>) -> Result<Option<A>> {
    stream
        .message()
        .await
        .map_err(|status| to_error(status, action))
}

/// Converts the error of an invalid response, which is not the caller's fault.
pub(super) fn garbled(error: Error) -> Error {
    Error::internal("read the response of the server", error)
}
