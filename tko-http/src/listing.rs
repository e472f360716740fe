//! Streams of records: whole listings, page by page, without collecting them.

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

/// Streams values as they are read.
///
/// An error of the first value becomes a problem. A later one breaks the connection, so that no
/// client mistakes a part for the whole.
pub(crate) async fn streamed(
    values: impl Stream<Item = Result<Value>> + Send + 'static,
    framing: Framing,
) -> Result<Response, ProblemResponse> {
    let mut values: Pin<Box<dyn Stream<Item = Result<Value>> + Send>> = Box::pin(values);
    let first = values.next().await.transpose()?;
    let chunks = stream::iter(first.map(Ok)).chain(values).ready_chunks(256);
    let mut is_first = true;
    let body = chunks.map(move |chunk| -> Result<Bytes> {
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
