//! Admission of requests: who makes them, and how many at once.

use crate::DOOR;
use crate::context::SharedContext;
use crate::problem::ProblemResponse;
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
/// for a page without credentials is sent to the sign-in page.
pub(crate) async fn admit(
    State(context): State<SharedContext>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticate(&context, request.headers(), request.extensions().get()).await {
        Ok(caller) => {
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

/// The caller with these credentials: a bearer token, the cookie, or a client certificate.
pub(crate) async fn authenticate(
    context: &SharedContext,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Caller> {
    let mut credentials = Credentials::new(DOOR);
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

/// Refuses requests beyond the limit, and ends those whose response takes too long to begin. Until
/// then, the bytes of bodies count against the connection's budget.
pub(crate) async fn limit(
    State(context): State<SharedContext>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_permit) = context.requests.clone().try_acquire_owned() else {
        return busy("the server works on too many requests; retry later").into_response();
    };
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
