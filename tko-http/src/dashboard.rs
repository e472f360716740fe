//! The web dashboard.
use crate::context::SharedContext;
use axum::Router;
use axum::response::{IntoResponse, Response};

pub(crate) fn routes() -> Router<SharedContext> {
    Router::new()
}
pub(crate) fn public_routes() -> Router<SharedContext> {
    Router::new()
}
pub(crate) fn missing_page() -> Response {
    http::StatusCode::NOT_FOUND.into_response()
}

/// Percent-encodes a text as one path segment or query value.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                encoded.push(digit.to_ascii_uppercase());
            }
        }
    }
    encoded
}
