//! List, get, put and delete entities of any kind, and their history.

use super::{PathKey, PathKind, body, body_within, json_body};
use crate::context::{ApiCaller, SharedContext};
use crate::listing::{Framing, records, streamed};
use crate::media::{self, NDJSON, Precondition, with_etag};
use crate::problem::{HttpResult, ProblemResponse};
use crate::query::ApiQuery;
use crate::scan;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::TryStreamExt;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::select::MAX_PAGE;
use tko_core::view::{DeploymentState, FilterLine};
use tko_core::{
    ChangeRecord, Cursor, DataApi, DeploymentId, Error, Expect, Gvk, Key, Kind, List, NewPlugin,
    NewSite, NewTemplate, Revision, TemplateId, Version, Want, view,
};

/// Default number of records on a page.
const DEFAULT_LIMIT: usize = 100;

/// Default and maximum number of changes in a history.
const HISTORY: (usize, usize) = (50, 500);

/// Lists a page, or streams everything as lines.
pub(super) async fn list(
    PathKind(kind): PathKind,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    headers: HeaderMap,
    mut query: ApiQuery,
) -> HttpResult {
    let select = query.select(kind)?;
    let state = query.state(kind)?;
    let order = query.text("order")?;
    if let Some(order) = order.filter(|order| order != "id") {
        let message = format!("unknown order {order:?}; lists are in the order of their ids: id");
        return Err(Error::bad("order", message).into());
    }
    let mut want = Want::ROW.with_work();
    want.allow_stale = query.boolean("allow-stale")?.unwrap_or(false);
    let mut list = List::new(select).want(want);
    if media::accepts(&headers, NDJSON) {
        query.end()?;
        let matching =
            move |record: &tko_core::Record| state.is_none_or(|state| state.holds(&record.entity));
        if let Some(state) = state {
            state.narrow(&mut list.select);
        }
        let found = records(caller.api, list)
            .try_filter(move |record| std::future::ready(matching(record)))
            .map_ok(|record| shown(&record));
        return streamed(&context.streamed_lists, found, Framing::Lines).await;
    }
    list.limit = query.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_PAGE).contains(&list.limit) {
        let message = format!("expected a number from 1 to {MAX_PAGE}, got {}", list.limit);
        return Err(Error::bad("limit", message).into());
    }
    let cursor = query.text("cursor")?;
    list.after = cursor
        .map(|id| Key::new(kind, &id).map(Cursor))
        .transpose()?;
    query.end()?;
    let mut filter = FilterLine::all(kind);
    (filter.select, filter.state) = (list.select.clone(), state);
    let page = scan::page(&context, &caller, list, &filter).await?;
    let next = page.next.as_ref().map(|Cursor(key)| key.id());
    Ok(Json(json!({
        "items": page.items.iter().map(shown).collect::<Vec<_>>(),
        "next": next,
        "revision": page.revision.0,
    }))
    .into_response())
}

/// An entity as JSON, without its package; deployments with their state.
pub(crate) fn shown(record: &tko_core::Record) -> Value {
    let mut value = view::detail(record, None);
    if let (Some(state), Some(map)) = (DeploymentState::of(&record.entity), value.as_object_mut()) {
        map.insert("state".into(), state.as_str().into());
    }
    value
}

pub(super) async fn get(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    headers: HeaderMap,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    let want = Want::ROW.with_work().with_revision();
    let record = api.get(&key, want).await?;
    let version = record.entity.version;
    if media::is_unchanged(&headers, version) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), version));
    }
    Ok(with_etag(Json(shown(&record)).into_response(), version))
}

pub(super) async fn package(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    headers: HeaderMap,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    has_package(key.kind())?;
    let format = media::preferred(&headers)?;
    let record = api.get(&key, Want::PACKAGE).await?;
    let tag = media::package_etag(record.entity.version, format);
    let response = if media::has_tag(&headers, &tag) {
        media::unchanged_package()
    } else {
        media::package_response(&record.package.unwrap_or_default(), format)
    };
    Ok(media::with_tag(response, &tag))
}

