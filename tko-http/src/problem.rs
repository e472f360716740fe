//! Errors as RFC 9457 problem details: [`ProblemResponse`].

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use tko_core::{Error, ErrorKind, Violation};

/// The media type of problem details.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// Maximum number of violations that a problem lists. The text says how many there are.
const MAX_VIOLATIONS: usize = 1_000;

/// An error as a response. Every error of the API takes this form.
#[derive(Debug)]
pub(crate) struct ProblemResponse(Box<ProblemParts>);

/// The parts of a problem. Boxed, because results of handlers carry it.
#[derive(Debug)]
struct ProblemParts {
    status: StatusCode,
    headers: HeaderMap,
    body: Map<String, Value>,
}

/// The result of a handler.
pub(crate) type HttpResult<T = Response> = Result<T, ProblemResponse>;

impl ProblemResponse {
    /// A problem of the request itself, before the API is called.
    pub(crate) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:tko:problem:{kind}").into());
        let title = status.canonical_reason().unwrap_or("Error");
        body.insert("title".into(), title.into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("detail".into(), detail.into().into());
        Self(Box::new(ProblemParts {
            status,
            headers: HeaderMap::new(),
            body,
        }))
    }

    /// A bad argument of the request.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-argument", detail)
    }

    /// The status code.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The message for people.
    pub(crate) fn detail(&self) -> &str {
        self.0.body["detail"].as_str().unwrap_or_default()
    }

    /// The problem as JSON.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0.body)
    }

    fn header(mut self, name: http::HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

impl From<Error> for ProblemResponse {
    /// Logs the source of an unavailable or internal error, because the response leaves it out.
    fn from(error: Error) -> Self {
        let (status, kind) = status(&error);
        match error.kind() {
            ErrorKind::Internal => tracing::error!(error = error.chain(), "internal error"),
            ErrorKind::Unavailable => tracing::warn!(error = error.chain(), "unavailable"),
            _ => {}
        }
        let mut problem = Self::new(status, kind, error.to_string());
        match &error {
            Error::BadArgument {
                argument,
                violations,
                ..
            } => {
                problem
                    .0
                    .body
                    .insert("argument".into(), (**argument).into());
                if !violations.is_empty() {
                    let shown = violations.iter().take(MAX_VIOLATIONS).map(violation);
                    problem.0.body.insert("violations".into(), shown.collect());
                }
            }
            Error::Conflict(keys) => {
                let keys = keys
                    .iter()
                    .take(MAX_VIOLATIONS)
                    .map(|key| json!({"kind": key.kind().as_str(), "id": key.id()}));
                problem.0.body.insert("conflicts".into(), keys.collect());
            }
            Error::Expired { oldest } => {
                problem.0.body.insert("oldest".into(), oldest.0.into());
            }
            Error::Unauthenticated(_) => return problem.header(WWW_AUTHENTICATE, "Bearer"),
            Error::Busy(_) | Error::Unavailable { .. } => return problem.header(RETRY_AFTER, "1"),
            _ => {}
        }
        problem
    }
}

/// The status code and the kind of an error.
///
/// A refused package is 422, so that clients can distinguish it from a malformed request.
fn status(error: &Error) -> (StatusCode, &'static str) {
    match error.kind() {
        ErrorKind::BadArgument => match error {
            Error::BadArgument { violations, .. } if !violations.is_empty() => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-package")
            }
            _ => (StatusCode::BAD_REQUEST, "bad-argument"),
        },
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
        ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "already-exists"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
        ErrorKind::Busy => (StatusCode::CONFLICT, "busy"),
        ErrorKind::ClaimExpired => (StatusCode::GONE, "claim-expired"),
        ErrorKind::Expired => (StatusCode::GONE, "expired"),
        ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        ErrorKind::NotImplemented => (StatusCode::NOT_IMPLEMENTED, "not-implemented"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        // Internal, and kinds that a later version adds.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// A violation as JSON: `resource` (`apiVersion`, `kind`, `namespace`, `name`), `path`, `message`.
pub(crate) fn violation(violation: &Violation) -> Value {
    let resource = violation.resource.as_ref().map(|resource| {
        json!({
            "apiVersion": resource.gvk.api_version(),
            "kind": *resource.gvk.kind,
            "namespace": resource.namespace,
            "name": resource.name,
        })
    });
    json!({"resource": resource, "path": violation.path, "message": violation.message})
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let ProblemParts {
            status,
            headers,
            body,
        } = *self.0;
        let mut response = (status, headers, Value::Object(body).to_string()).into_response();
        let kind = HeaderValue::from_static(PROBLEM);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
