//! [`DetailView`]: the page of one entity.

use crate::action::{DetailTab, Motion};
use crate::fetch::FetchRequest;
use crate::text::{TimeZoneOffset, safe};
use tko_core::change::ChangeRecord;
use tko_core::encoding::{Format, encode};
use tko_core::view::{self, DeploymentState};
use tko_core::{Error, Event, Key, Kind, Record, Result, Stage};

/// Maximum number of lines that are shown of one entity.
const MAX_LINES: usize = 20_000;

/// The width at which messages are wrapped.
const WRAP: usize = 60;

/// Number of columns that one step to the side scrolls.
const SIDEWAYS: usize = 8;

/// The thing that a link opens.
#[derive(Clone, Debug)]
pub(crate) enum LinkTarget {
    /// The page of an entity.
    Entity(Key),
    /// A list with a filter line.
    List(Kind, String),
}

/// The page of one entity.
#[derive(Debug)]
pub(crate) struct DetailView {
    pub(crate) key: Key,
    pub(crate) tab: DetailTab,
    pub(crate) record: Option<Record>,
    changes: Option<Vec<ChangeRecord>>,
    /// The text of the tab, safe to show.
    pub(crate) lines: Vec<String>,
    pub(crate) top: usize,
    /// The first column that is shown.
    pub(crate) left: usize,
    pub(crate) links: Vec<(String, LinkTarget)>,
    pub(crate) needle: String,
    /// The lines that match the search.
    pub(crate) matches: Vec<usize>,
    pub(crate) is_gone: bool,
    pub(crate) is_loading: bool,
    pub(crate) is_stale: bool,
    pub(crate) problem: Option<String>,
    pub(super) ticket: u64,
}

impl DetailView {
    /// The page of an entity, not loaded yet.
    pub(crate) fn new(key: Key, tab: DetailTab) -> Self {
        Self {
            key,
            tab,
            record: None,
            changes: None,
            lines: Vec::new(),
            top: 0,
            left: 0,
            links: Vec::new(),
            needle: String::new(),
            matches: Vec::new(),
            is_gone: false,
            is_loading: false,
            is_stale: false,
            problem: None,
            ticket: 0,
        }
    }

    pub(super) fn load(&mut self, ticket: u64) -> Vec<FetchRequest> {
        (self.ticket, self.is_loading, self.is_stale) = (ticket, true, false);
        let mut requests = vec![FetchRequest::Detail {
            ticket,
            key: self.key.clone(),
        }];
        if self.tab == DetailTab::History {
            requests.push(FetchRequest::History {
                ticket,
                key: self.key.clone(),
            });
        } else {
            self.changes = None;
        }
        requests
    }

    /// Shows another part. The history is read only when it is shown.
    pub(super) fn open_tab(
        &mut self,
        tab: DetailTab,
        zone: TimeZoneOffset,
    ) -> Option<FetchRequest> {
        (self.tab, self.top, self.left) = (tab, 0, 0);
        self.write(zone);
        if tab == DetailTab::History && self.changes.is_none() {
            let (ticket, key) = (self.ticket, self.key.clone());
            return Some(FetchRequest::History { ticket, key });
        }
        None
    }

    pub(super) fn receive(&mut self, record: Result<Record>, zone: TimeZoneOffset) {
        self.is_loading = false;
        match record {
            Ok(record) => {
                self.problem = None;
                self.is_gone = false;
                self.links = links(&record);
                self.record = Some(record);
                self.write(zone);
            }
            // The content that was read last stays visible.
            Err(Error::NotFound(_)) if self.record.is_some() => self.is_gone = true,
            Err(error) => {
                self.is_stale |= error.is_retryable();
                self.problem = Some(error.chain());
            }
        }
    }

    pub(super) fn receive_history(
        &mut self,
        changes: Result<Vec<ChangeRecord>>,
        zone: TimeZoneOffset,
    ) {
        match changes {
            Ok(changes) => {
                self.changes = Some(changes);
                self.write(zone);
            }
            Err(error) => self.problem = Some(error.chain()),
        }
    }