fn has_package(kind: Kind) -> Result<(), ProblemResponse> {
    if kind == Kind::Plugin {
        let detail = "plugins have no package; get the plugin itself";
        return Err(ProblemResponse::new(
            StatusCode::NOT_FOUND,
            "not-found",
            detail,
        ));
    }
    Ok(())
}

/// Maximum size of the body that describes a plugin, in bytes. A plugin has at most 256 KiB; JSON
/// can escape its texts.
const MAX_PLUGIN_BODY: usize = 1 << 20;

/// The body that describes a plugin.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PluginBody {
    executor: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    triggers: Vec<TriggerBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerBody {
    #[serde(default)]
    group: String,
    version: String,
    kind: String,
}

/// Registers a template, site or plugin.
pub(super) async fn put(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
    headers: HeaderMap,
    content: Body,
) -> HttpResult {
    let mut query = query.without_empty()?;
    let precondition = media::precondition(&headers)?;
    if key.kind() == Kind::Plugin && precondition.is_some() {
        let detail = "plugins are registered without a precondition";
        return Err(ProblemResponse::bad(detail));
    }
    let expect = match precondition {
        None => Expect::Any,
        Some(Precondition::Absent) => Expect::Absent,
        Some(Precondition::At(version)) => Expect::At(version),
        Some(Precondition::OneOf(versions)) => Expect::At(one_of(&*api, &key, &versions).await?),
        Some(Precondition::Exists) => Expect::At(api.get(&key, Want::ROW).await?.entity.version),
    };
    let mut most = context.settings.max_body;
    if key.kind() == Kind::Plugin {
        most = most.min(MAX_PLUGIN_BODY);
    }
    let content = body_within(most, content).await?;
    let version = match key {
        Key::Template(id) => {
            let metadata = query.metadata()?;
            query.end()?;
            let package = media::package(&context, &headers, &content).await?;
            let new = NewTemplate::new(id, package)
                .metadata(metadata)
                .expect(expect);
            api.register_template(new).await
        }
        Key::Site(id) => {
            let metadata = query.metadata()?;
            let template = query.text("template")?;
            query.end()?;
            let template = template.map(|id| TemplateId::new(&id)).transpose()?;
            let package = media::package(&context, &headers, &content).await?;
            let new = NewSite::new(id, package)
                .metadata(metadata)
                .template(template);
            api.register_site(new.expect(expect)).await
        }
        Key::Plugin(id) => {
            query.end()?;
            let plugin: PluginBody = json_body(&headers, &content)?;
            let triggers = plugin.triggers.iter();
            let triggers = triggers.map(|one| Gvk::new(&one.group, &one.version, &one.kind));
            let new = NewPlugin::new(id, plugin.executor)
                .arguments(plugin.arguments)
                .properties(plugin.properties)
                .triggers(triggers.collect());
            api.register_plugin(new).await
        }
        Key::Deployment(_) => {
            return Err(ProblemResponse::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "create a deployment with POST /api/v1/deployments, or replace its package with \
                 PUT /api/v1/deployments/ID/package",
            ));
        }
    };
    Ok(written(refused_precondition(version, expect)?))
}

/// The version that an entity has now, if it is one of these.
async fn one_of(
    api: &dyn DataApi,
    key: &Key,
    versions: &[Version],
) -> Result<Version, ProblemResponse> {
    let found = api.get(key, Want::ROW).await;
    // Any version as the expectation turns a missing entity into a failed precondition.
    let record = refused_precondition(found, Expect::At(Version::default()))?;
    let current = record.entity.version;
    if versions.contains(&current) {
        return Ok(current);
    }
    let detail = format!("{key} has version {current}, which If-Match does not name");
    Err(precondition_failed(detail))
}

fn precondition_failed(detail: String) -> ProblemResponse {
    let kind = "precondition-failed";
    ProblemResponse::new(StatusCode::PRECONDITION_FAILED, kind, detail)
}

