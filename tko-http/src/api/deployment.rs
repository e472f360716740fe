//! Create, approve and modify deployments.

use super::entity::SharedApi;
use super::{PathKey, body};
use crate::context::{ApiCaller, SharedContext};
use crate::media::{self, NDJSON};
use crate::problem::{HttpResult, ProblemResponse};
use crate::query::ApiQuery;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tko_core::work::Token;
use tko_core::{
    DeploymentId, Error, Format, Key, NewDeployment, Package, SiteId, TemplateId, view,
};
use tko_serve::RequestBytes;

/// Number of deployments of a batch that one call creates.
const BATCH_CALL: usize = 200;

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 256;

/// Creates a deployment, or a batch of them.
pub(super) async fn create(
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
    headers: HeaderMap,
    Extension(bytes): Extension<RequestBytes>,
    content: Body,
) -> HttpResult {
    let mut query = query.without_empty()?;
    let content = body(&context, content).await?;
    if media::content_type(&headers) == NDJSON {
        query.end()?;
        return batch(&context, api, &content, bytes);
    }
    let mut new = NewDeployment::new()
        .id(query
            .text("id")?
            .map(|id| DeploymentId::new(&id))
            .transpose()?)
        .template(
            query
                .text("template")?
                .map(|id| TemplateId::new(&id))
                .transpose()?,
        )
        .site(query.text("site")?.map(|id| SiteId::new(&id)).transpose()?)
        .parent(
            query
                .text("parent")?
                .map(|id| DeploymentId::new(&id))
                .transpose()?,
        )
        .metadata(query.metadata()?)
        .prepared(query.boolean("prepared")?.unwrap_or(false))
        .approved(query.boolean("approved")?.unwrap_or(false));
    query.end()?;
    if let Some(key) = headers.get("idempotency-key") {
        new = new.idempotency_key(checked_key(key.to_str().unwrap_or_default())?);
    }
    let package = media::package(&context, &headers, &content).await?;
    let package = has_content(new.template.is_some(), package)?;
    let new = new.merge(package);
    let id = api.create_deployment(new).await?;
    let mut response = (
        StatusCode::CREATED,
        Json(json!({"deploymentId": id.as_str()})),
    )
        .into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/deployments/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Checks that a deployment is not created without anything in it.
fn has_content(has_template: bool, package: Package) -> Result<Package, Error> {
    if !has_template && package.is_empty() {
        return Err(Error::bad(
            "template",
            "a deployment needs a template, or a package",
        ));
    }
    Ok(package)
}

fn checked_key(key: &str) -> Result<&str, Error> {
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| (32..127).contains(&byte)) {
        return Err(Error::bad(
            "Idempotency-Key",
            format!("expected 1 to {MAX_KEY} characters of visible ASCII"),
        ));
    }
    Ok(key)
}

/// One line of a batch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchLine {
    #[serde(default)]
    deployment_id: Option<String>,
    #[serde(default)]
    template_id: Option<String>,
    #[serde(default)]
    site_id: Option<String>,
    #[serde(default)]
    parent_deployment_id: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    prepared: bool,
    #[serde(default)]
    approved: bool,
    #[serde(default)]
    idempotency_key: Option<String>,
    #[serde(default)]
    package: Vec<Value>,
}

impl BatchLine {
    fn read(line: &[u8], context: &SharedContext) -> tko_core::Result<NewDeployment> {
        // A list would be read as the fields in their order.
        if !line.trim_ascii().starts_with(b"{") {
            return Err(Error::bad(
                "line",
                "expected a map, such as {\"templateId\": …}",
            ));
        }
        // Decoded within the limits of packages: depth, number of values, duplicate keys.
        tko_core::encoding::decode(
            line,
            Format::Json,
            tko_core::Dialect::Programs,
            &context.settings.limits,
        )
        .map_err(|error| Error::bad("line", error.to_string()))?;
        let line: Self = serde_json::from_slice(line)
            .map_err(|error| Error::bad("line", format!("malformed: {error}")))?;
        let package = Package::from_values(line.package)?;
        let package = has_content(line.template_id.is_some(), package)?;
        let mut new = NewDeployment::new()
            .id(line
                .deployment_id
                .map(|id| DeploymentId::new(&id))
                .transpose()?)
            .template(
                line.template_id
                    .map(|id| TemplateId::new(&id))
                    .transpose()?,
            )
            .site(line.site_id.map(|id| SiteId::new(&id)).transpose()?)
            .parent(
                line.parent_deployment_id
                    .map(|id| DeploymentId::new(&id))
                    .transpose()?,
            )
            .metadata(line.metadata)
            .prepared(line.prepared)
            .approved(line.approved)
            .merge(package);
        if let Some(key) = line.idempotency_key {
            new = new.idempotency_key(checked_key(&key)?);
        }
        Ok(new)
    }
}

