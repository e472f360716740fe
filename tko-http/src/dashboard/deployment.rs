//! The page of a deployment: its progress, its obstacles, and its parts.

use super::approval::{WaitingChange, waiting_change};
use super::history::{HistoryRow, compare_link, rows};
use super::html::{Html, age, marked, until, visible};
use super::package::{PackageQuery, PackageView};
use super::page::{PageResult, rendered};
use super::reason::linked;
use super::retry::waits;
use super::shell::Shell;
use super::{encoded, path};
use crate::api::PathKey;
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use askama::Template;
use axum::extract::State;
use tko_core::entity::{PREPARED, SCHEDULED};
use tko_core::view::{DeploymentState, obstacle};
use tko_core::work::Stage;
use tko_core::{
    Condition, DataApi, Deployment, DeploymentId, Entity, Key, Kind, List, Package, Record, Result,
    Select, Timestamp, Want,
};

/// Number of changes on the page.
const CHANGES: usize = 15;

/// Number of children on the page.
const CHILDREN: usize = 100;

#[derive(Template)]
#[template(path = "deployment.html")]
#[allow(clippy::struct_excessive_bools)] // Independent parts of the page.
struct DeploymentPage {
    shell: Shell,
    id: String,
    path: String,
    state: DeploymentState,
    about: Html,
    deleting: bool,
    can_change: bool,
    can_approve: bool,
    can_retry: bool,
    steps: Vec<LifeStep>,
    waiting: Option<WaitingChange>,
    family: Html,
    has_children: bool,
    metadata: Vec<(String, String)>,
    conditions: Vec<ConditionRow>,
    package: PackageView,
    changes: Vec<HistoryRow>,
    compare: Option<String>,
}

/// One of the four steps of a deployment's life.
struct LifeStep {
    label: &'static str,
    class: &'static str,
    /// The meaning of the class, for screen readers.
    spoken: &'static str,
    current: bool,
    text: Html,
}

/// A condition on a page.
pub(super) struct ConditionRow {
    pub(super) kind: String,
    pub(super) class: &'static str,
    pub(super) reason: String,
    pub(super) text: String,
}

/// Conditions as rows.
pub(super) fn conditions(entity: &Entity, now: Timestamp) -> Vec<ConditionRow> {
    let row = |condition: &Condition| ConditionRow {
        kind: visible(&condition.kind),
        class: match condition.status {
            Some(true) => "scheduled",
            Some(false) if tko_core::view::fault(entity) == Some(condition) => "failing",
            Some(false) => "waiting",
            None => "unprepared",
        },
        reason: visible(&format!(
            "{} for {}",
            condition.reason,
            age(condition.since, now)
        )),
        text: visible(&condition.message),
    };
    entity.conditions.iter().map(row).collect()
}

/// Metadata as rows, without TKO's own keys.
pub(super) fn metadata(entity: &Entity) -> Vec<(String, String)> {
    entity
        .metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(tko_core::metadata::RESERVED))
        .map(|(key, value)| (visible(key), visible(value)))
        .collect()
}

