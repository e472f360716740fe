//! Deletes and approves by selection, with a dry run that counts the matches.

use super::{PathKind, plural};
use crate::context::ApiCaller;
use crate::problem::{HttpResult, ProblemResponse};
use crate::query::ApiQuery;
use axum::Json;
use axum::response::IntoResponse;
use http::StatusCode;
use serde_json::{Value, json};
use tko_core::{Bulk, DataApi, Kind, List, Result, Select, Want};

/// Maximum number of entities that a dry run counts.
const MAX_COUNT: u64 = 10_000_000;

/// Maximum number of ids that a dry run shows.
const SHOWN: usize = 10;

/// Deletes the entities that the filters select. Without a filter, `all=true` is required.
pub(super) async fn purge(
    PathKind(kind): PathKind,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
) -> HttpResult {
    let (select, dry_run) = selected(query, kind, "deletes")?;
    if dry_run {
        return preview(&*api, select).await;
    }
    Ok(done(&api.purge(&select).await?))
}

/// Approves the prepared deployments that the filters select. Without a filter, `all=true` is
/// required.
pub(super) async fn approve(ApiCaller { api, .. }: ApiCaller, query: ApiQuery) -> HttpResult {
    let (select, dry_run) = selected(query, Kind::Deployment, "approves")?;
    if dry_run {
        return preview(&*api, awaiting_approval(select)).await;
    }
    Ok(done(&api.approve(&select).await?))
}

/// Reads the filters of a bulk operation, and whether it is a dry run.
fn selected(
    query: ApiQuery,
    kind: Kind,
    verb: &str,
) -> std::result::Result<(Select, bool), ProblemResponse> {
    let mut query = query.without_empty()?;
    let select = query.select(kind)?;
    let dry_run = query.boolean("dryRun")?.unwrap_or(false);
    let all = query.boolean("all")?.unwrap_or(false);
    query.end()?;
    if !dry_run && !all && !select.has_filter() {
        let detail = format!(
            "without a filter this {verb} all {}; add a filter, or all=true",
            plural(kind)
        );
        return Err(ProblemResponse::bad(detail));
    }
    Ok((select, dry_run))
}

/// The part of a selection that an approval would change.
pub(crate) fn awaiting_approval(select: Select) -> Select {
    select.prepared(true).approved(false)
}

fn done(bulk: &Bulk) -> axum::response::Response {
    let skipped: Vec<Value> = bulk
        .skipped
        .iter()
        .map(|(key, reason)| json!({"id": key.id(), "reason": reason}))
        .collect();
    (
        StatusCode::OK,
        Json(json!({"done": bulk.done, "skipped": skipped})),
    )
        .into_response()
}

/// The entities that a bulk operation would change.
pub(crate) struct Preview {
    pub(crate) count: u64,
    /// Whether there are more than could be counted.
    pub(crate) more: bool,
    pub(crate) first: Vec<String>,
}

impl Preview {
    /// Counts a selection and reads its first ids.
    pub(crate) async fn of(api: &dyn DataApi, select: &Select) -> Result<Self> {
        let count = api.count(select, MAX_COUNT, Want::ROW).await?;
        let page = api.list(&List::new(select.clone()).limit(SHOWN)).await?;
        let first = page
            .items
            .iter()
            .map(|record| record.entity.key.id().to_owned());
        Ok(Self {
            count: count.found,
            more: count.more,
            first: first.collect(),
        })
    }
}

async fn preview(api: &dyn DataApi, select: Select) -> HttpResult {
    let preview = Preview::of(api, &select).await?;
    Ok(Json(json!({
        "dryRun": true,
        "count": preview.count,
        "more": preview.more,
        "first": preview.first,
    }))
    .into_response())
}
