//! `/api/v1`: the whole API, for people who write scripts.
//!
//! | file | contents |
//! |---|---|
//! | `entity` | list, get, put, delete, history |
//! | `deployment` | create, batch, approve, update a package, modifications |
//! | `difference` | what an edit changes |
//! | `retry` | retry waiting work at once |
//! | `selection` | purge and approve by selection, with a dry run |
//! | `watch` | server-sent events |
//! | `summary` | counts |
//!
//! [`crate::openapi`] describes the paths, parameters and answers.

pub(crate) mod deployment;
mod difference;
pub(crate) mod entity;
mod retry;
mod selection;
mod summary;
pub(crate) mod watch;

pub(crate) use difference::comparison_weight;
pub(crate) use selection::{Preview, awaiting_approval};

use crate::context::{ApiCaller, SharedContext};
use crate::problem::{HttpResult, ProblemResponse};
use axum::extract::{FromRequestParts, Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tko_core::{Error, Key, Kind};
use tko_serve::BudgetExhausted;

pub(crate) fn routes() -> Router<SharedContext> {
    let mut routes = Router::new()
        .route("/api/v1/about", get(about))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/summary", get(summary::summary))
        .route("/api/v1/watch", get(watch::watch))
        .route("/api/v1/deployments:approve", post(selection::approve))
        .route(
            "/api/v1/deployments/{id}/approve",
            post(deployment::approve),
        )
        .route(
            "/api/v1/deployments/{id}/difference",
            get(difference::difference),
        )
        .route(
            "/api/v1/deployments/{id}/modification",
            post(deployment::start_modification),
        )
        .route(
            "/api/v1/modifications/{token}",
            put(deployment::end_modification).delete(deployment::cancel_modification),
        );
    for collection in COLLECTIONS {
        let purge = format!("/api/v1/{}:purge", collection.name);
        routes = routes.route(&purge, post(selection::purge));
    }
    routes
        .route(
            "/api/v1/deployments",
            get(entity::list).post(deployment::create),
        )
        .route("/api/v1/{collection}", get(entity::list))
        .route(
            "/api/v1/{collection}/{id}",
            get(entity::get).put(entity::put).delete(entity::delete),
        )
        .route(
            "/api/v1/{collection}/{id}/package",
            get(entity::package).put(entity::put_package),
        )
        .route("/api/v1/{collection}/{id}/history", get(entity::history))
        .route("/api/v1/{collection}/{id}/retry", post(retry::retry))
}

/// The entities of one kind, as they are named in paths.
pub(crate) struct CollectionName {
    /// The plural, in paths.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

pub(crate) const COLLECTIONS: [CollectionName; 4] = [
    CollectionName {
        name: "templates",
        kind: Kind::Template,
    },
    CollectionName {
        name: "sites",
        kind: Kind::Site,
    },
    CollectionName {
        name: "deployments",
        kind: Kind::Deployment,
    },
    CollectionName {
        name: "plugins",
        kind: Kind::Plugin,
    },
];

/// The kind that a path names in the plural.
pub(crate) fn collection(name: &str) -> Result<Kind, ProblemResponse> {
    let found = COLLECTIONS
        .iter()
        .find(|collection| collection.name == name);
    found.map(|collection| collection.kind).ok_or_else(|| {
        ProblemResponse::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!(
                "unknown collection {name:?}; expected templates, sites, deployments or plugins"
            ),
        )
    })
}

/// The name of a kind in paths.
pub(crate) fn plural(kind: Kind) -> &'static str {
    let found = COLLECTIONS
        .iter()
        .find(|collection| collection.kind == kind);
    found.map_or("", |collection| collection.name)
}

/// The kind in the path of a request: the first segment, or the one after `/api/v1/`, up to a
/// colon.
pub(crate) struct PathKind(pub(crate) Kind);

impl<S: Sync> FromRequestParts<S> for PathKind {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        let path = parts.uri.path();
        let path = path
            .strip_prefix("/api/v1/")
            .unwrap_or(path.trim_start_matches('/'));
        let segment = path.split('/').next().unwrap_or_default();
        let name = segment.split(':').next().unwrap_or_default();
        collection(name).map(Self)
    }
}

/// The entity in the path of a request.
pub(crate) struct PathKey(pub(crate) Key);

impl<S: Send + Sync> FromRequestParts<S> for PathKey {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProblemResponse> {
        let PathKind(kind) = PathKind::from_request_parts(parts, state).await?;
        let Path(values) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| ProblemResponse::bad(error.body_text()))?;
        let id = values.iter().find(|(name, _)| name == "id");
        let id = id.map(|(_, id)| id.as_str()).unwrap_or_default();
        Ok(Self(Key::new(kind, id)?))
    }
}

/// Reads the body of a request, up to the server's limit.
pub(crate) async fn body(
    context: &SharedContext,
    body: axum::body::Body,
) -> Result<Bytes, ProblemResponse> {
    body_within(context.settings.max_body, body).await
}

/// Reads the body of a request, up to this number of bytes.
pub(crate) async fn body_within(
    most: usize,
    body: axum::body::Body,
) -> Result<Bytes, ProblemResponse> {
    axum::body::to_bytes(body, most).await.map_err(|error| {
        tracing::debug!(%error, "cannot read the body of a request");
        if BudgetExhausted::caused(&error) {
            return crate::access::busy(&BudgetExhausted.to_string());
        }
        ProblemResponse::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body is larger than {most} bytes, or was cut off"),
        )
    })
}

/// Parses a body of JSON.
pub(crate) fn json_body<T: serde::de::DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, ProblemResponse> {
    let media = crate::media::content_type(headers);
    if media != "application/json" {
        return Err(ProblemResponse::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            format!("expected application/json, got {media:?}"),
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| Error::bad("body", format!("malformed JSON: {error}")).into())
}

async fn about(
    State(context): State<SharedContext>,
    ApiCaller { api, caller }: ApiCaller,
) -> HttpResult {
    let about = api.about().await?;
    let position = api.feed_position().await?;
    let addresses = context.addresses.iter().map(ToString::to_string);
    Ok(Json(json!({
        "instanceName": context.settings.name,
        "instanceDescription": context.settings.description,
        "tkoVersion": env!("CARGO_PKG_VERSION"),
        "backend": about.backend,
        "addressPorts": addresses.collect::<Vec<_>>(),
        "insecure": context.reports_insecure(),
        "revision": position.revision.0,
        "caller": {"name": caller.name(), "roles": caller.roles().collect::<Vec<_>>()},
    }))
    .into_response())
}

async fn openapi() -> HttpResult {
    Ok(Json(crate::openapi::document()).into_response())
}
