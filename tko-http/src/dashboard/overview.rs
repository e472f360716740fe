//! The overview: counts by state, and what is wrong.

use super::activity::{ActivityRow, latest};
use super::html::{Html, age, bar, chart, number, visible};
use super::page::{PageResult, rendered};
use super::reason::linked;
use super::shell::{Notice, Shell};
use super::{encoded, path};
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use crate::summary::StateCounts;
use askama::Template;
use axum::extract::State;
use tko_core::Key;
use tko_core::view::{DeploymentState, quoted_filter};

/// Maximum number of reasons, sites and plugins that are shown.
const REASONS: usize = 10;
const TROUBLED: usize = 8;
const PLUGINS: usize = 5;

/// Number of changes that are shown.
const ACTIVITY: usize = 8;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    total: String,
    complete: bool,
    bar: Html,
    states: Vec<StateLink>,
    reasons: Vec<ReasonRow>,
    chart: Html,
    prepared_rate: String,
    placed_rate: String,
    troubled: Vec<TroubledRow>,
    more_troubled: usize,
    activity: Vec<ActivityRow>,
    plugins: Vec<PluginRow>,
}

/// A state with its number, and a link to its list.
pub(super) struct StateLink {
    pub(super) href: String,
    pub(super) state: DeploymentState,
    pub(super) count: String,
    pub(super) label: &'static str,
}

struct ReasonRow {
    href: String,
    count: String,
    state: DeploymentState,
    text: String,
    html: Html,
    since: String,
}

struct TroubledRow {
    href: String,
    id: String,
    text: String,
    waiting: String,
    since: String,
}

struct PluginRow {
    href: String,
    id: String,
    count: String,
    text: String,
}

/// The states with links to lists that have another filter, too.
pub(super) fn state_links(counts: &StateCounts, filter: &str) -> Vec<StateLink> {
    counts
        .iter()
        .map(|(state, count)| StateLink {
            href: format!(
                "/deployments?q={}",
                encoded(format!("--state {state} {filter}").trim())
            ),
            state,
            count: number(count),
            label: label(state),
        })
        .collect()
}

fn label(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Scheduled => "scheduled",
        DeploymentState::Approved => "approved",
        DeploymentState::Waiting => "waiting for approval",
        DeploymentState::Unprepared => "being prepared",
        DeploymentState::Failing => "failing",
        DeploymentState::Deleting => "deleting",
    }
}

pub(super) async fn page(
    State(context): State<SharedContext>,
    caller: ApiCaller,
    query: ApiQuery,
) -> PageResult {
    query.end()?;
    let shell = Shell::new(&context, &caller, "Overview", "/", "all").await?;
    let now = shell.now;
    let activity = latest(&caller, ACTIVITY, now).await;
    if caller.scopes().is_some() {
        return restricted(shell, activity);
    }
    let tally = context.feeds.tally();
    let counts = tally.states();
    let rates = tally.rates().until(now);
    // The rate of the last minute.
    let minute = &rates[rates.len().saturating_sub(6)..];
    let rate = |pick: fn(&(f64, f64)) -> f64| {
        let sum: f64 = minute.iter().map(pick).sum();
        format!("{:.1}", sum / 6.0)
    };
    let reasons = tally.reasons(REASONS).into_iter().map(|(text, counted)| {
        let state = if counted.is_fault {
            DeploymentState::Failing
        } else {
            DeploymentState::Unprepared
        };
        let filter = if counted.is_fault {
            "--state failing "
        } else {
            ""
        };
        let line = format!("{filter}--reason {}", quoted_filter(&text));
        ReasonRow {
            href: format!("/deployments?q={}", encoded(&line)),
            count: number(counted.count),
            state,
            html: linked(&tally, &text),
            text: visible(&text),
            since: age(counted.since, now),
        }
    });
    let reasons: Vec<_> = reasons.collect();
    let (all_troubled, troubled) = tally.troubled(TROUBLED);
    let troubled: Vec<_> = troubled
        .into_iter()
        .map(|(id, trouble)| {
            let counts = tally.of_site(id.as_str());
            let placed = counts.of(DeploymentState::Scheduled);
            TroubledRow {
                waiting: number(counts.total() - placed),
                since: age(trouble.since, now),
                text: visible(&trouble.message),
                href: path(&Key::from(&id)),
                id: id.to_string(),
            }
        })
        .collect();
    let plugins = tally
        .failing_plugins(PLUGINS)
        .into_iter()
        .map(|(id, count, text)| PluginRow {
            href: format!("/plugins/{}", encoded(&id)),
            id: id.to_string(),
            count: number(count),
            text: visible(&text),
        });
    let page = OverviewPage {
        total: number(counts.total()),
        complete: tally.revision().is_some(),
        bar: bar(&counts, "bar"),
        states: state_links(&counts, ""),
        chart: chart(&rates),
        prepared_rate: rate(|rate| rate.0),
        placed_rate: rate(|rate| rate.1),
        more_troubled: all_troubled.saturating_sub(troubled.len()),
        plugins: plugins.collect(),
        shell,
        reasons,
        troubled,
        activity,
    };
    drop(tally);
    rendered(&page)
}

/// The overview of a caller who may read only some entities: without the counts of all.
fn restricted(mut shell: Shell, activity: Vec<ActivityRow>) -> PageResult {
    shell.notice = Some(Notice {
        text: "You see a part of this installation; the numbers of all of it are not shown. The \
               lists have what is yours."
            .to_owned(),
        bad: false,
    });
    let none = StateCounts::default();
    rendered(&OverviewPage {
        shell,
        total: String::new(),
        complete: true,
        bar: bar(&none, "bar"),
        states: state_links(&none, ""),
        reasons: Vec::new(),
        chart: chart(&[]),
        prepared_rate: "–".to_owned(),
        placed_rate: "–".to_owned(),
        troubled: Vec::new(),
        more_troubled: 0,
        activity,
        plugins: Vec::new(),
    })
}
