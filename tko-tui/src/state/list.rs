//! [`ListView`]: the list of a kind.

use crate::action::Motion;
use crate::fetch::FetchRequest;
use crate::text::{TimeZoneOffset, safe};
use crate::window::{Growth, RowWindow};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use tko_core::view::FilterLine;
use tko_core::view::{DeploymentState, obstacle};
use tko_core::{Entity, Event, Key, Kind, Page, Result};

/// Maximum number of rows that are marked.
const MAX_MARKED: usize = 500;

/// Maximum number of metadata entries that one cell shows.
const MAX_METADATA: usize = 8;

/// Maximum number of requests that fill the screen without a further action: pages may be short.
const MAX_FILLS: u8 = 4;

/// Maximum number of events that are kept while a page is read.
const MAX_KEPT: usize = 4_096;

/// The list of a kind.
#[derive(Debug)]
pub(crate) struct ListView {
    pub(crate) kind: Kind,
    pub(crate) filter: FilterLine,
    /// The filter line as typed.
    pub(crate) line: String,
    pub(crate) window: RowWindow,
    /// The rows in the order of the screen, as positions in the window.
    order: Vec<usize>,
    /// The selected row in the order of the screen.
    pub(crate) selected: usize,
    pub(crate) column: usize,
    /// The first row that is shown.
    pub(crate) top: usize,
    /// The column by which the loaded rows are sorted, and whether downwards.
    pub(crate) sort: Option<(usize, bool)>,
    pub(crate) marked: BTreeSet<Key>,
    pub(crate) is_loading: bool,
    pub(crate) is_stale: bool,
    pub(crate) problem: Option<String>,
    /// The events since a page was requested. The page may be of a revision before them, although
    /// it arrives after them.
    kept: Vec<Event>,
    pub(super) ticket: u64,
    fills: u8,
    zone: TimeZoneOffset,
}

/// The heads of the columns of a kind.
pub(crate) fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Deployment => &[
            "State",
            "Deployment",
            "Template",
            "Site",
            "What is in the way",
            "Updated",
        ],
        Kind::Site => &["Site", "Template", "Condition", "Metadata", "Updated"],
        Kind::Template => &["Template", "Metadata", "Updated"],
        Kind::Plugin => &["Type", "Plugin", "Executor", "Triggers"],
    }
}

/// The text of a cell, safe to show.
pub(crate) fn cell(entity: &Entity, column: usize, zone: TimeZoneOffset) -> String {
    let Some(head) = columns(entity.key.kind()).get(column) else {
        return String::new();
    };
    let optional = |key: Option<Key>| key.map(|key| key.id().to_owned()).unwrap_or_default();
    let text = match (*head, &entity.key) {
        ("State", _) => DeploymentState::of(entity)
            .map(|state| state.to_string())
            .unwrap_or_default(),
        ("Updated", _) => zone.short(entity.updated),
        ("Metadata", _) => {
            let pairs = entity.metadata.iter();
            let own = pairs.filter(|(key, _)| !key.starts_with(tko_core::metadata::RESERVED));
            let own = own
                .take(MAX_METADATA)
                .map(|(key, value)| format!("{key}={value}"));
            own.collect::<Vec<_>>().join(" ")
        }
        ("What is in the way" | "Condition", _) => obstacle(entity)
            .map(|condition| condition.message.clone())
            .unwrap_or_default(),
        ("Type", Key::Plugin(id)) => id.plugin_type().to_string(),
        ("Plugin", Key::Plugin(id)) => id.name().to_owned(),
        ("Executor", _) => entity
            .plugin()
            .map(|plugin| plugin.executor.clone())
            .unwrap_or_default(),
        ("Triggers", _) => {
            let triggers = entity.plugin().map(|plugin| plugin.triggers.as_slice());
            let triggers = triggers.unwrap_or_default().iter().take(MAX_METADATA);
            let triggers = triggers.map(|gvk| format!("{} {}", gvk.api_version(), gvk.kind));
            triggers.collect::<Vec<_>>().join(", ")
        }
        _ => optional(target(entity, column)),
    };
    safe(&text).into_owned()
}

/// The entity that a cell opens.
fn target(entity: &Entity, column: usize) -> Option<Key> {
    let deployment = entity.deployment();
    match (
        columns(entity.key.kind()).get(column).copied(),
        entity.key.kind(),
    ) {
        (Some("Template"), Kind::Deployment | Kind::Site) => entity.template().map(Key::from),
        (Some("Site"), Kind::Deployment) => {
            deployment.and_then(|one| one.site.as_ref()).map(Key::from)
        }
        _ => Some(entity.key.clone()),
    }
}