/// Creates a deployment for each line, and answers with a line for each, in order: its id, or a
/// problem.
fn batch(
    context: &SharedContext,
    api: SharedApi,
    content: &Bytes,
    bytes: RequestBytes,
) -> HttpResult {
    let lines: Vec<Bytes> = content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .take(context.settings.max_batch + 1)
        .map(|line| content.slice_ref(line))
        .collect();
    if lines.len() > context.settings.max_batch {
        return Err(ProblemResponse::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!(
                "the batch has more than {} lines; send several batches",
                context.settings.max_batch
            ),
        ));
    }
    let context = context.clone();
    let answers = stream::iter(lines).chunks(BATCH_CALL).then(move |lines| {
        let (context, api) = (context.clone(), api.clone());
        // The lines stay in memory while answers are sent.
        let _ = &bytes;
        async move {
            let mut read = Vec::new();
            let mut answers: Vec<Option<Value>> = Vec::new();
            for line in lines {
                let read_line = || BatchLine::read(&line, &context);
                match context.heavy_work.run(line.len(), read_line).await {
                    Ok(new) => {
                        read.push(new);
                        answers.push(None);
                    }
                    Err(error) => answers.push(Some(ProblemResponse::from(error).into_value())),
                }
            }
            let mut created = api.create_deployments(read).await.into_iter();
            let mut text = String::new();
            for answer in answers {
                let answer = answer.unwrap_or_else(|| match created.next() {
                    Some(Ok(id)) => json!({"deploymentId": id.as_str()}),
                    Some(Err(error)) => ProblemResponse::from(error).into_value(),
                    None => Value::Null,
                });
                text.push_str(&answer.to_string());
                text.push('\n');
            }
            Ok::<_, std::convert::Infallible>(Bytes::from(text))
        }
    });
    let mut response: Response = Body::from_stream(answers).into_response();
    let media = HeaderValue::from_static(NDJSON);
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

pub(super) fn deployment_id(key: Key) -> Result<DeploymentId, ProblemResponse> {
    match key {
        Key::Deployment(id) => Ok(id),
        _ => Err(ProblemResponse::bad("this is for deployments only")),
    }
}

/// Approves one deployment that is prepared.
pub(super) async fn approve(
    PathKey(key): PathKey,
    ApiCaller { api, .. }: ApiCaller,
    headers: HeaderMap,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    media::without_precondition(&headers, "approve a deployment")?;
    approve_one(&api, &deployment_id(key)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Approves one deployment. An approved deployment stays approved.
pub(crate) async fn approve_one(api: &SharedApi, id: &DeploymentId) -> Result<(), ProblemResponse> {
    let record = api.get(&id.into(), tko_core::Want::ROW).await?;
    let deployment = record.entity.deployment();
    if deployment.is_some_and(|deployment| deployment.approved) {
        return Ok(());
    }
    if deployment.is_some_and(|deployment| !deployment.prepared) {
        let detail = format!("deployment {id} is not prepared yet; approve it when it is");
        return Err(ProblemResponse::new(
            StatusCode::CONFLICT,
            "not-prepared",
            detail,
        ));
    }
    Ok(tko_core::api::approve_one(&**api, &record.entity).await?)
}

/// Starts a modification; answers with its token and the package.
pub(super) async fn start_modification(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    mut query: ApiQuery,
) -> HttpResult {
    let id = deployment_id(key)?;
    let settings = &context.settings;
    let ttl = query
        .number("ttl")?
        .map_or(settings.modification, Duration::from_secs);
    query.end()?;
    if ttl.is_zero() || ttl > settings.max_modification {
        let most = settings.max_modification.as_secs();
        let message = format!("expected 1 to {most} seconds, got {}", ttl.as_secs());
        return Err(Error::bad("ttl", message).into());
    }
    let modification = api.start_modification(&id, ttl).await?;
    let package = modification.record.package.unwrap_or_default();
    let answer = json!({
        "token": modification.token.encode(),
        "until": view::rfc3339(modification.until),
        "package": view::package(&package),
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Commits the package of a modification.
pub(super) async fn end_modification(
    Path(token): Path<String>,
    State(context): State<SharedContext>,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
    headers: HeaderMap,
    content: Body,
) -> HttpResult {
    query.end()?;
    let token = Token::decode(&token)?;
    let content = body(&context, content).await?;
    let package = media::package(&context, &headers, &content).await?;
    let version = api.end_modification(&token, package).await?;
    let answer = Json(json!({"version": version.0})).into_response();
    Ok(media::with_etag(answer, version))
}

/// Cancels a modification.
pub(super) async fn cancel_modification(
    Path(token): Path<String>,
    ApiCaller { api, .. }: ApiCaller,
    query: ApiQuery,
) -> HttpResult {
    query.end()?;
    api.cancel_modification(&Token::decode(&token)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
