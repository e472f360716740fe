//! The documents of OpenAPI 2 and 3.

mod build;

use crate::reply::{self, Reply, tagged};
use crate::request::ApiRequest;
use axum::body::Body;
use build::{Flavor, document};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tko_core::ContentHash;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The path of the document of OpenAPI 3.
const V3_PATH: &str = "/openapi/v3/apis/tko.nephio.org/v1alpha1";

/// Both documents, encoded once.
pub(crate) struct Documents {
    v2: OpenApiDocument,
    v3: OpenApiDocument,
}

struct OpenApiDocument {
    bytes: Bytes,
    hash: String,
}

impl OpenApiDocument {
    fn new(value: &Value) -> Self {
        Self {
            bytes: serde_json::to_vec(value).unwrap_or_default().into(),
            hash: ContentHash::of(value).to_string()[..32].to_uppercase(),
        }
    }

    fn reply(&self, request: &ApiRequest) -> Reply {
        let tag = format!("\"{}\"", self.hash);
        tagged(request, &tag, |status| {
            reply::bytes(status, JSON, self.bytes.clone())
        })
    }
}

impl Documents {
    pub(crate) fn new() -> Self {
        Self {
            v2: OpenApiDocument::new(&document(Flavor::V2)),
            v3: OpenApiDocument::new(&document(Flavor::V3)),
        }
    }

    /// The document of OpenAPI 2.
    pub(crate) fn v2(&self, request: &ApiRequest) -> Reply {
        self.v2.reply(request)
    }

    /// The paths of the documents of OpenAPI 3: one document for the group.
    pub(crate) fn v3_index(&self) -> Reply {
        let url = self.v3_url();
        let paths = json!({"apis/tko.nephio.org/v1alpha1": {"serverRelativeURL": url}});
        reply::json(StatusCode::OK, &json!({"paths": paths}))
    }

    /// The document of OpenAPI 3. With the right hash it can be cached for ever; with another hash,
    /// the client is redirected to the right one.
    pub(crate) fn v3(&self, request: &ApiRequest) -> Reply {
        let hash = request.query.get("hash");
        if hash.is_some_and(|hash| hash != self.v3.hash) {
            let mut moved = Response::new(Body::empty());
            *moved.status_mut() = StatusCode::MOVED_PERMANENTLY;
            if let Ok(url) = HeaderValue::from_str(&self.v3_url()) {
                moved.headers_mut().insert(LOCATION, url);
            }
            return moved;
        }
        let mut reply = self.v3.reply(request);
        if hash.is_some() {
            let for_ever = HeaderValue::from_static("public, immutable, max-age=31536000");
            reply.headers_mut().insert(CACHE_CONTROL, for_ever);
        }
        reply
    }

    fn v3_url(&self) -> String {
        format!("{V3_PATH}?hash={}", self.v3.hash)
    }
}
