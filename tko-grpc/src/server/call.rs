//! What every call shares: the data, the settings, the way to an answer or a status.

use super::settings::Settings;
use crate::status::{self, Detail};
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Result, WorkerApi};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// What the services work with.
pub(super) struct Context {
    pub(super) data: Arc<dyn WorkerApi>,
    pub(super) settings: Settings,
    pub(super) addresses: Vec<SocketAddr>,
    /// Open to the network without TLS or authentication.
    pub(super) insecure: bool,
    /// The server is to stop.
    pub(super) ending: CancellationToken,
}

/// What a request says about its answer.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) detail: Detail,
    deadline: Option<Instant>,
}

impl Caller {
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
}

/// How long a stream may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// It has an end: when the server stops, it has the time of grace.
    ToItsEnd,
    /// It has none: it stops when the server is to.
    UntilShutdown,
}

impl Context {
    /// Answers a call of one request and one answer. Its deadline is the transport's.
    pub(super) async fn answer<Q, A, F>(
        &self,
        request: Request<Q>,
        work: impl FnOnce(Arc<dyn WorkerApi>, Q) -> F,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A>>,
    {
        let caller = Caller::of(request.metadata());
        work(self.data.clone(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| caller.refuse(&error))
    }

    /// Answers a call with a stream: ends at the deadline, and as `lasts` says.
    pub(super) fn stream<A: Send + 'static>(
        &self,
        caller: Caller,
        lasts: Lasts,
        items: impl Stream<Item = Result<A>> + Send + 'static,
    ) -> Response<BoxStream<'static, Result<A, Status>>> {
        let ending = self.ending.clone();
        let end = Box::pin(async move {
            let deadline = async {
                match caller.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                match lasts {
                    Lasts::ToItsEnd => std::future::pending().await,
                    Lasts::UntilShutdown => ending.cancelled().await,
                }
            };
            tokio::select! {
                () = deadline => Status::deadline_exceeded("the call's time is over"),
                () = stopped => caller.refuse(&stopping()),
            }
        });
        let guarded = stream::unfold(Some((items.boxed(), end)), move |state| async move {
            let (mut items, mut end) = state?;
            tokio::select! {
                biased;
                status = &mut end => Some((Err(status), None)),
                item = items.next() => match item? {
                    Ok(item) => Some((Ok(item), Some((items, end)))),
                    Err(error) => Some((Err(caller.refuse(&error)), None)),
                },
            }
        });
        Response::new(guarded.boxed())
    }
}

/// What callers are told whose call cannot go on because the server stops.
pub(super) fn stopping() -> Error {
    Error::unavailable(
        "finish the call: the server is stopping",
        "it was told to stop",
    )
}

/// As the gRPC protocol writes it: up to eight digits and a unit.
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
    fn timeouts_are_read_as_the_protocol_writes_them() {
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
