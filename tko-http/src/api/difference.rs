//! The difference of a deployment's package from an earlier one, for the person who approves it.

use super::PathKey;
use super::deployment::deployment_id;
use crate::context::{ApiCaller, SharedContext};
use crate::problem::HttpResult;
use crate::query::ApiQuery;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::time::Instant;
use tko_core::api::{DeploymentComparison, EarlierState, compare_deployment};
use tko_core::diff::DiffDeadline;
use tko_core::{Package, Record, Revision, view};

/// Compares the package with the one that the site keeps, with the one before the last change, or
/// with the one at a revision.
pub(super) async fn difference(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let revision = query.number::<u64>("revision")?.map(Revision);
    query.end()?;
    let id = deployment_id(key)?;
    let comparison = compare_deployment(&*api, &id, revision).await?;
    let respond = || Json(shown(&comparison)).into_response();
    let weight = comparison_weight(&comparison);
    Ok(context.heavy_work.run(weight, respond).await)
}

/// The weight of a comparison for [`HeavyWork::run`](tko_serve::HeavyWork::run), in bytes.
pub(crate) fn comparison_weight(comparison: &DeploymentComparison) -> usize {
    /// The time grows with the square of the size, so a small package can be heavy.
    const FACTOR: usize = 16;
    let size = |record: &Record| record.package.as_ref().map_or(0, Package::size);
    let before = comparison.before.record().map_or(0, size);
    (before + size(&comparison.after)).saturating_mul(FACTOR)
}

fn shown(comparison: &DeploymentComparison) -> Value {
    let deadline = DiffDeadline::new(Instant::now(), DiffDeadline::SEARCH);
    let differences = comparison.differences();
    let items = differences.iter().map(|difference| {
        // A caller that needs the values reads the packages.
        let difference = difference.without_secret_values();
        json!({
            "resource": view::reference(difference.identifier()),
            "change": difference.as_str(),
            "diff": difference.unified(deadline),
        })
    });
    let after = &comparison.after.entity;
    let facts = after.deployment();
    let site = match &comparison.before {
        EarlierState::Kept { site, .. } => Some(site),
        _ => facts.and_then(|facts| facts.site.as_ref()),
    };
    json!({
        "deploymentId": after.key.id(),
        "siteId": site.map_or("", |site| site.as_str()),
        "before": before(comparison),
        "after": {
            "generation": after.generation.0,
            "revision": comparison.after.revision.map(|revision| revision.0),
            "approved": facts.is_some_and(|facts| facts.approved),
        },
        "items": items.collect::<Vec<_>>(),
        "reordered": comparison.is_reordered(),
    })
}

/// The earlier state.
fn before(comparison: &DeploymentComparison) -> Value {
    let (state, revision) = match &comparison.before {
        EarlierState::Kept { .. } => ("kept", None),
        EarlierState::BeforeChange { revision, .. } => ("beforeChange", Some(*revision)),
        EarlierState::At { revision, .. } => ("atRevision", Some(*revision)),
        EarlierState::NeverChanged => ("neverChanged", None),
        EarlierState::Forgotten => ("forgotten", None),
    };
    let record = comparison.before.record();
    json!({
        "state": state,
        "generation": record.map(|record| record.entity.generation.0),
        "revision": revision.map(|revision| revision.0),
    })
}
