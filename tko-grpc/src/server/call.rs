//! The parts that all calls share: the API, the settings, and the conversion of results to
//! responses.

use super::request_body::CallBytes;
use super::settings::ServerSettings;
use super::windows::WindowEnds;
use crate::status::{self, Detail};
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Caller, CallerRole, Error, Result, WorkerApi};
use tko_serve::HeavyWork;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

/// The API and settings behind the services.
pub(super) struct ServiceContext {
    pub(super) api: Arc<dyn WorkerApi>,
    pub(super) settings: ServerSettings,
    pub(super) addresses: Vec<SocketAddr>,
    /// The server is open to the network without TLS or authentication.
    pub(super) insecure: bool,
    /// Whether requests without credentials are accepted.
    pub(super) open: bool,
    /// Cancelled when the server shuts down.
    pub(super) ending: CancellationToken,
    /// Permits for decoding large requests.
    pub(super) heavy_work: HeavyWork,
    /// The ends of the last windows of listings.
    pub(super) window_ends: Arc<WindowEnds>,
    /// Permits for streams that take as long as their clients read them.
    pub(super) streams: Arc<Semaphore>,
}

/// The message of a call that took too long.
const LATE: &str = "the deadline of the call has passed";

/// The options of a call that affect its response: the detail of errors, and the deadline.
#[derive(Clone, Copy)]
pub(super) struct CallOptions {
    detail: Detail,
    deadline: Option<Instant>,
}

impl CallOptions {
    pub(super) fn of(metadata: &MetadataMap) -> Self {
        let timeout = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(timeout);
        Self {
            detail: Detail::of(metadata),
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        }
    }

    pub(super) fn refuse(self, error: &Error) -> Status {
        status::from_error(error, self.detail)
    }

    /// Whether the deadline has passed.
    fn is_late(self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// When a stream ends on shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// The stream is finite; it has the grace period to finish.
    Finite,
    /// The stream is endless; it ends at once.
    UntilShutdown,
}

impl ServiceContext {
    /// The API on behalf of the authenticated caller of a request.
    pub(super) fn api(&self, extensions: &Extensions) -> Arc<dyn WorkerApi> {
        let api = self.api.clone();
        match extensions.get::<Caller>() {
            Some(caller) => api.worker_with_caller(caller.clone()),
            None => api,
        }
    }

    /// Answers a unary call. The transport enforces its deadline.
    pub(super) async fn answer<Q, A, F>(
        &self,
        request: Request<Q>,
        work: impl FnOnce(Arc<dyn WorkerApi>, Q) -> F,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A>>,
    {
        let options = CallOptions::of(request.metadata());
        let api = self.api(request.extensions());
        work(api, request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| options.refuse(&error))
    }

    /// Answers a unary call whose request may be large. If it is, or if its packages have this much
    /// weight, decoding it is [`HeavyWork`]. `work` is not: it may wait for the database, and
    /// [`CallBytes`] limits how many requests wait. Ends at the deadline of the call.
    pub(super) async fn answer_large<Q, D, A, F>(
        &self,
        request: Request<Q>,
        weight: impl FnOnce(&Q) -> usize,
        decode: impl FnOnce(Q) -> Result<D>,
        work: impl FnOnce(Arc<dyn WorkerApi>, D) -> F,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A>>,
    {
        let options = CallOptions::of(request.metadata());
        let bytes = request.extensions().get::<CallBytes>();
        let bytes = bytes.map_or(0, CallBytes::bytes);
        let weight = weight(request.get_ref()).max(bytes);
        let api = self.api(request.extensions());
        let request = request.into_inner();
        let answering = async {
            let decoded = self.heavy_work.run(weight, || decode(request)).await;
            // Nothing can end the call while it is decoded.
            if options.is_late() {
                return Err(Status::deadline_exceeded(LATE));
            }
            let answer = match decoded {
                Ok(decoded) => work(api, decoded).await,
                Err(error) => Err(error),
            };
            answer
                .map(Response::new)
                .map_err(|error| options.refuse(&error))
        };
        match options.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, answering)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded(LATE))),
            None => answering.await,
        }
    }

    /// A permit for a list, a history or a watch. Workers need none: other callers must not keep
    /// them from their watches.
    pub(super) fn stream_permit(
        &self,
        extensions: &Extensions,
    ) -> Result<Option<OwnedSemaphorePermit>, Status> {
        let caller = extensions.get::<Caller>();
        if caller.is_some_and(|caller| caller.has_role(CallerRole::Worker.name())) {
            return Ok(None);
        }
        let permit = self.streams.clone().try_acquire_owned();
        permit.map(Some).map_err(|_| {
            Status::unavailable("the server sends too many lists and watches at once; retry later")
        })
    }

    /// Answers a call with a stream that ends at the deadline, and on shutdown as `lifetime` says.
    /// The stream keeps the permit until its end, or until the client is gone.
    pub(super) fn stream<A: Send + 'static>(
        &self,
        options: CallOptions,
        lifetime: Lifetime,
        permit: Option<OwnedSemaphorePermit>,
        items: impl Stream<Item = Result<A>> + Send + 'static,
    ) -> Response<BoxStream<'static, Result<A, Status>>> {
        let ending = self.ending.clone();
        let end = Box::pin(async move {
            let deadline = async {
                match options.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                match lifetime {
                    Lifetime::Finite => std::future::pending().await,
                    Lifetime::UntilShutdown => ending.cancelled().await,
                }
            };
            tokio::select! {
                () = deadline => Status::deadline_exceeded(LATE),
                () = stopped => options.refuse(&stopping()),
            }
        });
        let start = Some((items.boxed(), end, permit));
        let guarded = stream::unfold(start, move |state| async move {
            let (mut items, mut end, permit) = state?;
            tokio::select! {
                biased;
                status = &mut end => Some((Err(status), None)),
                item = items.next() => match item? {
                    Ok(item) => Some((Ok(item), Some((items, end, permit)))),
                    Err(error) => Some((Err(options.refuse(&error)), None)),
                },
            }
        });
        Response::new(guarded.boxed())
    }
}

/// The error of a call that shutdown ends.
pub(super) fn stopping() -> Error {
    Error::unavailable("finish the call: the server is stopping", "retry later")
}

/// Parses a timeout of the gRPC protocol: up to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match text.as_bytes().last()? {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::timeout;
    use std::time::Duration;

    #[test]
    fn timeouts_have_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("5m", Some(Duration::from_millis(5))),
            ("7u", Some(Duration::from_micros(7))),
            ("9n", Some(Duration::from_nanos(9))),
            ("", None),
            ("S", None),
            ("5", None),
            ("5x", None),
            ("-5S", None),
            ("123456789S", None),
            ("5ä", None),
        ] {
            assert_eq!(timeout(text), expected, "{text:?}");
        }
    }
}
