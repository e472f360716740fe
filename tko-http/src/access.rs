//! Admission of requests: who makes them, and how many at once.

use crate::INTERFACE;
use crate::context::SharedContext;
use crate::problem::{HttpResult, ProblemResponse};
use crate::security::cookie;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use tko_core::{Caller, Error, Result};
use tko_serve::{Credentials, Peer, RequestBytes};

/// The cookie that holds the token of a signed-in browser.
pub(crate) const TOKEN_COOKIE: &str = "tko-token";

/// Authenticates each request, and inserts its [`Caller`] into the extensions. A browser that asks
/// for a page without credentials is sent to the sign-in page. Requests beyond the limits are
/// refused.
pub(crate) async fn admit(
    State(context): State<SharedContext>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>();
    if let Err(problem) = limit_refusals(peer) {
        return problem.into_response();
    }
    match authenticate(&context, request.headers(), peer).await {
        Ok(caller) => {
            // Taken after the authentication: requests with wrong credentials wait there, and must
            // not use up the permits of callers.
            let Ok(_permit) = context.requests.try_acquire() else {
                return busy("the server works on too many requests; retry later").into_response();
            };
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(Error::Unauthenticated(_)) if is_page(&request) => {
            let path = request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str());
            let next = crate::query::encoded(path);
            Redirect::to(&format!("/sign-in?next={next}")).into_response()
        }
        Err(error) => ProblemResponse::from(error).into_response(),
    }
}

/// Refuses a request if too many requests of its connection were refused and wait for their answer.
///
/// Call this immediately before [`authenticate`]: an answer without a delay must not tell whether
/// the credentials are valid, and nothing else may wait in between.
pub(crate) fn limit_refusals(peer: Option<&Peer>) -> HttpResult<()> {
    if peer.is_some_and(Peer::has_too_many_refusals) {
        return Err(busy(
            "this connection has too many refused requests; retry later",
        ));
    }
    Ok(())
}

/// The caller with these credentials: a bearer token, the cookie, or a client certificate.
pub(crate) async fn authenticate(
    context: &SharedContext,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Caller> {
    let mut credentials = Credentials::new(INTERFACE);
    if let Some(header) = headers.get(AUTHORIZATION) {
        if let Ok(header) = header.to_str() {
            credentials = credentials.with_authorization(header);
        }
    } else if let Some(token) = cookie(headers, TOKEN_COOKIE) {
        credentials = credentials.with_bearer(token);
    }
    if let Some(peer) = peer {
        credentials = credentials.with_peer(peer.clone());
    }
    tko_serve::authenticate(&*context.authentication, &credentials).await
}

/// Whether a browser asks for a page.
fn is_page(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::GET
        && !path.starts_with("/api/")
        && crate::media::accepts(request.headers(), "text/html")
}

/// Limits the requests that need no credentials and can wait: for their body, or for the delay
/// after wrong credentials. They have permits of their own, so that they do not keep callers out.
pub(crate) async fn limit_unauthenticated(
    State(context): State<SharedContext>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        // Pages and files without credentials are answered at once.
        return next.run(request).await;
    }
    let Ok(_permit) = context.unauthenticated.try_acquire() else {
        return busy("too many others are signing in; retry later").into_response();
    };
    next.run(request).await
}

/// Ends requests whose response takes too long to begin. Until then, the bytes of bodies count
/// against the connection's budget.
pub(crate) async fn limit(
    State(context): State<SharedContext>,
    request: Request,
    next: Next,
) -> Response {
    let (bytes, mut request) = RequestBytes::of(request);
    request.extensions_mut().insert(bytes.clone());
    let responding = next.run(request.map(axum::body::Body::new));
    let responding = tokio::time::timeout(context.settings.timeout, responding);
    let response = responding.await.unwrap_or_else(|_| {
        busy("the request took too long; ask for less, or retry later").into_response()
    });
    drop(bytes);
    response
}

pub(crate) fn busy(detail: &str) -> ProblemResponse {
    ProblemResponse::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}
