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
use tko_core::view::{DeploymentState, quoted_filter};
use tko_core::{Key, Timestamp};

/// Maximum number of reasons, sites and plugins that are shown.
const REASONS: usize = 10;
const TROUBLED: usize = 8;
const PLUGINS: usize = 5;

/// The text for a site whose message is not kept.
const OTHER_TROUBLE: &str = "its page says what is wrong";

/// Number of changes that are shown.
const ACTIVITY: usize = 8;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    /// Absent for a caller who may read only some entities, because these are about all of them.
    numbers: Option<OverviewNumbers>,
    /// Shown without the numbers if there are none.
    states: Vec<StateLink>,
    activity: Vec<ActivityRow>,
}

/// The counts and rates of all entities.
struct OverviewNumbers {
    counts: StateCounts,
    total: String,
    /// Whether everything was counted, so that an empty list means that there is nothing.
    complete: bool,
    bar: Html,
    reasons: Vec<ReasonRow>,
    chart: Html,
    prepared_rate: String,
    placed_rate: String,
    troubled: Vec<TroubledRow>,
    more_troubled: Option<String>,
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
    let mut shell = Shell::new(&context, &caller, "Overview", "/", "all").await?;
    let activity = latest(&caller, ACTIVITY, shell.now).await;
    let numbers = if caller.reads_all() {
        Some(counted(&context, shell.now))
    } else {
        shell.notice = Some(Notice {
            text: "You see a part of this installation; the numbers of all of it are not shown. \
                   The lists have what is yours."
                .to_owned(),
            bad: false,
        });
        None
    };
    let counts = numbers
        .as_ref()
        .map_or_else(StateCounts::default, |numbers| numbers.counts);
    rendered(&OverviewPage {
        states: state_links(&counts, ""),
        shell,
        numbers,
        activity,
    })
}

/// Counts all entities. The result must not be shown to a caller who may read only some of them.
fn counted(context: &SharedContext, now: Timestamp) -> OverviewNumbers {
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
                text: trouble
                    .message
                    .map_or_else(|| OTHER_TROUBLE.to_owned(), |message| visible(&message)),
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
    let more = u64::try_from(all_troubled.saturating_sub(troubled.len())).unwrap_or(u64::MAX);
    OverviewNumbers {
        counts,
        total: number(counts.total()),
        complete: tally.revision().is_some(),
        bar: bar(&counts, "bar"),
        chart: chart(&rates),
        prepared_rate: rate(|rate| rate.0),
        placed_rate: rate(|rate| rate.1),
        more_troubled: (more > 0).then(|| number(more)),
        plugins: plugins.collect(),
        reasons,
        troubled,
    }
}
