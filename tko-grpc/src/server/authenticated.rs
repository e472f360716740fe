//! [`Authenticated`]: a service that authenticates each request before it passes it on.

use super::INTERFACE;
use super::request_body::{CallBytes, RequestBody};
use crate::status::{self, Detail};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tko_serve::{Authenticate, ByteBudget, Credentials, HeavyWork, Peer};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower_service::Service;

/// Authenticates each request, and inserts its [`Caller`](tko_core::Caller) and its [`CallBytes`]
/// into the extensions.
#[derive(Clone)]
pub(super) struct Authenticated<S> {
    inner: S,
    authentication: Arc<dyn Authenticate>,
    /// The byte budget for requests whose connection has none.
    bytes: Arc<ByteBudget>,
    heavy_work: HeavyWork,
    max_message: usize,
}

impl<S> Authenticated<S> {
    pub(super) fn new(
        inner: S,
        authentication: &Arc<dyn Authenticate>,
        bytes: &Arc<ByteBudget>,
        heavy_work: &HeavyWork,
        max_message: usize,
    ) -> Self {
        Self {
            inner,
            authentication: authentication.clone(),
            bytes: bytes.clone(),
            heavy_work: heavy_work.clone(),
            max_message,
        }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

type HttpReply = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for Authenticated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = HttpReply> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The instance that is ready serves the request; a clone takes its place.
        let waiting = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, waiting);
        let authentication = self.authentication.clone();
        let credentials = credentials(&request);
        let budget = request.extensions().get::<Peer>();
        let budget = budget.and_then(Peer::byte_budget).unwrap_or(&self.bytes);
        let bytes = CallBytes::new(budget.grant());
        let heavy_work = self.heavy_work.clone();
        let max_message = self.max_message;
        Box::pin(async move {
            // Checked before the authentication: an answer without a delay must not tell whether
            // the credentials are valid.
            if credentials.peer().is_some_and(Peer::has_too_many_refusals) {
                let message = "this connection has too many refused requests; retry later";
                return Ok(Status::unavailable(message).into_http());
            }
            match tko_serve::authenticate(&*authentication, &credentials).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    request.extensions_mut().insert(bytes.clone());
                    let request = request
                        .map(|body| Body::new(RequestBody::new(body, bytes.clone(), max_message)));
                    let answer = bytes.drive(&heavy_work, ready.call(request)).await;
                    // The message is in memory until the call has an answer.
                    drop(bytes);
                    answer
                }
                Err(error) => {
                    let status = status::from_error(&error, detail(request.headers()));
                    Ok(status.into_http())
                }
            }
        })
    }
}

/// A service that needs no credentials. Records its requests, so that their connection is not
/// closed as unused.
#[derive(Clone)]
pub(super) struct Unauthenticated<S>(S);

impl<S> Unauthenticated<S> {
    pub(super) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S: NamedService> NamedService for Unauthenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Unauthenticated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.note_request();
        }
        self.0.call(request)
    }
}

fn credentials(request: &http::Request<Body>) -> Credentials {
    let mut credentials = Credentials::new(INTERFACE);
    if let Some(header) = request.headers().get(AUTHORIZATION)
        && let Ok(header) = header.to_str()
    {
        credentials = credentials.with_authorization(header);
    }
    match request.extensions().get::<Peer>() {
        Some(peer) => credentials.with_peer(peer.clone()),
        None => credentials,
    }
}

fn detail(headers: &HeaderMap) -> Detail {
    Detail::of(&MetadataMap::from_headers(headers.clone()))
}
