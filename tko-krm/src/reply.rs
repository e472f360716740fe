//! Responses.

use crate::failure::KrmFailure;
use crate::request::ApiRequest;
use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

/// The response to a request.
pub(crate) type Reply = Response<Body>;

/// Marks the response to a watch in its extensions: compression would delay its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeverCompressed;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Maximum number of bytes of a warning.
const MAX_WARNING: usize = 256;

/// A response in JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Reply {
    // A JSON value can always be written.
    bytes(status, JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// A response of this content type.
pub(crate) fn bytes(status: StatusCode, content: HeaderValue, body: impl Into<Body>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, content);
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    reply
}

/// A response in plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    let content = HeaderValue::from_static("text/plain; charset=utf-8");
    let mut reply = bytes(status, content, text.into());
    reply.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// Adds warnings, which kubectl shows to its user.
pub(crate) fn warn(reply: &mut Reply, warnings: &[String]) {
    for warning in warnings {
        let plain: String = warning
            .chars()
            .map(|c| match c {
                '"' => '\'',
                c if c.is_ascii_graphic() || c == ' ' => c,
                _ => ' ',
            })
            .take(MAX_WARNING)
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{plain}\"")) {
            reply.headers_mut().append("warning", value);
        }
    }
}

/// The response to a failed request.
pub(crate) fn failure(failure: &KrmFailure) -> Reply {
    let status = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = json(status, &failure.to_status());
    if let Some(seconds) = failure.retry_after {
        reply.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    reply
}

/// A response with an entity tag; without a body if the client has it already.
pub(crate) fn tagged(
    request: &ApiRequest,
    tag: &str,
    reply: impl FnOnce(StatusCode) -> Reply,
) -> Reply {
    let known = request
        .header(&IF_NONE_MATCH)
        .is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag));
    let mut reply = if known {
        let mut reply = reply(StatusCode::NOT_MODIFIED);
        *reply.body_mut() = Body::empty();
        reply
    } else {
        reply(StatusCode::OK)
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}