impl ListView {
    /// The list of everything of a kind, not loaded yet.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            filter: FilterLine::all(kind),
            line: String::new(),
            window: RowWindow::default(),
            order: Vec::new(),
            selected: 0,
            column: usize::from(matches!(kind, Kind::Deployment | Kind::Plugin)),
            top: 0,
            sort: None,
            marked: BTreeSet::new(),
            is_loading: false,
            is_stale: false,
            problem: None,
            kept: Vec::new(),
            ticket: 0,
            fills: 0,
            zone: TimeZoneOffset::default(),
        }
    }

    /// The number of loaded rows.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// A row in the order of the screen.
    pub(crate) fn row(&self, at: usize) -> Option<&Arc<Entity>> {
        self.window.rows().get(*self.order.get(at)?)
    }

    /// The key of the selected row.
    pub(crate) fn selected_key(&self) -> Option<Key> {
        self.row(self.selected).map(|row| row.key.clone())
    }

    /// The entity that the selected cell opens: the row itself if the cell names none.
    pub(super) fn target(&self) -> Option<Key> {
        let row = self.row(self.selected)?;
        target(row, self.column).or_else(|| Some(row.key.clone()))
    }

    pub(super) fn load(&mut self, ticket: u64) -> FetchRequest {
        (self.ticket, self.is_loading, self.is_stale, self.fills) = (ticket, true, false, 0);
        self.kept.clear();
        FetchRequest::Page {
            ticket,
            growth: None,
            filter: Box::new(self.filter.clone()),
            after: self.window.start(),
        }
    }

    /// The request for the rows that come next in the direction of the selection.
    pub(super) fn fill(&mut self, body: usize, ticket: u64) -> Option<FetchRequest> {
        // Rows are not read automatically without a request, because searching for a state reads
        // many pages.
        let is_searched = self.filter.state.is_some();
        if self.is_loading || self.problem.is_some() || !self.window.is_loaded() {
            return None;
        }
        let growth = if self.selected + body >= self.len() && self.window.can_grow(Growth::After) {
            Growth::After
        } else if self.selected < body && self.window.can_grow(Growth::Before) {
            Growth::Before
        } else {
            return None;
        };
        let most = if is_searched { 1 } else { MAX_FILLS };
        if self.fills >= most {
            return None;
        }
        self.fills += 1;
        let after = self.window.cursor(growth);
        (self.ticket, self.is_loading) = (ticket, true);
        self.kept.clear();
        Some(FetchRequest::Page {
            ticket,
            growth: Some(growth),
            filter: Box::new(self.filter.clone()),
            after,
        })
    }

    pub(super) fn receive(&mut self, growth: Option<Growth>, page: Result<Page>, body: usize) {
        self.is_loading = false;
        let mut kept = std::mem::take(&mut self.kept);
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                // The list is read again soon if that may help.
                self.is_stale |= error.is_retryable();
                self.problem = Some(error.chain());
                return;
            }
        };
        self.problem = None;
        kept.retain(|event| event.revision() > page.revision);
        self.change(body, |window| match growth {
            Some(growth) => window.grow(growth, page),
            None => window.reload(page),
        });
        self.apply(&kept, body);
    }

    pub(super) fn receive_events(&mut self, events: &[Event], body: usize) {
        if self.is_loading {
            self.keep(events);
        }
        self.apply(events, body);
    }

    /// Keeps events for the page that is being read.
    fn keep(&mut self, events: &[Event]) {
        let kind = self.kind;
        let is_of_kind = |event: &&Event| match event {
            Event::Put { record, .. } => record.entity.key.kind() == kind,
            Event::Gone { before, .. } => before.entity.key.kind() == kind,
            _ => false,
        };
        self.kept.extend(events.iter().filter(is_of_kind).cloned());
        if self.kept.len() > MAX_KEPT {
            // Without them, the page has to be read once more.
            self.kept.clear();
            self.is_stale = true;
        }
    }

    /// Changes the rows as the events say.
    fn apply(&mut self, events: &[Event], body: usize) {
        let mut is_stale = false;
        let (filter, kind) = (&self.filter, self.kind);
        let mut window = std::mem::take(&mut self.window);
        let selected = self.row_key_in(&window);
        let mut is_changed = false;
        for event in events {
            is_changed |= match event {
                Event::Put { record, .. } if record.entity.key.kind() == kind => {
                    let entity = &record.entity;
                    match filter.matches(entity) {
                        Some(true) => window.put(entity),
                        Some(false) => window.remove(&entity.key),
                        None => {
                            is_stale = true;
                            window.replace(entity)
                        }
                    }
                }
                Event::Gone { before, .. } => window.remove(&before.entity.key),
                _ => false,
            };
        }
        self.window = window;
        self.is_stale |= is_stale;
        if is_changed {
            self.reorder(selected, body);
        }
    }

    fn row_key_in(&self, window: &RowWindow) -> Option<Key> {
        let at = self.order.get(self.selected)?;
        window.rows().get(*at).map(|row| row.key.clone())
    }

    /// Changes the window; the selected row stays selected.
    fn change(&mut self, body: usize, change: impl FnOnce(&mut RowWindow)) {
        let selected = self.selected_key();
        change(&mut self.window);
        self.reorder(selected, body);
    }

    fn reorder(&mut self, selected: Option<Key>, body: usize) {
        let rows = self.window.rows();
        self.order = (0..rows.len()).collect();
        if let Some((column, is_down)) = self.sort {
            let texts: Vec<_> = rows
                .iter()
                .map(|row| cell(row, column, self.zone))
                .collect();
            self.order.sort_by(|one, other| {
                let order = texts[*one].cmp(&texts[*other]);
                if is_down { order.reverse() } else { order }
            });
        }
        let found = selected.and_then(|key| {
            if self.sort.is_none() {
                return rows.binary_search_by(|row| row.key.cmp(&key)).ok();
            }
            self.order
                .iter()
                .position(|at| rows[*at].key.cmp(&key) == Ordering::Equal)
        });
        let last = self.order.len().saturating_sub(1);
        let before = self.selected;
        self.selected = found.unwrap_or(self.selected).min(last);
        // The selected row stays where it is on the screen.
        if self.selected >= before {
            self.top += self.selected - before;
        } else {
            self.top = self.top.saturating_sub(before - self.selected);
        }
        self.show_selected(body);
    }

    /// Scrolls so that the selected row can be seen.
    pub(super) fn show_selected(&mut self, body: usize) {
        let most = self.order.len().saturating_sub(body);
        self.top = self
            .top
            .max((self.selected + 1).saturating_sub(body))
            .min(self.selected)
            .min(most);
    }

    pub(super) fn go(&mut self, motion: Motion, body: usize) {
        self.fills = 0;
        let last = self.order.len().saturating_sub(1);
        let screen = isize::try_from(body.saturating_sub(1).max(1)).unwrap_or(1);
        let by = |count: i32, size: isize| size.saturating_mul(isize::try_from(count).unwrap_or(0));
        match motion {
            Motion::Lines(lines) => {
                self.selected = self.selected.saturating_add_signed(by(lines, 1)).min(last);
            }
            Motion::Screens(screens) => {
                let lines = by(screens, screen);
                self.top = self.top.saturating_add_signed(lines);
                self.selected = self.selected.saturating_add_signed(lines).min(last);
            }
            Motion::Home if self.window.has_previous() => {
                // The first page is read again, and the pages loaded in between are dropped.
                self.window = RowWindow::default();
                self.order.clear();
                (self.selected, self.top) = (0, 0);
                self.is_stale = true;
            }
            Motion::Home => self.selected = 0,
            Motion::End => self.selected = last,
            Motion::Left => self.column = self.column.saturating_sub(1),
            Motion::Right => self.column = (self.column + 1).min(columns(self.kind).len() - 1),
        }
        self.show_selected(body);
    }

    pub(super) fn select(&mut self, row: usize, column: usize, body: usize) {
        if row < self.order.len() {
            (self.selected, self.column, self.fills) = (row, column, 0);
            self.show_selected(body);
        }
    }

    pub(super) fn mark(&mut self) {
        if let Some(key) = self.selected_key()
            && !self.marked.remove(&key)
            && self.marked.len() < MAX_MARKED
        {
            self.marked.insert(key);
        }
    }

    /// Sorts the loaded rows: upwards, then downwards, then again in the order of the listing.
    pub(super) fn sort_by(&mut self, column: usize, zone: TimeZoneOffset) {
        self.zone = zone;
        self.sort = match self.sort {
            Some((at, false)) if at == column => Some((column, true)),
            Some((at, true)) if at == column => None,
            _ => Some((column, false)),
        };
        let selected = self.selected_key();
        let body = usize::MAX / 2;
        let top = self.top;
        self.reorder(selected, body);
        self.top = top.min(self.selected);
    }
}
