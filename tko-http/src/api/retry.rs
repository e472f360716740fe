//! Retries work that waits for its next attempt.

use super::PathKey;
use crate::context::ApiCaller;
use crate::problem::HttpResult;
use crate::query::ApiQuery;
use axum::Json;
use axum::response::IntoResponse;
use serde_json::json;

/// Makes the waiting work of an entity due at once, and answers with the number of pieces of work.
pub(super) async fn retry(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    let count = api.retry(&key).await?;
    Ok(Json(json!({"count": count})).into_response())
}
