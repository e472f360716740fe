//! Counts of all entities.

use crate::context::{ApiCaller, SharedContext};
use crate::problem::{HttpResult, ProblemResponse};
use crate::query::ApiQuery;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use tko_core::{Kind, List, Select};

/// Maximum number of reasons that a summary lists.
const REASONS: usize = 10;

/// Counts by state; with `by=template` or `by=site.KEY`, also per group.
pub(super) async fn summary(
    State(context): State<SharedContext>,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let by = query.text("by")?;
    query.end()?;
    // A caller who may list all deployments may know how many there are.
    caller.require_all()?;
    let first = List::new(Select::all(Kind::Deployment)).limit(1);
    caller.api.list(&first).await?;
    let tally = context.feeds.tally();
    let groups = match by.as_deref() {
        None => None,
        Some("template") => Some(
            tally
                .templates()
                .into_iter()
                .map(|(id, counts)| (id.to_string(), counts))
                .collect::<Vec<_>>(),
        ),
        Some(by) => match by.strip_prefix("site.").filter(|key| !key.is_empty()) {
            Some(key) => Some(tally.by_site_metadata(key).into_iter().collect()),
            None => {
                return Err(ProblemResponse::bad(format!(
                    "by: unknown {by:?}; expected template, or site.KEY with a key of metadata"
                )));
            }
        },
    };
    let reasons = tally.reasons(REASONS).into_iter().map(|(message, counted)| {
        json!({"message": &*message, "count": counted.count, "failing": counted.is_fault})
    });
    let mut answer = json!({
        "revision": tally.revision().map(|revision| revision.0),
        "complete": tally.revision().is_some(),
        "templates": tally.total(Kind::Template),
        "sites": tally.total(Kind::Site),
        "plugins": tally.total(Kind::Plugin),
        "deployments": tally.states().to_value(),
        "reasons": reasons.collect::<Vec<_>>(),
    });
    drop(tally);
    if let (Some(groups), Some(map)) = (groups, answer.as_object_mut()) {
        let most = context.settings.max_groups;
        map.insert("more".into(), (groups.len() > most).into());
        let groups: Map<String, Value> = groups
            .into_iter()
            .take(most)
            .map(|(name, counts)| (name, counts.to_value()))
            .collect();
        map.insert("by".into(), groups.into());
    }
    Ok(Json(answer).into_response())
}
