//! The eight endpoints of the original, whose pages and scripts keep working.

use crate::context::{ApiCaller, SharedContext};
use crate::listing::{Framing, records, streamed};
use crate::media;
use crate::problem::{HttpResult, ProblemResponse};
use crate::query::ApiQuery;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::StreamExt;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tko_core::{
    DataApi, DeploymentId, Entity, Error, Format, Key, Kind, List, Record, Result, Select, SiteId,
    TemplateId, Timestamp, Want, view,
};

/// Maximum number of templates and sites whose deployments are looked up at the same time.
const LOOKUPS: usize = 8;

pub(crate) fn routes() -> Router<SharedContext> {
    Router::new()
        .route("/api/about", get(about))
        .route("/api/{kind}/list", get(list))
        .route("/api/{kind}", get(package))
}

async fn about(
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
) -> HttpResult {
    let about = api.about().await?;
    let addresses = context.addresses.iter().map(ToString::to_string);
    Ok(Json(json!({
        "instanceName": context.settings.name,
        "instanceDescription": context.settings.description,
        "tkoVersion": env!("CARGO_PKG_VERSION"),
        "backend": about.backend,
        "http": {"addressPorts": addresses.collect::<Vec<_>>()},
    }))
    .into_response())
}

/// The kind that a path names; other paths do not exist.
fn kind(text: &str) -> HttpResult<Kind> {
    text.parse().map_err(|_| {
        ProblemResponse::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("unknown kind {text:?}; expected template, site, deployment or plugin"),
        )
    })
}

/// Lists all entities, or `count` of them after `offset`. Without a positive `count`, there is no
/// limit.
async fn list(
    Path(name): Path<String>,
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let kind = kind(&name)?;
    let offset = query.number::<usize>("offset")?.unwrap_or(0);
    let count = query.parsed::<i128>("count", "a number")?.unwrap_or(0);
    // As in a window of the gRPC API, only a positive count is a limit.
    let count = match usize::try_from(count) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(count) => count,
    };
    query.end()?;
    let most = context.settings.max_deployment_ids;
    let found = records(api.clone(), List::new(Select::all(kind)))
        .skip(offset)
        .take(count);
    let rows = found
        .map(move |record| row(api.clone(), record, most))
        .buffered(LOOKUPS);
    streamed(&context.streamed_lists, rows, Framing::Array).await
}

async fn row(api: Arc<dyn DataApi>, record: Result<Record>, most: usize) -> Result<Value> {
    let record = record?;
    let ids = deployment_ids(api, &record.entity.key, most).await?;
    Ok(shown(&record.entity, &ids))
}

async fn deployment_ids(api: Arc<dyn DataApi>, of: &Key, most: usize) -> Result<Vec<String>> {
    let Some(select) = view::deployments_of(of).filter(|_| most > 0) else {
        return Ok(Vec::new());
    };
    let mut ids = Vec::new();
    let mut found = std::pin::pin!(records(api, List::new(select).limit(most)).take(most));
    while let Some(record) = found.next().await {
        ids.push(record?.entity.key.id().to_owned());
    }
    Ok(ids)
}

fn milliseconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000)
}

fn shown(entity: &Entity, deployments: &[String]) -> Value {
    let metadata: Map<String, Value> = entity
        .metadata
        .iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let template = entity.template().map_or("", TemplateId::as_str);
    let updated = milliseconds(entity.updated);
    match &entity.key {
        Key::Template(id) => json!({
            "id": id.as_str(),
            "deployments": deployments,
            "metadata": metadata,
            "updatedTimestamp": updated,
        }),
        Key::Site(id) => json!({
            "id": id.as_str(),
            "template": template,
            "deployments": deployments,
            "metadata": metadata,
            "updatedTimestamp": updated,
        }),
        Key::Deployment(id) => {
            let facts = entity.deployment();
            json!({
                "id": id.as_str(),
                "template": template,
                "parent": facts.and_then(|d| d.parent.as_ref()).map_or("", DeploymentId::as_str),
                "site": facts.and_then(|d| d.site.as_ref()).map_or("", SiteId::as_str),
                "metadata": metadata,
                "createdTimestamp": milliseconds(entity.created),
                "updatedTimestamp": updated,
                "prepared": facts.is_some_and(|d| d.prepared),
                "approved": facts.is_some_and(|d| d.approved),
            })
        }
        Key::Plugin(id) => {
            let facts = entity.plugin().cloned().unwrap_or_default();
            let triggers = facts
                .triggers
                .iter()
                .map(|gvk| format!("{},{}", gvk.api_version(), gvk.kind));
            json!({
                "id": id.as_str(),
                "type": id.plugin_type().as_str(),
                "name": id.name(),
                "executor": facts.executor,
                "arguments": facts.arguments,
                "properties": facts.properties,
                "triggers": triggers.collect::<Vec<_>>(),
            })
        }
    }
}

/// The package of one template, site or deployment, as YAML.
async fn package(
    Path(name): Path<String>,
    ApiCaller { api, .. }: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let kind = kind(&name)?;
    if kind == Kind::Plugin {
        return Err(Error::bad("path", "a plugin has no package; list plugins instead").into());
    }
    let id = query
        .text("id")?
        .ok_or_else(|| Error::bad("id", "is missing; give ?id="))?;
    query.end()?;
    let record = api.get(&Key::new(kind, &id)?, Want::PACKAGE).await?;
    let response: Response =
        media::package_response(&record.package.unwrap_or_default(), Format::Yaml);
    Ok(response)
}
