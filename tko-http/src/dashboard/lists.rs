//! Lists: deployments, sites, templates, plugins.

use super::html::{number, short};
use super::page::{PageResult, rendered};
use super::rows::{ListRow, Shown, columns, row};
use super::shell::Shell;
use super::sorted::latest;
use super::{encoded, heading};
use crate::api::{collection, plural};
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use crate::scan;
use askama::Template;
use axum::extract::{Path, State};
use futures_util::{StreamExt, stream};
use tko_core::view::{DeploymentState, FilterLine};
use tko_core::{Cursor, Entity, Error, Key, Kind, List, Record, Result, Want};

/// Number of rows in one page.
const ROWS: usize = 100;

/// Maximum number of rows that are looked up by their ids at once.
const MAX_LOOKUP: usize = 100;

/// Number of rows that are looked up at the same time.
const LOOKUPS: usize = 16;

#[derive(Template)]
#[template(path = "list.html")]
#[allow(clippy::struct_excessive_bools)] // Independent parts of the page.
struct ListPage {
    shell: Shell,
    heading: &'static str,
    collection: &'static str,
    total: String,
    q: String,
    q_encoded: String,
    placeholder: &'static str,
    problem: Option<String>,
    chips: Vec<Chip>,
    heads: Vec<ColumnHead>,
    is_latest: bool,
    has_older: bool,
    rows: Vec<ListRow>,
    nothing: &'static str,
    next: Option<String>,
    again: String,
    can_change: bool,
    can_approve: bool,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListSort {
    /// By id, which for deployments is the order in which they were created.
    Id,
    /// The last change comes first.
    Updated,
}

impl ListSort {
    fn take(query: &mut ApiQuery) -> Result<Self> {
        match query.text("sort")?.as_deref() {
            None | Some("" | "id") => Ok(Self::Id),
            Some("updated") => Ok(Self::Updated),
            Some(_) => Err(Error::bad("sort", "expected id or updated")),
        }
    }
}

/// The head of a column.
struct ColumnHead {
    label: &'static str,
    class: &'static str,
    /// The address of the list sorted by this column, if it can be sorted by it.
    href: Option<String>,
    /// The current sort order by this column; empty if the list is not sorted by it.
    order: &'static str,
}

fn heads(kind: Kind, list: &str, sort: ListSort) -> Vec<ColumnHead> {
    let head = |column: super::rows::ListColumn| ColumnHead {
        label: column.label,
        class: column.class,
        href: column.sort.map(|sort| format!("{list}&sort={sort}")),
        order: match (column.sort, sort) {
            (Some("id"), ListSort::Id) => "ascending",
            (Some("updated"), ListSort::Updated) => "descending",
            _ => "",
        },
    };
    columns(kind).into_iter().map(head).collect()
}

/// A link to the part of a list in one state.
struct Chip {
    href: String,
    state: String,
    label: String,
    count: String,
    active: bool,
}

#[derive(Template)]
#[template(path = "rows.html")]
struct RowsPage {
    rows: Vec<ListRow>,
    can_change: bool,
}

pub(super) async fn page(
    Path(name): Path<String>,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> PageResult {
    let kind = collection(&name)?;
    let q = query.text("q")?.unwrap_or_default();
    let cursor = query.text("cursor")?;
    let sort = ListSort::take(&mut query)?;
    let notice = super::result::notice(&mut query)?;
    query.end()?;
    let active = match kind {
        Kind::Deployment => "/deployments",
        Kind::Site => "/sites",
        Kind::Template => "/templates",
        Kind::Plugin => "/plugins",
    };
    let name = plural(kind);
    let mut shell = Shell::new(&context, &caller, heading(kind), active, name).await?;
    shell.notice = notice;
    let (filter, problem) = match FilterLine::parse(kind, &q) {
        Ok(filter) => (filter, None),
        Err(error) => (FilterLine::all(kind), Some(error.to_string())),
    };
    let after = cursor
        .map(|id| Key::new(kind, &id).map(Cursor))
        .transpose()?;
    let found = if problem.is_some() {
        None
    } else {
        let mut list = List::new(filter.select.clone()).limit(ROWS);
        list.after = after;
        Some(match sort {
            ListSort::Id => {
                let page = scan::page(&context, &caller, list, &filter).await?;
                (page.items, page.next, false)
            }
            ListSort::Updated => {
                let latest = latest(&context, &caller, &filter, ROWS).await?;
                (latest.records, None, latest.more)
            }
        })
    };
    let counts = caller.reads_all();
    let shown = Shown {
        now: shell.now,
        counts,
    };
    let records = found
        .as_ref()
        .map(|(records, ..)| records.as_slice())
        .unwrap_or_default();
    let rows: Vec<ListRow> = records
        .iter()
        .map(|one| row(&context, &one.entity, shown))
        .collect();
    let next = found.as_ref().and_then(|(_, next, _)| next.as_ref());
    let q_encoded = encoded(&q);
    let next =
        next.map(|Cursor(key)| format!("/{name}?q={q_encoded}&cursor={}", encoded(key.id())));
    let total = context.feeds.tally().total(kind);
    let can_change = shell.rights.may_change(kind);
    rendered(&ListPage {
        heading: heading(kind),
        collection: name,
        total: if counts { number(total) } else { String::new() },
        chips: chips(&context, kind, &q, &filter, counts),
        placeholder: match kind {
            Kind::Deployment => "--state failing --template-id 'nf/*' --site-metadata region=south",
            Kind::Site => "--metadata Site.region=south --template-id 'site/*'",
            Kind::Template => "--metadata NetworkFunction.type=UPF",
            Kind::Plugin => "--type prepare --executor command",
        },
        nothing: if q.is_empty() {
            "There is nothing here yet."
        } else {
            "Nothing matches."
        },
        again: match sort {
            ListSort::Id => format!("/{name}?q={q_encoded}"),
            ListSort::Updated => format!("/{name}?q={q_encoded}&sort=updated"),
        },
        heads: heads(kind, &format!("/{name}?q={q_encoded}"), sort),
        is_latest: sort == ListSort::Updated,
        has_older: found.as_ref().is_some_and(|(.., more)| *more),
        can_approve: can_change && kind == Kind::Deployment,
        can_change,
        shell,
        q,
        q_encoded,
        problem,
        rows,
        next,
    })
}

/// The states of deployments as links.
fn chips(
    context: &SharedContext,
    kind: Kind,
    q: &str,
    filter: &FilterLine,
    has_counts: bool,
) -> Vec<Chip> {
    if kind != Kind::Deployment {
        return Vec::new();
    }
    let tally = context.feeds.tally();
    let counts = tally.states();
    let text = |count| {
        if has_counts {
            short(count)
        } else {
            String::new()
        }
    };
    let all = Chip {
        href: "/deployments".to_owned(),
        state: String::new(),
        label: "all".to_owned(),
        count: text(tally.total(kind)),
        active: q.is_empty(),
    };
    let states = DeploymentState::ALL.into_iter().map(|state| Chip {
        href: format!("/deployments?q=--state%20{state}"),
        state: state.to_string(),
        label: state.to_string(),
        count: text(counts.of(state)),
        active: filter.state == Some(state),
    });
    std::iter::once(all).chain(states).collect()
}

/// Rows by their ids, for a page that is open. Entities that no longer exist or no longer match are
/// left out.
pub(super) async fn changed_rows(
    Path(name): Path<String>,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    mut query: ApiQuery,
) -> PageResult {
    let kind = collection(&name)?;
    let filter = FilterLine::parse(kind, &query.text("q")?.unwrap_or_default())?;
    let ids = query.all("key");
    query.end()?;
    if ids.len() > MAX_LOOKUP {
        let message = format!("at most {MAX_LOOKUP} rows at once; got {}", ids.len());
        return Err(Error::bad("key", message).into());
    }
    let keys = ids
        .iter()
        .map(|id| Key::new(kind, id))
        .collect::<Result<Vec<_>>>()?;
    let shown = Shown {
        now: caller.api.feed_position().await?.now,
        counts: caller.reads_all(),
    };
    let api = &caller.api;
    let records: Vec<Result<Record>> = stream::iter(keys)
        .map(async |key| api.get(&key, Want::ROW.with_deleting()).await)
        .buffered(LOOKUPS)
        .collect()
        .await;
    let mut select = filter.select.clone();
    select.deleting = true;
    let is_shown = |entity: &Entity| {
        let is_there = filter.state == Some(DeploymentState::Deleting) || !entity.deleting;
        is_there && filter.fits(entity) && select.matches(entity)
    };
    let mut rows = Vec::new();
    for record in records {
        match record {
            Ok(record) if is_shown(&record.entity) => {
                rows.push(row(&context, &record.entity, shown));
            }
            // The row may still be there, so the page asks again.
            Err(error @ Error::Unavailable { .. }) => return Err(error.into()),
            // It is gone, or cannot be read: the other rows are shown.
            Ok(_) | Err(_) => {}
        }
    }
    rendered(&RowsPage {
        rows,
        can_change: super::shell::Rights::of(&caller.caller).may_change(kind),
    })
}
