//! [`BudgetedBody`]: a request's body whose bytes count against the budget of its connection.

use crate::byte_budget::{ByteGrant, FRAME_BYTES};
use crate::connection::Peer;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tko_core::BoxError;

/// The bytes of a request that have arrived. They are released when this value and the body are
/// dropped: keep this value until the request is answered.
#[derive(Clone, Debug)]
pub struct RequestBytes(Option<Arc<Mutex<ByteGrant>>>);

impl RequestBytes {
    /// Replaces the body of a request by one that fails when it exceeds the budget of the
    /// connection. The budget is that of the [`Peer`] in the extensions. Without a peer there is no
    /// budget.
    pub fn of<B>(request: Request<B>) -> (Self, Request<BudgetedBody<B>>) {
        let budget = request.extensions().get::<Peer>();
        let budget = budget.and_then(Peer::byte_budget);
        let bytes = Self(budget.map(|budget| Arc::new(Mutex::new(budget.grant()))));
        let request = request.map(|inner| BudgetedBody {
            inner,
            bytes: bytes.clone(),
        });
        (bytes, request)
    }

    fn grow(&self, bytes: usize) -> bool {
        self.0.as_ref().is_none_or(|grant| {
            let mut grant = grant.lock().unwrap_or_else(PoisonError::into_inner);
            grant.grow(bytes)
        })
    }
}

/// A body that fails with [`BudgetExhausted`] once its bytes exceed a budget.
#[derive(Debug)]
pub struct BudgetedBody<B> {
    inner: B,
    bytes: RequestBytes,
}

/// The error of a body that does not fit into the budget together with the other requests in
/// flight.
#[derive(Clone, Copy, Debug)]
pub struct BudgetExhausted;

impl BudgetExhausted {
    /// Whether this is the cause of an error.
    pub fn caused(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source())
            .any(<dyn std::error::Error>::is::<Self>)
    }
}

impl fmt::Display for BudgetExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "too many bytes of requests are in flight; wait for answers, or send smaller requests",
        )
    }
}

impl std::error::Error for BudgetExhausted {}

impl<B> Body for BudgetedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            let cost = FRAME_BYTES + frame.data_ref().map_or(0, Bytes::len);
            if self.bytes.grow(cost) {
                Ok(frame)
            } else {
                Err(BudgetExhausted.into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
