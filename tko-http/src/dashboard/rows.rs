//! Rows of lists.

use super::html::{Html, bar, mark, number, when};
use crate::context::SharedContext;
use crate::summary::StateCounts;
use std::fmt::Write as _;
use tko_core::view::{DeploymentState, fault, obstacle};
use tko_core::{Entity, Key, Kind, Timestamp};

/// A column of a list.
pub(super) struct ListColumn {
    pub(super) label: &'static str,
    pub(super) class: &'static str,
    /// The order that a click on the head chooses: the value of `sort`.
    pub(super) sort: Option<&'static str>,
}

/// A cell of a row.
pub(super) struct Cell {
    pub(super) class: &'static str,
    pub(super) html: Html,
}

/// A row of a list.
pub(super) struct ListRow {
    pub(super) id: String,
    pub(super) cells: Vec<Cell>,
}

/// The columns of a list.
pub(super) fn columns(kind: Kind) -> Vec<ListColumn> {
    let columns: &[(&str, &str)] = match kind {
        Kind::Deployment => &[
            ("State", "state"),
            ("Deployment", "id mono"),
            ("Template", "id"),
            ("Site", "id"),
            ("What is in the way", "wide"),
            ("Updated", "age num"),
        ],
        Kind::Site => &[
            ("Site", "id long"),
            ("Template", "template wide"),
            ("Deployments", "count num"),
            ("States", "mini wide"),
            ("Condition", "wide"),
            ("Updated", "age num"),
        ],
        Kind::Template => &[
            ("Template", "id long"),
            ("Deployments", "count num"),
            ("States", "mini wide"),
            ("Metadata", "wide"),
            ("Updated", "age num"),
        ],
        Kind::Plugin => &[
            ("Plugin", "id"),
            ("Executor", "count"),
            ("Triggers", "id plugin"),
            ("Arguments", "wide"),
            ("In the way of", "count num"),
        ],
    };
    columns
        .iter()
        .enumerate()
        .map(|(at, (label, class))| ListColumn {
            label,
            class,
            sort: match *label {
                "Updated" => Some("updated"),
                "Deployment" => Some("id"),
                _ if at == 0 && kind != Kind::Deployment => Some("id"),
                _ => None,
            },
        })
        .collect()
}

/// Options for all rows of a list.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) now: Timestamp,
    /// Whether to show numbers that count everything. Must be false for callers who may read only
    /// some entities.
    pub(super) counts: bool,
}

/// The row of an entity.
pub(super) fn row(context: &SharedContext, entity: &Entity, shown: Shown) -> ListRow {
    let now = shown.now;
    let count = |count: u64| {
        if shown.counts {
            Html::text(&number(count))
        } else {
            Html::default()
        }
    };
    let states = |counts: &StateCounts| {
        if shown.counts {
            bar(counts, "bar thin")
        } else {
            Html::default()
        }
    };
    let mut cells = Vec::with_capacity(6);
    let mut cell = |class, html| cells.push(Cell { class, html });
    match &entity.key {
        Key::Deployment(_) => {
            let deployment = entity.deployment();
            let state = DeploymentState::of(entity);
            cell("state", state.map(mark).unwrap_or_default());
            cell("id one mono", named(&entity.key));
            cell(
                "id one",
                optional(deployment.and_then(|d| d.template.as_ref())),
            );
            cell("id one", optional(deployment.and_then(|d| d.site.as_ref())));
            cell(
                "wide one dim",
                words(obstacle(entity).map(|c| c.message.as_str())),
            );
        }
        Key::Site(id) => {
            let counts = context.feeds.tally().of_site(id.as_str());
            cell("id long one", named(&entity.key));
            cell("template wide one", optional(entity.template()));
            cell("count num", count(counts.total()));
            cell("mini wide", states(&counts));
            cell(
                "wide one dim",
                words(fault(entity).map(|c| c.message.as_str())),
            );
        }
        Key::Template(id) => {
            let counts = context.feeds.tally().of_template(id.as_str());
            cell("id long one", named(&entity.key));
            cell("count num", count(counts.total()));
            cell("mini wide", states(&counts));
            let mut metadata = String::new();
            for (key, value) in entity.metadata.iter().take(8) {
                // Writing to a string does not fail.
                let _ = write!(metadata, "{key}={value} ");
            }
            cell("wide one dim", words(Some(&metadata)));
        }
        Key::Plugin(id) => {
            let plugin = entity.plugin().cloned().unwrap_or_default();
            let triggers = plugin
                .triggers
                .iter()
                .map(|gvk| format!("{} {}", gvk.api_version(), gvk.kind));
            let failures = context.feeds.tally().failures_of(id.name());
            cell("id one", named(&entity.key));
            cell("count one", Html::text(&plugin.executor));
            cell(
                "id plugin",
                Html::text(&triggers.collect::<Vec<_>>().join(", ")),
            );
            cell("wide one mono", words(Some(&plugin.arguments.join(" "))));
            cell("count num", count(failures));
        }
    }
    if entity.key.kind() != Kind::Plugin {
        cell("age when num", when(entity.updated, now));
    }
    ListRow {
        id: entity.key.id().to_owned(),
        cells,
    }
}

/// A deployment in the list of a site or template: without the column that all rows share.
pub(super) fn deployment_of(entity: &Entity, of: Kind, now: Timestamp) -> ListRow {
    let deployment = entity.deployment();
    let other = match of {
        Kind::Site => optional(deployment.and_then(|d| d.template.as_ref())),
        _ => optional(deployment.and_then(|d| d.site.as_ref())),
    };
    let state = DeploymentState::of(entity).map(mark).unwrap_or_default();
    let cells = [
        ("", state),
        ("mono", named(&entity.key)),
        ("", other),
        (
            "wide dim",
            words(obstacle(entity).map(|c| c.message.as_str())),
        ),
        ("when num", when(entity.updated, now)),
    ];
    ListRow {
        id: entity.key.id().to_owned(),
        cells: cells
            .into_iter()
            .map(|(class, html)| Cell { class, html })
            .collect(),
    }
}

/// The link of a row, which the keys j and k move to.
fn named(key: &Key) -> Html {
    let mut html = Html::default().raw("<a data-row href=\"");
    html.push(&super::path(key));
    html.push_raw("\" title=\"");
    html.push(key.id());
    html.push_raw("\">");
    html.push(key.id());
    html.raw("</a>")
}

/// Text that may be truncated, shown completely on hover.
fn words(text: Option<&str>) -> Html {
    let Some(text) = text else {
        return Html::default();
    };
    let mut html = Html::default().raw("<span title=\"");
    html.push(text);
    html.push_raw("\">");
    html.push(text);
    html.raw("</span>")
}

/// The link to another entity, if there is one.
fn optional<'a, I: 'a>(id: Option<&'a I>) -> Html
where
    Key: From<&'a I>,
{
    id.map_or_else(Html::default, |id| {
        let key = Key::from(id);
        let mut html = Html::default().raw("<a href=\"");
        html.push(&super::path(&key));
        html.push_raw("\" title=\"");
        html.push(key.id());
        html.push_raw("\">");
        html.push(key.id());
        html.raw("</a>")
    })
}
