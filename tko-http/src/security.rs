//! Protection of browsers: response headers, the same-origin check, and the check of the host.

use crate::context::SharedContext;
use crate::problem::ProblemResponse;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    COOKIE, HOST, HeaderValue, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::net::IpAddr;

/// The content security policy: everything comes from the server itself, nothing is inline, and no
/// page can be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Adds the headers that every response has.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
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
    if let Err(refused) = check_host(&context, headers).and_then(|()| {
        let is_read = request.method().is_safe();
        if is_read {
            Ok(())
        } else {
            check_origin(headers)
        }
    }) {
        return refused.into_response();
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

/// A page of another site, or a page whose host name was rebound to this address, may not write.
fn check_origin(headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let refused = || {
        ProblemResponse::new(
            StatusCode::FORBIDDEN,
            "cross-origin",
            "a page of another origin may not change anything here; name its origin in the \
             server's settings to allow it",
        )
    };
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return match site.as_bytes() {
            b"same-origin" | b"none" => Ok(()),
            _ => Err(refused()),
        };
    }
    let Some(origin) = headers.get(ORIGIN) else {
        // Not a browser: browsers send one of the two with every request that can change anything.
        return Ok(());
    };
    let origin = origin.to_str().map_err(|_| refused())?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    if of_origin.is_some() && of_origin == host {
        Ok(())
    } else {
        Err(refused())
    }
}

/// A server that admits every caller trusts only loopback. A web page can reach it there under its
/// own host name (DNS rebinding), so only addresses and `localhost` are accepted as the host.
fn check_host(context: &SharedContext, headers: &HeaderMap) -> Result<(), ProblemResponse> {
    if context.insecure || !context.authentication.admits_anyone() {
        return Ok(());
    }
    let Some(host) = headers.get(HOST) else {
        return Ok(());
    };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    let is_local = name == "localhost" || name.ends_with(".localhost");
    if is_local || name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(ProblemResponse::new(
        StatusCode::MISDIRECTED_REQUEST,
        "misdirected",
        format!(
            "this server is for its own machine and does not answer to the host {host:?}; use \
             localhost, or configure TLS and authentication"
        ),
    ))
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
    use super::{check_origin, cookie};
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
    fn only_this_origin_and_programs_may_write() {
        let host = ("host", "localhost:50051");
        for (more, allowed) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("origin", "http://localhost:50051")], true),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "null")], false),
            (
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://localhost:50051"),
                ],
                false,
            ),
        ] {
            let headers = headers(&[&[host], &more[..]].concat());
            assert_eq!(check_origin(&headers).is_ok(), allowed, "{more:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=1; tko-token=secret; b=2")]);
        assert_eq!(cookie(&headers, "tko-token"), Some("secret"));
        assert_eq!(cookie(&headers, "token"), None);
    }
}
