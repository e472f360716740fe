//! The style sheet, the script and the icon. Their addresses change with their content, so that
//! browsers can cache them.

use crate::context::SharedContext;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

/// A file of the dashboard.
pub(super) struct Asset {
    pub(super) url: String,
    media: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, media: &'static str, content: &'static str) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self {
            url: format!("/assets/{name}?v={:016x}", hasher.finish()),
            media,
            content,
        }
    }

    fn response(&self) -> Response {
        let mut response = self.content.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media));
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(CACHE_CONTROL, forever);
        response
    }
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("../../assets/style.css");
    Asset::new("style.css", "text/css; charset=utf-8", content)
});

pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("../../assets/app.js");
    Asset::new("app.js", "text/javascript; charset=utf-8", content)
});

static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("../../assets/icon.svg");
    Asset::new("icon.svg", "image/svg+xml", content)
});

pub(super) fn routes() -> Router<SharedContext> {
    Router::new()
        .route("/assets/style.css", get(async || STYLE.response()))
        .route("/assets/app.js", get(async || SCRIPT.response()))
        .route("/assets/icon.svg", get(async || ICON.response()))
        .route("/favicon.ico", get(async || ICON.response()))
}
