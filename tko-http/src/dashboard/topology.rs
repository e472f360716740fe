//! The picture of a topology: a deployment, its children, and their sites.

use super::html::{Html, number};
use super::page::{PageResult, rendered};
use super::path;
use super::shell::Shell;
use crate::api::PathKey;
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use crate::summary::StateCounts;
use askama::Template;
use axum::extract::State;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tko_core::view::DeploymentState;
use tko_core::{Kind, List, Record, Select, Want};

/// Maximum number of children that are drawn; they are counted by template.
const MAX_CHILDREN: usize = 5_000;

/// A group of more deployments than this is one box.
const COLLAPSED: usize = 50;

/// Maximum number of boxes of single deployments in a picture.
const MAX_BOXES: usize = 120;

const WIDTH: usize = 1_080;
const ROW: usize = 30;

#[derive(Template)]
#[template(path = "topology.html")]
struct TopologyPage {
    shell: Shell,
    id: String,
    path: String,
    about: String,
    picture: Html,
    note: String,
}

pub(super) async fn page(
    PathKey(key): PathKey,
    State(context): State<SharedContext>,
    caller: ApiCaller,
    query: ApiQuery,
) -> PageResult {
    query.end()?;
    let root = caller.api.get(&key, Want::ROW.with_deleting()).await?;
    let id = super::deployment::deployment_id(key.clone())?;
    let mut list = List::new(Select::all(Kind::Deployment).parent(id));
    let mut children: Vec<Record> = Vec::new();
    loop {
        let page = caller.api.list(&list).await?;
        children.extend(page.items);
        if page.next.is_none() || children.len() >= MAX_CHILDREN {
            break;
        }
        list.after = page.next;
    }
    let scope = format!("deployments/{}", key.id());
    let shell = Shell::new(
        &context,
        &caller,
        format!("Topology of {}", key.id()),
        "/deployments",
        scope,
    )
    .await?;
    let count = children.len();
    let groups = groups(&children);
    rendered(&TopologyPage {
        shell,
        id: key.id().to_owned(),
        path: path(&key),
        about: format!(
            "{} deployments of {} templates",
            number_of(count),
            number_of(groups.len())
        ),
        picture: picture(&root, &groups),
        note: if count >= MAX_CHILDREN {
            format!("The first {} are shown.", number_of(MAX_CHILDREN))
        } else {
            format!("A template with more than {COLLAPSED} deployments is one box.")
        },
    })
}

fn number_of(count: usize) -> String {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The children of one template.
struct TemplateGroup<'a> {
    template: &'a str,
    members: Vec<&'a Record>,
    counts: StateCounts,
}

fn groups(children: &[Record]) -> Vec<TemplateGroup<'_>> {
    let mut by_template: BTreeMap<&str, TemplateGroup<'_>> = BTreeMap::new();
    for child in children {
        let deployment = child.entity.deployment();
        let template = deployment
            .and_then(|d| d.template.as_ref())
            .map_or("", |id| id.as_str());
        let group = by_template
            .entry(template)
            .or_insert_with(|| TemplateGroup {
                template,
                members: Vec::new(),
                counts: StateCounts::default(),
            });
        group.members.push(child);
        if let Some(state) = DeploymentState::of(&child.entity) {
            group.counts.add(state);
        }
    }
    by_template.into_values().collect()
}

/// Boxes from left to right: the deployment, its templates, its sites.
fn picture(root: &Record, groups: &[TemplateGroup<'_>]) -> Html {
    let total: usize = groups.iter().map(|group| group.members.len()).sum();
    let is_collapsed =
        |group: &TemplateGroup<'_>| group.members.len() > COLLAPSED || total > MAX_BOXES;
    let rows_of = |group: &TemplateGroup<'_>| {
        if is_collapsed(group) {
            1
        } else {
            group.members.len()
        }
    };
    let rows: usize = groups.iter().map(|group| rows_of(group).max(2)).sum();
    let height = (rows.max(2) * ROW + 10 * groups.len() + 10).max(80);
    let mut drawing = Drawing::start(height);
    let middle = height / 2;
    let title = root.entity.template().map_or("", |id| id.as_str());
    let state = DeploymentState::of(&root.entity).unwrap_or(DeploymentState::Unprepared);
    let mut y = 5;
    for group in groups {
        let rows = rows_of(group);
        let high = rows.max(2) * ROW;
        let at = y + high / 2;
        drawing.edge(250, middle, 350, at);
        let href = if group.template.is_empty() {
            "/deployments".to_owned()
        } else {
            format!("/templates/{}", super::encoded(group.template))
        };
        let name = if group.template.is_empty() {
            "without a template"
        } else {
            group.template
        };
        drawing.boxed(
            (350, at),
            280,
            &href,
            name,
            &format!("{} deployments", number_of(group.members.len())),
            None,
        );
        if is_collapsed(group) {
            drawing.edge(630, at, 730, at);
            drawing.summary((730, at), &group.counts);
        } else {
            for (row, member) in group.members.iter().enumerate() {
                let line = y + (high - rows * ROW) / 2 + row * ROW + ROW / 2;
                drawing.edge(630, at, 730, line);
                let site = member.entity.deployment().and_then(|d| d.site.as_ref());
                let site = site.map_or("no site", |id| id.as_str());
                let state =
                    DeploymentState::of(&member.entity).unwrap_or(DeploymentState::Unprepared);
                drawing.leaf((730, line), &path(&member.entity.key), site, state);
            }
        }
        y += high + 10;
    }
    let href = path(&root.entity.key);
    drawing.boxed(
        (0, middle),
        250,
        &href,
        title,
        root.entity.key.id(),
        Some(state),
    );
    drawing.end()
}