    pub(super) fn receive_events(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Put { record, .. } if record.entity.key == self.key => self.is_stale = true,
                Event::Gone { before, .. } if before.entity.key == self.key => {
                    self.is_gone = true;
                    // A record that is being read may be of a revision before the deletion.
                    self.is_stale |= self.is_loading;
                }
                _ => {}
            }
        }
    }

    /// Writes the text of the tab.
    fn write(&mut self, zone: TimeZoneOffset) {
        let Some(record) = &self.record else {
            return;
        };
        self.lines = match self.tab {
            DetailTab::Info => yaml(&encode([&view::detail(record, None)], Format::Yaml)),
            DetailTab::Package => match &record.package {
                Some(package) if !package.is_empty() => yaml(&package.encode(Format::Yaml)),
                _ => vec!["# the package is empty".to_owned()],
            },
            DetailTab::Conditions => conditions(record, zone),
            DetailTab::History => match &self.changes {
                Some(changes) => history(changes, zone),
                None => vec!["reading the history…".to_owned()],
            },
        };
        self.top = self.top.min(self.lines.len().saturating_sub(1));
        self.find_matches();
    }

    pub(super) fn go(&mut self, motion: Motion, body: usize) {
        let last = self.lines.len().saturating_sub(body);
        let by = |count: i32, size: usize| {
            let count = isize::try_from(count).unwrap_or(0);
            count.saturating_mul(isize::try_from(size).unwrap_or(1))
        };
        match motion {
            Motion::Lines(lines) => self.top = self.top.saturating_add_signed(by(lines, 1)),
            Motion::Screens(screens) => {
                self.top = self
                    .top
                    .saturating_add_signed(by(screens, body.saturating_sub(1)));
            }
            Motion::Home => (self.top, self.left) = (0, 0),
            Motion::End => self.top = last,
            Motion::Left => self.left = self.left.saturating_sub(SIDEWAYS),
            Motion::Right => self.left = (self.left + SIDEWAYS).min(4_096),
        }
        self.top = self.top.min(last);
    }

    pub(super) fn search(&mut self, needle: &str) {
        needle.clone_into(&mut self.needle);
        self.find_matches();
    }

    fn find_matches(&mut self) {
        self.matches.clear();
        if self.needle.is_empty() {
            return;
        }
        let needle = self.needle.to_lowercase();
        let lines = self.lines.iter().enumerate();
        let found = lines.filter(|(_, line)| line.to_lowercase().contains(&needle));
        self.matches.extend(found.map(|(at, _)| at));
    }

    /// Shows the next or previous match, around the ends.
    pub(super) fn go_to_match(&mut self, forward: bool, body: usize) {
        let here = self.top;
        let last = self.lines.len().saturating_sub(body);
        // Matches on the last screen cannot come to its top: there they are visited one by one.
        let next = if forward {
            self.matches
                .iter()
                .find(|at| **at > here)
                .or(self.matches.first())
        } else {
            self.matches
                .iter()
                .rev()
                .find(|at| **at < here)
                .or(self.matches.last())
        };
        if let Some(next) = next {
            self.top = (*next).min(last);
        }
    }
}

fn yaml(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .take(MAX_LINES)
        .map(|line| safe(line).into_owned())
        .collect()
}

fn links(record: &Record) -> Vec<(String, LinkTarget)> {
    let entity = &record.entity;
    let mut links = Vec::new();
    let mut add = |label: &str, key: Key| {
        links.push((format!("{label} {}", key.id()), LinkTarget::Entity(key)));
    };
    if let Some(template) = entity
        .template()
        .filter(|_| entity.key.kind() != Kind::Template)
    {
        add("template", template.into());
    }
    if let Some(deployment) = entity.deployment() {
        if let Some(site) = &deployment.site {
            add("site", site.into());
        }
        if let Some((placed, _)) = &deployment.placed
            && deployment.site.as_ref() != Some(placed)
        {
            add("still on", placed.into());
        }
        if let Some(parent) = &deployment.parent {
            add("parent", parent.into());
        }
    }
    let id = entity.key.id();
    let line = match entity.key.kind() {
        Kind::Template => Some(("deployments", format!("--template-id {id}"))),
        Kind::Site => Some(("deployments", format!("--site-id {id}"))),
        Kind::Deployment => Some(("children", format!("--parent {id}"))),
        Kind::Plugin => None,
    };
    if let Some((label, line)) = line {
        links.push((label.to_owned(), LinkTarget::List(Kind::Deployment, line)));
    }
    links
}

fn conditions(record: &Record, zone: TimeZoneOffset) -> Vec<String> {
    let entity = &record.entity;
    let mut lines = Vec::new();
    if let Some(state) = DeploymentState::of(entity) {
        lines.push(format!("state: {state}"));
        lines.push(String::new());
    }
    for condition in &entity.conditions {
        let status = match condition.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let (kind, reason) = (safe(&condition.kind), safe(&condition.reason));
        lines.push(format!(
            "{kind}: {status}  {reason}  since {}",
            zone.time(condition.since)
        ));
        lines.extend(wrapped(&safe(&condition.message)));
        lines.push(String::new());
    }
    for work in &record.work {
        let stage = match work.stage {
            Stage::Prepare => "prepare",
            Stage::Schedule => "schedule",
            Stage::Delete => "delete",
        };
        let (attempts, due) = (work.attempts, zone.time(work.due));
        lines.push(format!("work: {stage}  attempts {attempts}  due {due}"));
        if let Some(error) = &work.error {
            lines.extend(wrapped(&safe(error)));
        }
    }
    if lines.is_empty() {
        lines.push("there are no conditions".to_owned());
    }
    lines.truncate(MAX_LINES);
    lines
}

fn history(changes: &[ChangeRecord], zone: TimeZoneOffset) -> Vec<String> {
    let mut lines = Vec::new();
    for change in changes {
        let what = match (&change.before, &change.after) {
            (None, _) => "created".to_owned(),
            (_, None) => "removed".to_owned(),
            (Some(before), Some(after)) => {
                let (old, new) = (&before.entity, &after.entity);
                if old.deleting != new.deleting {
                    "deletion began".to_owned()
                } else if old.generation != new.generation {
                    format!("package changed, generation {}", new.generation)
                } else if old.conditions != new.conditions {
                    "conditions changed".to_owned()
                } else {
                    "changed".to_owned()
                }
            }
        };
        let time = zone.time(change.at);
        lines.push(format!("{time}  revision {}  {what}", change.revision));
        if let Some(cause) = &change.cause {
            lines.extend(wrapped(&safe(cause.as_str())));
        }
    }
    if lines.is_empty() {
        lines.push("the feed keeps no changes of this entity".to_owned());
    }
    lines
}

/// Breaks text into indented lines at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WRAP {
            lines.push(format!("  {line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(format!("  {line}"));
    }
    lines
}
