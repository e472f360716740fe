//! Protection of browsers: response headers, the same-origin check, and the check of the host.

use crate::context::SharedContext;
use crate::problem::ProblemResponse;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    COOKIE, HeaderValue, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use tko_serve::{BrowserRefusal, check_browser};

/// The content security policy: everything comes from the server itself, nothing is inline, and no
/// page can be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Adds the headers that every response has.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers would then send `Origin: null` with forms of our own pages.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Refuses requests that a page of another site made a browser send, and answers CORS preflight
/// requests.
pub(crate) async fn guard(
    State(context): State<SharedContext>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let named = origin
        .filter(|origin| context.settings.origins.iter().any(|one| one == origin))
        .map(str::to_owned);
    if let Some(origin) = named {
        let is_preflight = request.method() == Method::OPTIONS;
        let response = if is_preflight {
            StatusCode::NO_CONTENT.into_response()
        } else {
            next.run(request).await
        };
        return with_cors(response, &origin);
    }
    let is_local = !context.insecure && context.authentication.admits_anyone();
    let checked = check_browser(request.method(), request.uri(), headers, is_local);
    if let Err(refusal) = checked {
        return refused(&refusal).into_response();
    }
    next.run(request).await
}

fn with_cors(mut response: Response, origin: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(origin) = HeaderValue::from_str(origin) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id",
        ),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "etag, location"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
        (VARY, "origin"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    response
}

/// The answer to a request that a page of another site made a browser send.
fn refused(refusal: &BrowserRefusal) -> ProblemResponse {
    let (kind, remedy) = if *refusal == BrowserRefusal::CrossOrigin {
        (
            "cross-origin",
            "; name its origin in the server's settings to allow it",
        )
    } else {
        ("misdirected", "")
    };
    ProblemResponse::new(refusal.status(), kind, format!("{refusal}{remedy}"))
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::cookie;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("a value");
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=1; tko-token=secret; b=2")]);
        assert_eq!(cookie(&headers, "tko-token"), Some("secret"));
        assert_eq!(cookie(&headers, "token"), None);
    }
}
