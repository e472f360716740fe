//! Pages as responses, and errors as pages.

use super::assets::STYLE;
use crate::problem::ProblemResponse;
use askama::Template;
use axum::response::{Html as HtmlResponse, IntoResponse, Redirect, Response};
use http::StatusCode;
use tko_core::Error;

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
        let title = match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::CONFLICT => "In the way",
            StatusCode::GONE => "Too late",
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "Refused",
            _ => "Failed",
        };
        error_page(status, title, self.0.detail())
    }
}

fn error_page(status: StatusCode, title: &str, detail: &str) -> Response {
    let page = ErrorPage {
        title,
        detail,
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
pub(super) fn go_to(path: &str) -> PageResult {
    Ok(Redirect::to(path).into_response())
}
