//! Pages as responses, and errors as pages.

use super::assets::STYLE;
use super::html::visible;
use crate::problem::{PROBLEM, ProblemResponse};
use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html as HtmlResponse, IntoResponse, Redirect, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tko_core::Error;

/// Maximum number of bytes of a problem that is shown as a page.
const MAX_PROBLEM: usize = 1 << 20;

/// The result of a page's handler.
pub(super) type PageResult = Result<Response, PageError>;

/// An error that is shown as a page.
#[derive(Debug)]
pub(super) struct PageError(ProblemResponse);

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl From<ProblemResponse> for PageError {
    fn from(problem: ProblemResponse) -> Self {
        Self(problem)
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    detail: &'a str,
    style: &'a str,
    back: &'a str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = self.0.status();
        error_page(status, title(status), self.0.detail())
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::CONFLICT => "In the way",
        StatusCode::GONE => "Too late",
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "Refused",
        _ => "Failed",
    }
}

fn error_page(status: StatusCode, title: &str, detail: &str) -> Response {
    let page = ErrorPage {
        title,
        detail: &visible(detail),
        style: &STYLE.url,
        back: "/deployments",
    };
    match page.render() {
        Ok(text) => (status, HtmlResponse(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render the error page");
            status.into_response()
        }
    }
}

/// Shows problems as pages to browsers that navigate.
pub(super) async fn problems_as_pages(request: Request, next: Next) -> Response {
    let is_page = crate::media::accepts(request.headers(), "text/html");
    let response = next.run(request).await;
    let kind = response.headers().get(CONTENT_TYPE);
    if !is_page || kind.is_none_or(|kind| kind != PROBLEM) {
        return response;
    }
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), MAX_PROBLEM).await;
    let problem: Value = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok())
        .unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("The request failed.");
    error_page(status, title(status), detail)
}

/// The page for paths that do not exist.
pub(crate) fn missing_page() -> Response {
    error_page(
        StatusCode::NOT_FOUND,
        "Not found",
        "There is no page at this address.",
    )
}

/// Renders a page.
pub(super) fn rendered(page: &impl Template) -> PageResult {
    let text = page
        .render()
        .map_err(|error| Error::internal("render the page", error))?;
    Ok(HtmlResponse(text).into_response())
}

/// Sends the browser to another page after an action.
#[allow(clippy::unnecessary_wraps)] // Handlers return it as it is.
pub(super) fn go_to(path: &str) -> PageResult {
    Ok(Redirect::to(path).into_response())
}