pub(super) async fn page(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> PageResult {
    let shown = PackageQuery::take(&mut query)?;
    let notice = super::retry::notice(&mut query)?;
    query.end()?;
    let api = &*caller.api;
    let want = Want::PACKAGE.with_work().with_deleting();
    let record = api.get(&key, want).await?;
    let entity = record.entity.clone();
    let scope = format!("deployments/{}", key.id());
    let mut shell = Shell::new(&context, &caller, key.id(), "/deployments", scope).await?;
    shell.notice = notice;
    let now = shell.now;
    let deployment = entity.deployment().cloned().unwrap_or_default();
    let state = DeploymentState::of(&entity).unwrap_or(DeploymentState::Unprepared);
    let template = match &deployment.template {
        Some(id) if shown.needs_template() => package_of(api, &id.into()).await,
        _ => None,
    };
    // Sites are scheduled, not deployments, so the site's work shows the time of the next attempt
    // to place.
    let site = deployment.placed.as_ref().map(|(site, _)| site);
    let site = match site.or(deployment.site.as_ref()) {
        Some(id) => {
            let want = Want::ROW.with_work().with_deleting();
            api.get(&id.into(), want).await.ok()
        }
        None => None,
    };
    let changes = api.history(&key, None, CHANGES).await?;
    let waiting = match &key {
        Key::Deployment(id) if entity.has_unapproved_edit() => {
            waiting_change(&context, api, id).await?
        }
        _ => None,
    };
    let (family, has_children) = family(api, &key, &entity).await?;
    let path = path(&key);
    let stuck = obstacle(&entity).map(|condition| condition.message.as_str());
    let package = record.package.clone().unwrap_or_default();
    rendered(&DeploymentPage {
        id: key.id().to_owned(),
        about: about(&deployment),
        state,
        deleting: entity.deleting,
        can_change: shell.rights.deployments,
        can_approve: deployment.prepared && !deployment.approved && !entity.deleting,
        can_retry: waits(&record, now) || site.as_ref().is_some_and(|site| waits(site, now)),
        steps: steps(&context, &record, site.as_ref(), &deployment, now),
        waiting,
        family,
        has_children,
        metadata: metadata(&entity),
        conditions: conditions(&entity, now),
        package: PackageView::new(
            &path,
            format!("/api/v1{path}/package"),
            &package,
            &shown,
            template.as_ref(),
            deployment.template.is_some(),
            stuck.unwrap_or_default(),
        ),
        changes: rows(&key, &changes, now),
        compare: compare_link(&key, &changes),
        path,
        shell,
    })
}

/// The package of another entity; `None` if it is gone.
async fn package_of(api: &dyn DataApi, key: &Key) -> Option<Package> {
    api.get(key, Want::PACKAGE).await.ok()?.package
}

/// The template, site and parent.
fn about(deployment: &Deployment) -> Html {
    let mut html = Html::default();
    match &deployment.template {
        Some(template) => html = html.entity(&template.into()),
        None => html = html.with("without a template"),
    }
    if let Some(site) = &deployment.site {
        html = html.with(" on ").entity(&site.into());
    }
    if let Some(parent) = &deployment.parent {
        html = html.with(", from ").entity(&parent.into());
    }
    html
}

/// The four steps. The step that is stuck shows the reason and the time of the next attempt.
fn steps(
    context: &SharedContext,
    record: &Record,
    site: Option<&Record>,
    deployment: &Deployment,
    now: Timestamp,
) -> Vec<LifeStep> {
    let placing = site.and_then(|site| next_try(site, Stage::Schedule, now));
    let entity = &*record.entity;
    let fault = tko_core::view::fault(entity);
    let said = |kind: &str| {
        let condition = entity
            .condition(kind)
            .filter(|condition| condition.status != Some(true));
        condition
            .map(|condition| condition.message.clone())
            .unwrap_or_default()
    };
    let is_scheduled = entity.is_scheduled();
    let done = [true, deployment.prepared, deployment.approved, is_scheduled];
    let current = done.iter().position(|done| !done);
    let site = deployment.site.as_ref();
    let texts = [
        Html::text(&format!("{} ago", age(entity.created, now))),
        if deployment.prepared {
            Html::text("all resources are prepared")
        } else {
            let why = said(PREPARED);
            let end = if why.is_empty() || why.ends_with('.') {
                ""
            } else {
                "."
            };
            linked(&context.feeds.tally(), &why)
                .with(end)
                .with(&next_try(record, Stage::Prepare, now).unwrap_or_default())
        },
        if deployment.approved {
            Html::text("approved")
        } else if deployment.prepared {
            Html::text("waiting for a person")
        } else {
            Html::text("once it is prepared")
        },
        match (&deployment.placed, site) {
            (None, None) => Html::text("it has no site, so there is nothing to place"),
            (Some((at, _)), _) if is_scheduled => Html::text("on ").entity(&at.into()),
            (Some((at, as_of)), _) if *as_of != entity.generation => Html::text("on ")
                .entity(&at.into())
                .with(", as it was before its last change"),
            (_, Some(site)) if deployment.approved => {
                let said = said(SCHEDULED);
                let said = if said.is_empty() {
                    "soon".to_owned()
                } else {
                    said
                };
                let html = linked(&context.feeds.tally(), &said);
                let html = html.with(" on ").entity(&site.into());
                match placing {
                    Some(placing) => html.with(".").with(&placing),
                    None => html,
                }
            }
            (Some((site, _)), _) | (None, Some(site)) => Html::text("on ").entity(&site.into()),
        },
    ];
    let labels = ["Created", "Prepared", "Approved", "Scheduled"];
    let stuck_at = fault.map(|fault| match fault.kind.as_str() {
        PREPARED => 1,
        "Approved" => 2,
        _ if !deployment.prepared => 1,
        _ => 3,
    });
    labels
        .into_iter()
        .zip(texts)
        .enumerate()
        .map(|(at, (label, text))| {
            let (class, spoken) = if stuck_at == Some(at) {
                ("stuck", ": failing")
            } else if done[at] {
                ("done", ": done")
            } else if current == Some(at) && !(at == 3 && site.is_none()) {
                ("now", ": in progress")
            } else {
                ("", ": not yet")
            };
            LifeStep {
                label,
                class,
                spoken,
                current: current == Some(at),
                text,
            }
        })
        .collect()
}

/// The time of the next attempt of a stage, as a sentence; `None` if there is no work.
fn next_try(record: &Record, stage: Stage, now: Timestamp) -> Option<String> {
    let work = record.work.iter().find(|work| work.stage == stage)?;
    Some(match work.attempts {
        _ if work.is_leased(now) => " A worker has it now.".to_owned(),
        0 => format!(" Due {}.", until(work.due, now)),
        attempts => format!(" Attempt {attempts}; next try {}.", until(work.due, now)),
    })
}

/// The parent, this deployment, and its children, as a tree.
async fn family(api: &dyn DataApi, key: &Key, entity: &Entity) -> Result<(Html, bool)> {
    let Key::Deployment(id) = key else {
        return Ok((Html::default(), false));
    };
    let mut select = Select::all(Kind::Deployment).parent(id.clone());
    select.deleting = true;
    let children = api.list(&List::new(select).limit(CHILDREN)).await?;
    let parent = entity
        .deployment()
        .and_then(|deployment| deployment.parent.as_ref());
    let parent = match parent {
        Some(parent) => api
            .get(&parent.into(), Want::ROW.with_deleting())
            .await
            .ok(),
        None => None,
    };
    let mut html = Html::default().raw("<ul class=\"tree\"><li>");
    let here = Html::default()
        .raw("<b class=\"mono\">")
        .with(id.as_str())
        .raw("</b>");
    if let Some(parent) = &parent {
        html = html
            .join(&member(&parent.entity))
            .raw("<ul class=\"tree\"><li>");
    }
    let state = DeploymentState::of(entity).unwrap_or(DeploymentState::Unprepared);
    html = html.join(&marked(state, &here));
    let has_children = !children.items.is_empty();
    if has_children {
        html.push_raw("<ul class=\"tree\">");
        for child in &children.items {
            html = html.raw("<li>").join(&member(&child.entity)).raw("</li>");
        }
        if children.next.is_some() {
            let line = encoded(&format!("--parent {id}"));
            html = html
                .raw("<li>")
                .link(&format!("/deployments?q={line}"), "and more")
                .raw("</li>");
        }
        html.push_raw("</ul>");
    }
    if parent.is_some() {
        html.push_raw("</li></ul>");
    }
    Ok((html.raw("</li></ul>"), has_children))
}

/// A member of the family: id, template and site.
fn member(entity: &Entity) -> Html {
    let deployment = entity.deployment();
    let state = DeploymentState::of(entity).unwrap_or(DeploymentState::Unprepared);
    let name = Html::default()
        .raw("<span class=\"mono\">")
        .entity(&entity.key)
        .raw("</span> <span class=\"dim\">")
        .with(
            deployment
                .and_then(|d| d.template.as_ref())
                .map_or("", |id| id.as_str()),
        )
        .with(if deployment.is_some_and(|d| d.site.is_some()) {
            " · "
        } else {
            ""
        })
        .with(
            deployment
                .and_then(|d| d.site.as_ref())
                .map_or("", |id| id.as_str()),
        )
        .raw("</span>");
    marked(state, &name)
}

/// The id of a deployment's page.
pub(super) fn deployment_id(key: Key) -> Result<DeploymentId> {
    match key {
        Key::Deployment(id) => Ok(id),
        key => Err(tko_core::Error::not_found(key)),
    }
}