/// An SVG that is being drawn. Points are the middle of the left edge.
struct Drawing(Html);

impl Drawing {
    fn start(height: usize) -> Self {
        let mut html = Html::default();
        html.push_svg(format_args!(
            "<svg class=\"topology\" viewBox=\"0 0 {WIDTH} {height}\" role=\"group\" \
             aria-label=\"Templates and sites of this topology\">"
        ));
        Self(html)
    }

    fn edge(&mut self, x1: usize, y1: usize, x2: usize, y2: usize) {
        let half = usize::midpoint(x1, x2);
        self.0.push_svg(format_args!(
            "<path class=\"edge\" d=\"M{x1} {y1}C{half} {y1} {half} {y2} {x2} {y2}\"/>"
        ));
    }

    fn boxed(
        &mut self,
        (x, y): (usize, usize),
        width: usize,
        href: &str,
        name: &str,
        below: &str,
        state: Option<DeploymentState>,
    ) {
        let top = y.saturating_sub(23);
        self.open(href);
        self.0.push_svg(format_args!(
            "<rect class=\"box\" x=\"{x}.5\" y=\"{top}.5\" width=\"{}\" height=\"46\" rx=\"6\"/>",
            width - 1
        ));
        if let Some(state) = state {
            self.glyph(x + 12, y - 4, state);
        }
        let text = x + if state.is_some() { 30 } else { 12 };
        self.text(text, y - 4, "", &cut(name, (width - 40) / 7));
        self.text(text, y + 13, "sub", &cut(below, (width - 40) / 6));
        self.0.push_raw("</a>");
    }

    fn leaf(&mut self, (x, y): (usize, usize), href: &str, site: &str, state: DeploymentState) {
        self.open(href);
        self.0.push_svg(format_args!(
            "<rect class=\"box\" x=\"{x}.5\" y=\"{}.5\" width=\"{}\" height=\"24\" rx=\"6\"/>",
            y - 12,
            WIDTH - x - 1
        ));
        self.glyph(x + 12, y + 4, state);
        self.text(x + 30, y + 4, "", &cut(site, 36));
        let mut word = String::new();
        // Writing to a string does not fail.
        let _ = write!(word, "{state}");
        self.0.push_svg(format_args!(
            "<text class=\"sub\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{word}</text></a>",
            WIDTH - 12,
            y + 4
        ));
    }

    /// All states of a group in one box.
    fn summary(&mut self, (x, y): (usize, usize), counts: &StateCounts) {
        self.0.push_svg(format_args!(
            "<rect class=\"box\" x=\"{x}.5\" y=\"{}.5\" width=\"{}\" height=\"46\" rx=\"6\"/>",
            y - 23,
            WIDTH - x - 1
        ));
        let room = WIDTH - x - 24;
        let total = usize::try_from(counts.total().max(1)).unwrap_or(usize::MAX);
        let mut at = x + 12;
        let mut words = Vec::new();
        for (state, count) in counts.iter().filter(|(_, count)| *count > 0) {
            let width = (usize::try_from(count)
                .unwrap_or(usize::MAX)
                .saturating_mul(room)
                / total)
                .max(2);
            self.0.push_svg(format_args!(
                "<rect class=\"f-{state}\" x=\"{at}\" y=\"{}\" width=\"{width}\" height=\"8\"/>",
                y - 12
            ));
            at += width;
            words.push(format!("{} {state}", number(count)));
        }
        self.text(x + 12, y + 13, "sub", &cut(&words.join(", "), 56));
    }

    /// The glyph of a state, as in the style sheet.
    fn glyph(&mut self, x: usize, y: usize, state: DeploymentState) {
        let glyph = match state {
            DeploymentState::Scheduled => "●",
            DeploymentState::Approved => "◐",
            DeploymentState::Waiting => "◆",
            DeploymentState::Unprepared => "○",
            DeploymentState::Failing => "▲",
            DeploymentState::Deleting => "×",
        };
        self.0.push_svg(format_args!(
            "<text class=\"f-{state}\" x=\"{x}\" y=\"{y}\">{glyph}</text>"
        ));
    }

    fn text(&mut self, x: usize, y: usize, class: &'static str, text: &str) {
        self.0
            .push_svg(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">"));
        self.0.push(text);
        self.0.push_raw("</text>");
    }

    fn open(&mut self, href: &str) {
        self.0.push_raw("<a href=\"");
        self.0.push(href);
        self.0.push_raw("\">");
    }

    fn end(self) -> Html {
        self.0.raw("</svg>")
    }
}

/// The end of a text that is too long, because ids differ at their end.
fn cut(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length - most + 1).collect();
    format!("…{end}")
}