/// A precondition in the headers of a request that failed is 412, not 409.
fn refused_precondition<T>(
    result: tko_core::Result<T>,
    expect: Expect,
) -> Result<T, ProblemResponse> {
    result.map_err(|error| match (&error, expect) {
        (Error::Conflict(_) | Error::NotFound(_), Expect::At(_))
        | (Error::AlreadyExists(_), Expect::Absent) => precondition_failed(error.to_string()),
        _ => error.into(),
    })
}

fn written(version: Version) -> axum::response::Response {
    with_etag(Json(json!({"version": version.0})).into_response(), version)
}

/// Replaces the package of a deployment, if it has the version in `If-Match`.
pub(super) async fn put_package(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
    headers: HeaderMap,
    content: Body,
) -> HttpResult {
    query.end()?;
    let Key::Deployment(id) = key else {
        return Err(ProblemResponse::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "register a template or site whole: PUT it without /package",
        ));
    };
    let version = match media::precondition(&headers)? {
        Some(Precondition::At(version)) => version,
        Some(Precondition::OneOf(versions)) => one_of(&*api, &Key::from(&id), &versions).await?,
        Some(Precondition::Exists) => current(&*api, &id).await?,
        _ => {
            return Err(ProblemResponse::new(
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "send If-Match with the entity tag of the package that was read, so that no other \
                 change is lost",
            ));
        }
    };
    let content = body(&context, content).await?;
    let package = media::package(&context, &headers, &content).await?;
    let version =
        refused_precondition(api.update(&id, version, package).await, Expect::At(version))?;
    Ok(written(version))
}

async fn current(api: &dyn DataApi, id: &DeploymentId) -> tko_core::Result<Version> {
    Ok(api.get(&id.into(), Want::ROW).await?.entity.version)
}

/// Deletes an entity, if it has the version in `If-Match`.
pub(super) async fn delete(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    headers: HeaderMap,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    let version = match media::precondition(&headers)? {
        // A deletion requires that the entity exists in any case.
        None | Some(Precondition::Exists) => None,
        Some(Precondition::At(version)) => Some(version),
        Some(Precondition::OneOf(versions)) => Some(one_of(&*api, &key, &versions).await?),
        Some(Precondition::Absent) => {
            let detail = "cannot delete an entity that does not exist; remove If-None-Match";
            return Err(ProblemResponse::bad(detail));
        }
    };
    match version {
        None => api.delete(&key).await?,
        Some(version) => {
            let deleted = api.delete_at(&key, version).await;
            refused_precondition(deleted, Expect::At(version))?;
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The changes of an entity, newest first.
pub(super) async fn history(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let before = query.number::<u64>("before")?.map(Revision);
    let limit = query
        .number("limit")?
        .unwrap_or(HISTORY.0)
        .clamp(1, HISTORY.1);
    let with_package = query.boolean("package")?.unwrap_or(false);
    query.end()?;
    let changes = api.history(&key, before, limit).await?;
    if changes.is_empty() && before.is_none() {
        // Its changes may be older than what is kept; otherwise it never existed.
        api.get(&key, Want::ROW).await?;
    }
    let next = changes.last().filter(|_| changes.len() == limit);
    Ok(Json(json!({
        "items": changes.iter().map(|one| change(one, with_package)).collect::<Vec<_>>(),
        "next": next.map(|change| change.revision.0),
    }))
    .into_response())
}

fn change(change: &ChangeRecord, with_package: bool) -> Value {
    let cause = change.cause.as_ref();
    let mut value = json!({
        "revision": change.revision.0,
        "time": view::rfc3339(change.at),
        "cause": cause.map(tko_core::Cause::verb),
        "caller": cause.and_then(tko_core::Cause::caller),
        "interface": cause.and_then(tko_core::Cause::interface),
        "after": change.after.as_ref().map(shown),
    });
    if with_package && let Some(map) = value.as_object_mut() {
        let package = change
            .after
            .as_ref()
            .and_then(|record| record.package.as_ref());
        map.insert("package".into(), package.map(view::package).into());
    }
    value
}

/// The API of a caller, for handlers that need to keep it.
pub(super) type SharedApi = Arc<dyn DataApi>;
