//! Streams of records: whole listings, page by page, without collecting them.

use crate::access::busy;
use crate::problem::ProblemResponse;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use tko_core::{DataApi, List, Record, Result};
use tokio::sync::Semaphore;

/// The records of a listing.
pub(crate) fn records(
    api: Arc<dyn DataApi>,
    list: List,
) -> impl Stream<Item = Result<Record>> + Send + 'static {
    api.pages(list)
        .map_ok(|page| stream::iter(page.items).map(Ok))
        .try_flatten()
}

/// How a response joins values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON array.
    Array,
    /// One value on each line.
    Lines,
}

/// Streams values as they are read. The body keeps one of the permits, because it holds a page of
/// values for as long as its client takes to read it.
///
/// An error of the first value becomes a problem. A later one breaks the connection, so that no
/// client mistakes a part for the whole.
pub(crate) async fn streamed(
    permits: &Arc<Semaphore>,
    values: impl Stream<Item = Result<Value>> + Send + 'static,
    framing: Framing,
) -> Result<Response, ProblemResponse> {
    let permit = permits.clone().try_acquire_owned().map_err(|_| {
        busy("the server streams too many lists; retry later, or read the list page by page")
    })?;
    let mut values: Pin<Box<dyn Stream<Item = Result<Value>> + Send>> = Box::pin(values);
    let first = values.next().await.transpose()?;
    let chunks = stream::iter(first.map(Ok)).chain(values).ready_chunks(256);
    let mut is_first = true;
    let body = chunks.map(move |chunk| -> Result<Bytes> {
        // The permit lives as long as the body.
        let _ = &permit;
        let mut text = String::new();
        for value in chunk {
            let value = value?;
            match framing {
                Framing::Array => text.push(if is_first { '[' } else { ',' }),
                Framing::Lines => {}
            }
            is_first = false;
            text.push_str(&value.to_string());
            text.push('\n');
        }
        Ok(text.into())
    });
    let (media, body) = match framing {
        Framing::Lines => (crate::media::NDJSON, Body::from_stream(body)),
        Framing::Array => {
            // An empty listing has no chunk that could open the array.
            let mut opened = false;
            let body = body
                .map_ok(Some)
                .chain(stream::iter([Ok(None)]))
                .map_ok(move |chunk| {
                    let bytes = match (chunk, opened) {
                        (Some(bytes), _) => bytes,
                        (None, true) => Bytes::from_static(b"]\n"),
                        (None, false) => Bytes::from_static(b"[]\n"),
                    };
                    opened = true;
                    bytes
                });
            ("application/json", Body::from_stream(body))
        }
    };
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::{Framing, streamed};
    use futures_util::{StreamExt, stream};
    use http::StatusCode;
    use serde_json::json;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_list_keeps_its_permit_until_its_body_is_dropped() {
        let permits = Arc::new(Semaphore::new(1));
        for framing in [Framing::Lines, Framing::Array] {
            let values = || stream::iter([Ok(json!(1))]).chain(stream::pending());
            let first = streamed(&permits, values(), framing).await;
            let first = first.expect("a permit is left");
            let refused = streamed(&permits, values(), framing).await;
            let refused = refused.expect_err("no permit is left");
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            drop(first);
            assert_eq!(permits.available_permits(), 1, "{framing:?}");
        }
    }
}
