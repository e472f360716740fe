//! Retries work that waits for its next attempt.

use super::PathKey;
use crate::context::ApiCaller;
use crate::media;
use crate::problem::HttpResult;
use crate::query::ApiQuery;
use axum::Json;
use axum::response::IntoResponse;
use http::HeaderMap;
use serde_json::json;

/// Makes the waiting work of an entity due at once, and answers with the number of pieces of work.
pub(super) async fn retry(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    headers: HeaderMap,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    media::without_precondition(&headers, "retry work")?;
    let count = api.retry(&key).await?;
    Ok(Json(json!({"count": count})).into_response())
}
