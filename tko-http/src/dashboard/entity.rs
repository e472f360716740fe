//! The pages of templates, sites and plugins.

use super::deployment::{ConditionRow, conditions, metadata};
use super::history::{HistoryRow, rows};
use super::html::{Html, age, bar, number, visible};
use super::overview::{StateLink, state_links};
use super::package::{PackageQuery, PackageView};
use super::page::{PageResult, rendered};
use super::rows::{ListRow, deployment_of};
use super::shell::Shell;
use super::{encoded, path};
use crate::api::{PathKey, plural};
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use crate::summary::StateCounts;
use askama::Template;
use axum::extract::State;
use tko_core::view::quoted_filter;
use tko_core::{Key, Kind, List, Package, Plugin, Timestamp, Want, view};

/// Number of changes on the page.
const CHANGES: usize = 15;

/// Maximum number of reasons on the page of a plugin that name it.
const FAILURES: usize = 10;

/// Number of deployments on the page.
const DEPLOYMENTS: usize = 20;

#[derive(Template)]
#[template(path = "entity.html")]
#[allow(clippy::struct_excessive_bools)] // Independent parts of the page.
struct EntityPage {
    shell: Shell,
    name: String,
    collection: &'static str,
    id_encoded: String,
    about: Html,
    can_change: bool,
    can_retry: bool,
    waits: bool,
    path: String,
    show_states: bool,
    states_label: &'static str,
    total: String,
    bar: Html,
    states: Vec<StateLink>,
    facts_label: &'static str,
    facts: Vec<(&'static str, Html)>,
    metadata: Vec<(String, String)>,
    conditions: Vec<ConditionRow>,
    has_package: bool,
    is_plugin: bool,
    failures: Vec<PluginFailure>,
    package: PackageView,
    deployments: Vec<ListRow>,
    all_deployments: String,
    other: &'static str,
    history_label: &'static str,
    changes: Vec<HistoryRow>,
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
    let kind = key.kind();
    let mut want = Want::ROW.with_work().with_deleting();
    want.package = kind != Kind::Plugin;
    let record = api.get(&key, want).await?;
    let entity = record.entity.clone();
    let (active, name) = match kind {
        Kind::Template => ("/templates", plural(kind)),
        Kind::Site => ("/sites", plural(kind)),
        _ => ("/plugins", plural(kind)),
    };
    let scope = format!("{name}/{}", key.id());
    let mut shell = Shell::new(&context, &caller, key.id(), active, scope).await?;
    shell.notice = notice;
    let now = shell.now;
    let changes = api.history(&key, None, CHANGES).await?;
    let page = match view::deployments_of(&key) {
        Some(select) => Some(api.list(&List::new(select).limit(DEPLOYMENTS)).await?),
        None => None,
    };
    let deployments = page.map(|page| page.items).unwrap_or_default();
    let filter = match kind {
        Kind::Template => format!("--template-id {}", quoted_filter(key.id())),
        _ => format!("--site-id {}", quoted_filter(key.id())),
    };
    let counts = {
        let tally = context.feeds.tally();
        match kind {
            Kind::Template => tally.of_template(key.id()),
            Kind::Site => tally.of_site(key.id()),
            _ => StateCounts::default(),
        }
    };
    let path = path(&key);
    let template = match entity.template() {
        Some(id) if shown.needs_template() => api
            .get(&id.into(), Want::PACKAGE)
            .await
            .ok()
            .and_then(|record| record.package),
        _ => None,
    };
    let package: Package = record.package.clone().unwrap_or_default();
    rendered(&EntityPage {
        name: key.id().to_owned(),
        collection: name,
        id_encoded: encoded(key.id()),
        about: about(&key, &entity, now),
        can_change: shell.rights.may_change(kind) && !entity.deleting,
        can_retry: shell.rights.deployments && kind == Kind::Site,
        waits: super::retry::waits(&record, now),
        show_states: kind != Kind::Plugin && caller.reads_all(),
        states_label: if kind == Kind::Site {
            "What it is to run"
        } else {
            "Made of it"
        },
        total: number(counts.total()),
        bar: bar(&counts, "bar"),
        states: state_links(&counts, &filter),
        facts_label: if kind == Kind::Plugin {
            "Plugin"
        } else {
            "Scheduling"
        },
        facts: facts(&context, &key, &record, now),
        metadata: metadata(&entity),
        conditions: conditions(&entity, now),
        has_package: kind != Kind::Plugin,
        is_plugin: kind == Kind::Plugin,
        failures: match &key {
            Key::Plugin(id) if caller.reads_all() => failures(&context, id.name(), now),
            _ => Vec::new(),
        },
        package: PackageView::new(
            &path,
            format!("/api/v1{path}/package"),
            &package,
            &shown,
            template.as_ref(),
            entity.template().is_some(),
            "",
        ),
        deployments: deployments
            .iter()
            .map(|one| deployment_of(&one.entity, kind, now))
            .collect(),
        all_deployments: format!("/deployments?q={}", encoded(&filter)),
        other: if kind == Kind::Site {
            "Template"
        } else {
            "Site"
        },
        history_label: if kind == Kind::Template {
            "Versions"
        } else {
            "History"
        },
        changes: rows(&key, &changes, now),
        path,
        shell,
    })
}

/// A reason that names a plugin, and the number of deployments that it blocks.
struct PluginFailure {
    href: String,
    count: String,
    text: String,
    since: String,
}

/// The reasons of failing deployments that name a plugin.
fn failures(context: &SharedContext, plugin: &str, now: Timestamp) -> Vec<PluginFailure> {
    let reasons = context.feeds.tally().reasons_of(plugin, FAILURES);
    let failure = |(text, counted): (std::sync::Arc<str>, crate::summary::ReasonCount)| {
        let line = format!("--state failing --reason {}", quoted_filter(&text));
        PluginFailure {
            href: format!("/deployments?q={}", encoded(&line)),
            count: number(counted.count),
            text: visible(&text),
            since: age(counted.since, now),
        }
    };
    reasons.into_iter().map(failure).collect()
}

fn about(key: &Key, entity: &tko_core::Entity, now: Timestamp) -> Html {
    let mut html = Html::text(key.kind().as_str());
    if let Some(template) = entity.template() {
        html = html.with(" made of ").entity(&template.into());
    }
    if entity.deleting {
        html = html.with(", being deleted");
    }
    html.with(&format!(", changed {} ago", age(entity.updated, now)))
}

/// Details besides metadata and conditions.
fn facts(
    context: &SharedContext,
    key: &Key,
    record: &tko_core::Record,
    now: Timestamp,
) -> Vec<(&'static str, Html)> {
    match key {
        Key::Plugin(id) => {
            let plugin = record
                .entity
                .plugin()
                .map(|plugin| Plugin::clone(plugin))
                .unwrap_or_default();
            let failures = context.feeds.tally().failures_of(id.name());
            let mut facts = vec![
                ("Type", Html::text(id.plugin_type().as_str())),
                ("Executor", Html::text(&plugin.executor)),
            ];
            for argument in &plugin.arguments {
                facts.push(("Argument", Html::text(argument)));
            }
            for (name, value) in &plugin.properties {
                facts.push(("Property", Html::text(&format!("{name} = {value}"))));
            }
            for gvk in &plugin.triggers {
                facts.push((
                    "Trigger",
                    Html::text(&format!("{} {}", gvk.api_version(), gvk.kind)),
                ));
            }
            let calls = context.plugin_calls.as_ref().and_then(|calls| calls(id));
            facts.push((
                "Calls",
                match calls {
                    Some(calls) => Html::text(&calls.to_string()),
                    None => Html::text("none in this process; others count theirs as metrics"),
                },
            ));
            facts.push((
                "In the way of",
                Html::text(&format!("{} deployments", number(failures))),
            ));
            facts
        }
        Key::Site(_) => record
            .work
            .iter()
            .map(|work| {
                let mut text = format!("due {}", super::html::until(work.due, now));
                if work.leased.is_some() {
                    "in progress".clone_into(&mut text);
                }
                if work.attempts > 0 {
                    text.push_str(", attempt ");
                    text.push_str(&work.attempts.to_string());
                }
                if let Some(error) = &work.error {
                    text.push_str(": ");
                    text.push_str(error);
                }
                ("Work", Html::text(&text))
            })
            .collect(),
        _ => Vec::new(),
    }
}
