//! Edits the package of a deployment, under a modification that excludes others.

use super::deployment::deployment_id;
use super::page::{PageResult, go_to, rendered};
use super::path;
use super::shell::Shell;
use crate::api::PathKey;
use crate::context::{ApiCaller, SharedContext};
use crate::problem::ProblemResponse;
use crate::query::ApiQuery;
use askama::Template;
use axum::body::Bytes;
use axum::extract::State;
use std::time::Duration;
use tko_core::work::Token;
use tko_core::{Dialect, Error, ErrorKind, Format, Key, Package, Result, Want, view};
use tko_serve::package_weight;

/// Maximum duration of an edit.
const EDIT: Duration = Duration::from_mins(30);

/// Maximum number of problems that are shown.
const MAX_PROBLEMS: usize = 50;

/// How to go on after a modification has ended.
const ENDED: &str = "This edit has ended, so it cannot be saved any more. Copy the text, open the \
                     deployment, and edit it again.";

/// How to go on after a failure that may pass.
const RETRY: &str = "Nothing was lost. Save it again, or copy the text.";

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    shell: Shell,
    path: String,
    id: String,
    token: String,
    until: String,
    text: String,
    problems: Vec<String>,
    fine: &'static str,
}

#[derive(Template)]
#[template(path = "checked.html")]
struct CheckedPage {
    problems: Vec<String>,
    fine: &'static str,
}

/// Leads from the address of the editor to the deployment, for example after a sign-in. Only a form
/// starts an edit, because that excludes others.
pub(super) async fn to_deployment(PathKey(key): PathKey) -> PageResult {
    go_to(&path(&key))
}

/// Starts a modification and shows the package as text.
pub(super) async fn start(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    caller: ApiCaller,
) -> PageResult {
    let id = deployment_id(key.clone())?;
    let ttl = EDIT.min(context.settings.max_modification);
    let modification = caller.api.start_modification(&id, ttl).await?;
    let package = modification.record.package.unwrap_or_default();
    let text = String::from_utf8_lossy(&package.encode(Format::Yaml)).into_owned();
    let until = view::rfc3339(modification.until);
    let token = modification.token.encode();
    shown(&context, &caller, &key, token, until, text, Vec::new()).await
}

async fn shown(
    context: &SharedContext,
    caller: &ApiCaller,
    key: &Key,
    token: String,
    until: String,
    text: String,
    problems: Vec<String>,
) -> PageResult {
    let shell = Shell::new(
        context,
        caller,
        format!("Edit {}", key.id()),
        "/deployments",
        "none",
    )
    .await?;
    // Shows only the time of day, because an edit is short.
    let until = until
        .get(11..16)
        .map_or(until.clone(), |time| format!("{time} UTC"));
    rendered(&EditPage {
        shell,
        path: path(key),
        id: key.id().to_owned(),
        token,
        until,
        text,
        problems,
        fine: "Unchanged so far.",
    })
}

/// Checks a text while it is typed, without saving it.
pub(super) async fn check(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    body: Bytes,
) -> PageResult {
    let mut form = ApiQuery::from_form(&body)?;
    let text = form.text("package")?.unwrap_or_default();
    let record = caller.api.get(&key, Want::ROW).await?;
    let complete = record
        .entity
        .deployment()
        .is_some_and(|deployment| deployment.prepared);
    let problems = match decoded(&context, &text).await {
        Err(error) => reasons(&error),
        Ok(package) => match &context.admission {
            None => Vec::new(),
            Some(admission) => {
                let violations = admission.admit(&package, complete).await?;
                violations
                    .iter()
                    .take(MAX_PROBLEMS)
                    .map(ToString::to_string)
                    .collect()
            }
        },
    };
    let fine = if context.admission.is_some() {
        "Valid."
    } else {
        "Well-formed."
    };
    rendered(&CheckedPage { problems, fine })
}

async fn decoded(context: &SharedContext, text: &str) -> Result<Package> {
    let text = text.as_bytes();
    let limits = &context.settings.limits;
    let decode = || Package::decode(text, Format::Yaml, Dialect::People, limits);
    context.heavy_work.run(package_weight(text), decode).await
}

/// Saves or cancels an edit.
pub(super) async fn save(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    body: Bytes,
) -> PageResult {
    let mut form = ApiQuery::from_form(&body)?;
    let verb = form.text("do")?;
    let text = form.text("package")?.unwrap_or_default();
    let until = form.text("until")?.unwrap_or_default();
    let token = form.text("token")?.unwrap_or_default();
    form.end()?;
    let decoded_token = Token::decode(&token)?;
    if verb.as_deref() == Some("cancel") {
        // The modification may have expired, which cancels it as well.
        match caller.api.cancel_modification(&decoded_token).await {
            Ok(()) | Err(Error::ClaimExpired(_) | Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        return go_to(&path(&key));
    }
    let saved = match decoded(&context, &text).await {
        Ok(package) => caller.api.end_modification(&decoded_token, package).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(_) => go_to(&path(&key)),
        Err(error @ Error::BadArgument { .. }) => {
            shown(&context, &caller, &key, token, until, text, reasons(&error)).await
        }
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::ClaimExpired | ErrorKind::NotFound => ENDED,
                _ => RETRY,
            };
            // Logs the cause that the page leaves out.
            let problem = ProblemResponse::from(error);
            let problems = vec![problem.detail().to_owned(), remedy.to_owned()];
            shown(&context, &caller, &key, token, until, text, problems).await
        }
    }
}

/// The reasons why a package is refused, one per line.
fn reasons(error: &Error) -> Vec<String> {
    match error {
        Error::BadArgument { violations, .. } if !violations.is_empty() => violations
            .iter()
            .take(MAX_PROBLEMS)
            .map(ToString::to_string)
            .collect(),
        error => vec![error.to_string()],
    }
}
