//! [`Screen`]: everything that is shown, and how actions and replies change it. It does no I/O: it
//! returns the requests to make.

mod detail;
mod list;
mod overview;

pub(crate) use detail::{DetailView, LinkTarget};
pub(crate) use list::{ListView, cell, columns};
pub(crate) use overview::{COUNT_LABELS, OverviewView};

use crate::action::{DetailTab, MenuPage, Motion, ScreenAction, ScreenPlace};
use crate::fetch::{ChangeVerb, FetchReply, FetchRequest};
use crate::filter::{MAX_LINE, RowFilter};
use crate::input::InputMode;
use crate::text::TimeZoneOffset;
use std::collections::VecDeque;
use tko_core::change::FeedPosition;
use tko_core::view::DeploymentState;
use tko_core::{Event, Key, Kind, Timestamp};
use tui_input::Input;

/// Most pages to go back to.
const MAX_BACK: usize = 50;

/// Changes that the overview shows at most.
const MAX_RECENT: usize = 100;

/// Most problems of one change that are shown.
const MAX_PROBLEMS: usize = 3;

/// A page that is shown.
#[derive(Debug)]
pub(crate) enum ScreenView {
    Overview(OverviewView),
    List(Box<ListView>),
    Detail(Box<DetailView>),
    About(AboutView),
}

/// The page about the server.
#[derive(Debug, Default)]
pub(crate) struct AboutView {
    pub(crate) facts: Option<(String, FeedPosition)>,
    pub(crate) problem: Option<String>,
    ticket: u64,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FeedLink {
    Connecting,
    Live,
    Lost(String),
}

/// A line that is typed, or a question.
#[derive(Debug)]
pub(crate) enum ScreenPrompt {
    Filter(Input),
    Search(Input),
    Goto(Input),
    Question(ChangeVerb, Vec<Key>),
}

/// One of the last changes.
#[derive(Clone, Debug)]
pub(crate) struct RecentChange {
    pub(crate) key: Key,
    pub(crate) at: Timestamp,
    pub(crate) state: String,
}

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) view: ScreenView,
    back: Vec<ScreenView>,
    pub(crate) link: FeedLink,
    pub(crate) prompt: Option<ScreenPrompt>,
    /// A message until the next action, and whether it is a problem.
    pub(crate) notice: Option<(String, bool)>,
    pub(crate) shows_keys: bool,
    pub(crate) recent: VecDeque<RecentChange>,
    /// The number of changes that the feed told of.
    pub(crate) changes: u64,
    pub(crate) zone: TimeZoneOffset,
    /// What the program that shows the dashboard says about the server: name and value.
    pub(crate) server: Vec<(String, String)>,
    /// The size of the terminal: width and height.
    pub(crate) size: (u16, u16),
    pub(crate) has_quit: bool,
    ticket: u64,
    find: Option<u64>,
}

impl Screen {
    /// A screen that shows the overview, before anything is connected.
    pub(crate) fn new(zone: TimeZoneOffset, server: Vec<(String, String)>) -> Self {
        Self {
            view: ScreenView::Overview(OverviewView::default()),
            back: Vec::new(),
            link: FeedLink::Connecting,
            prompt: None,
            notice: None,
            shows_keys: false,
            recent: VecDeque::new(),
            changes: 0,
            zone,
            server,
            size: (80, 24),
            has_quit: false,
            ticket: 0,
            find: None,
        }
    }

    /// What takes the keys.
    pub(crate) fn mode(&self) -> InputMode {
        match &self.prompt {
            _ if self.shows_keys => InputMode::Keys,
            None => InputMode::Page,
            Some(ScreenPrompt::Question(..)) => InputMode::Question,
            Some(_) => InputMode::Line,
        }
    }

    /// The page of the menu that the view belongs to.
    pub(crate) fn page(&self) -> MenuPage {
        match &self.view {
            ScreenView::Overview(_) => MenuPage::Overview,
            ScreenView::List(list) => MenuPage::List(list.kind),
            ScreenView::Detail(detail) => MenuPage::List(detail.key.kind()),
            ScreenView::About(_) => MenuPage::About,
        }
    }

    /// Rows or lines that the body of the view shows.
    pub(crate) fn body(&self) -> usize {
        // The title and the status; the heads of a list, or tabs and links of a detail.
        let other = match &self.view {
            ScreenView::Detail(detail) => 3 + u16::from(!detail.links.is_empty()),
            _ => 3,
        };
        usize::from(self.size.1.saturating_sub(other)).max(1)
    }

    /// Makes a change that a person asks for. Returns the requests that it needs.
    pub(crate) fn act(&mut self, action: ScreenAction) -> Vec<FetchRequest> {
        if let ScreenAction::Resize(width, height) = action {
            self.size = (width, height);
            let body = self.body();
            if let ScreenView::List(list) = &mut self.view {
                list.show_selected(body);
            }
            return self.fill();
        }
        self.notice = None;
        if self.shows_keys {
            match action {
                ScreenAction::Quit => self.has_quit = true,
                ScreenAction::Back | ScreenAction::Click(..) => self.shows_keys = false,
                _ => {}
            }
            return Vec::new();
        }
        match action {
            ScreenAction::Quit => self.has_quit = true,
            ScreenAction::Keys => self.shows_keys = true,
            ScreenAction::Back if self.prompt.take().is_some() => {}
            ScreenAction::Back => return self.go_back(),
            ScreenAction::Menu(page) => return self.open_page(page, ""),
            ScreenAction::Move(motion) => return self.go(motion),
            ScreenAction::Open => return self.open_selected(),
            ScreenAction::Mark => {
                if let ScreenView::List(list) = &mut self.view {
                    list.mark();
                    return self.go(Motion::Lines(1));
                }
            }
            ScreenAction::Tab(tab) => return self.open_tab(tab),
            ScreenAction::Ask(verb) => self.ask(verb),
            ScreenAction::StartLine => match &self.view {
                ScreenView::List(list) => {
                    self.prompt = Some(ScreenPrompt::Filter(Input::new(list.line.clone())));
                }
                ScreenView::Detail(_) => self.prompt = Some(ScreenPrompt::Search(Input::default())),
                _ => {}
            },
            ScreenAction::StartGoto => self.prompt = Some(ScreenPrompt::Goto(Input::default())),
            ScreenAction::Match(forward) => {
                let body = self.body();
                if let ScreenView::Detail(detail) = &mut self.view {
                    detail.go_to_match(forward, body);
                }
            }
            ScreenAction::Edit(request) => self.edit(request),
            ScreenAction::Submit => return self.submit(),
            ScreenAction::Answer(yes) => return self.answer(yes),
            ScreenAction::Click(place, is_double) => return self.click(place, is_double),
            ScreenAction::Resize(..) => {}
        }
        Vec::new()
    }

    /// Takes a reply. Returns the requests that it leads to.
    pub(crate) fn receive(&mut self, reply: FetchReply) -> Vec<FetchRequest> {
        match reply {
            FetchReply::Connected { anew } => {
                self.link = FeedLink::Live;
                let requests = self.refresh(anew);
                if anew {
                    self.back.iter_mut().for_each(make_stale);
                }
                return requests;
            }
            FetchReply::Lost(reason) => self.link = FeedLink::Lost(reason),
            FetchReply::Events(events) => self.receive_events(&events),
            FetchReply::Page {
                ticket,
                growth,
                page,
            } => {
                let body = self.body();
                if let Some(ScreenView::List(list)) = self.with_ticket(ticket) {
                    list.receive(growth, page, body);
                    return self.fill();
                }
            }
            FetchReply::Detail { ticket, record } => {
                let zone = self.zone;
                if let Some(ScreenView::Detail(detail)) = self.with_ticket(ticket) {
                    detail.receive(*record, zone);
                }
            }
            FetchReply::History { ticket, changes } => {
                let zone = self.zone;
                if let Some(ScreenView::Detail(detail)) = self.with_ticket(ticket) {
                    detail.receive_history(changes, zone);
                }
            }
            FetchReply::Overview { ticket, facts } => {
                if let Some(ScreenView::Overview(overview)) = self.with_ticket(ticket) {
                    overview.receive(facts);
                }
            }
            FetchReply::About { ticket, about } => {
                if let Some(ScreenView::About(view)) = self.with_ticket(ticket) {
                    match about {
                        Ok(facts) => (view.facts, view.problem) = (Some(facts), None),
                        Err(error) => view.problem = Some(error.chain()),
                    }
                }
            }
            FetchReply::Found { ticket, key } if self.find == Some(ticket) => {
                self.find = None;
                match key {
                    Ok(Some(key)) => return self.open_detail(key, DetailTab::Info),
                    Ok(None) => self.notice = Some(("nothing has this id".to_owned(), true)),
                    Err(error) => self.notice = Some((error.chain(), true)),
                }
            }
            FetchReply::Found { .. } => {}
            FetchReply::Changed {
                verb,
                done,
                problems,
            } => {
                let mut text = format!("{} {done}", verb.done());
                for problem in problems.iter().take(MAX_PROBLEMS) {
                    text.push_str("; ");
                    text.push_str(problem);
                }
                if problems.len() > MAX_PROBLEMS {
                    text.push_str(&format!("; and {} more", problems.len() - MAX_PROBLEMS));
                }
                self.notice = Some((text, !problems.is_empty()));
            }
        }
        Vec::new()
    }

    /// Whether something shown has to be read again, because events alone cannot tell it.
    pub(crate) fn is_stale(&self) -> bool {
        self.link == FeedLink::Live
            && match &self.view {
                ScreenView::Overview(view) => view.is_stale && !view.is_loading,
                ScreenView::List(view) => view.is_stale && !view.is_loading,
                ScreenView::Detail(view) => view.is_stale && !view.is_loading,
                ScreenView::About(_) => false,
            }
    }

    /// Whether a reply is awaited that changes what is shown.
    #[cfg(test)]
    pub(crate) fn is_waiting(&self) -> bool {
        match &self.view {
            ScreenView::Overview(view) => view.is_loading,
            ScreenView::List(view) => view.is_loading,
            ScreenView::Detail(view) => view.is_loading,
            ScreenView::About(view) => view.facts.is_none(),
        }
    }

    /// Reads again what is [stale](Self::is_stale), or, if `all`, everything that is shown.
    pub(crate) fn refresh(&mut self, all: bool) -> Vec<FetchRequest> {
        let has_problem = match &self.view {
            ScreenView::Overview(view) => view.problem.is_some() || view.facts.is_none(),
            ScreenView::List(view) => view.problem.is_some() || !view.window.is_loaded(),
            ScreenView::Detail(view) => view.problem.is_some() || view.record.is_none(),
            ScreenView::About(view) => view.facts.is_none(),
        };
        if all || has_problem || self.is_stale() {
            return self.load();
        }
        Vec::new()
    }

    /// The requests for what the view shows.
    fn load(&mut self) -> Vec<FetchRequest> {
        self.ticket += 1;
        let ticket = self.ticket;
        match &mut self.view {
            ScreenView::Overview(view) => vec![view.load(ticket)],
            ScreenView::List(view) => vec![view.load(ticket)],
            ScreenView::Detail(view) => view.load(ticket),
            ScreenView::About(view) => {
                view.ticket = ticket;
                vec![FetchRequest::About { ticket }]
            }
        }
    }

    /// The request for rows that the view needs and does not have.
    fn fill(&mut self) -> Vec<FetchRequest> {
        let body = self.body();
        match &mut self.view {
            ScreenView::List(list) => {
                let ticket = self.ticket + 1;
                let request = list.fill(body, ticket);
                if request.is_some() {
                    self.ticket = ticket;
                }
                request.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The view that waits for this reply.
    fn with_ticket(&mut self, ticket: u64) -> Option<&mut ScreenView> {
        let waits = |view: &ScreenView| match view {
            ScreenView::Overview(view) => view.ticket == ticket,
            ScreenView::List(view) => view.ticket == ticket,
            ScreenView::Detail(view) => view.ticket == ticket,
            ScreenView::About(view) => view.ticket == ticket,
        };
        std::iter::once(&mut self.view)
            .chain(&mut self.back)
            .find(|view| waits(view))
    }

    fn receive_events(&mut self, events: &[Event]) {
        for event in events {
            let (entity, is_gone) = match event {
                Event::Put { record, .. } => (&record.entity, false),
                Event::Gone { before, .. } => (&before.entity, true),
                Event::Bookmark { .. } => continue,
            };
            self.changes += 1;
            let state = match DeploymentState::of(entity) {
                _ if is_gone => "removed",
                Some(state) => state.as_str(),
                None if entity.deleting => "deleting",
                None => "changed",
            };
            self.recent.push_front(RecentChange {
                key: entity.key.clone(),
                at: entity.updated,
                state: state.to_owned(),
            });
        }
        self.recent.truncate(MAX_RECENT);
        let body = self.body();
        for view in std::iter::once(&mut self.view).chain(&mut self.back) {
            match view {
                ScreenView::Overview(overview) => {
                    overview.is_stale |= events
                        .iter()
                        .any(|event| !matches!(event, Event::Bookmark { .. }));
                }
                ScreenView::List(list) => list.receive_events(events, body),
                ScreenView::Detail(detail) => detail.receive_events(events),
                ScreenView::About(_) => {}
            }
        }
    }

    fn show(&mut self, view: ScreenView) -> Vec<FetchRequest> {
        let left = std::mem::replace(&mut self.view, view);
        self.back.push(left);
        if self.back.len() > MAX_BACK {
            self.back.remove(0);
        }
        self.load()
    }

    fn go_back(&mut self) -> Vec<FetchRequest> {
        if let ScreenView::List(list) = &mut self.view
            && !list.marked.is_empty()
        {
            list.marked.clear();
            return Vec::new();
        }
        let Some(view) = self.back.pop() else {
            return Vec::new();
        };
        self.view = view;
        self.refresh(false)
    }

    /// Opens a page of the menu; a list with a filter line.
    fn open_page(&mut self, page: MenuPage, line: &str) -> Vec<FetchRequest> {
        let view = match page {
            MenuPage::Overview => ScreenView::Overview(OverviewView::default()),
            MenuPage::About => ScreenView::About(AboutView::default()),
            MenuPage::List(kind) => {
                let mut list = ListView::new(kind);
                if let Ok(filter) = RowFilter::parse(kind, line) {
                    (list.filter, list.line) = (filter, line.to_owned());
                }
                ScreenView::List(Box::new(list))
            }
        };
        // The menu begins anew: going back leads to the overview at most.
        if line.is_empty() {
            self.back.clear();
            if page != MenuPage::Overview {
                self.back
                    .push(ScreenView::Overview(OverviewView::default()));
            }
            self.view = view;
            return self.load();
        }
        self.show(view)
    }

    fn open_detail(&mut self, key: Key, tab: DetailTab) -> Vec<FetchRequest> {
        self.show(ScreenView::Detail(Box::new(DetailView::new(key, tab))))
    }

    fn open_link(&mut self, at: usize) -> Vec<FetchRequest> {
        let ScreenView::Detail(detail) = &self.view else {
            return Vec::new();
        };
        match detail.links.get(at).map(|(_, target)| target.clone()) {
            Some(LinkTarget::Entity(key)) => self.open_detail(key, DetailTab::Info),
            Some(LinkTarget::List(kind, line)) => self.open_page(MenuPage::List(kind), &line),
            None => Vec::new(),
        }
    }

    fn open_count(&mut self, at: usize) -> Vec<FetchRequest> {
        match COUNT_LABELS.get(at) {
            Some((_, kind, line)) => self.open_page(MenuPage::List(*kind), line),
            None => Vec::new(),
        }
    }

    fn open_selected(&mut self) -> Vec<FetchRequest> {
        match &self.view {
            ScreenView::Overview(view) => {
                let at = view.selected;
                self.open_count(at)
            }
            ScreenView::List(list) => match list.target() {
                Some(key) => self.open_detail(key, DetailTab::Info),
                None => Vec::new(),
            },
            ScreenView::Detail(_) => self.open_link(0),
            ScreenView::About(_) => Vec::new(),
        }
    }

    fn open_tab(&mut self, tab: DetailTab) -> Vec<FetchRequest> {
        let zone = self.zone;
        match &mut self.view {
            ScreenView::Detail(detail) => {
                let request = detail.open_tab(tab, zone);
                request.into_iter().collect()
            }
            ScreenView::List(list) => match list.selected_key() {
                Some(key) => self.open_detail(key, tab),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn go(&mut self, motion: Motion) -> Vec<FetchRequest> {
        let body = self.body();
        match &mut self.view {
            ScreenView::Overview(view) => view.go(motion),
            ScreenView::List(list) => {
                list.go(motion, body);
                if !list.window.is_loaded() {
                    return self.load();
                }
            }
            ScreenView::Detail(detail) => detail.go(motion, body),
            ScreenView::About(_) => {}
        }
        self.fill()
    }

    fn ask(&mut self, verb: ChangeVerb) {
        let keys = match &self.view {
            ScreenView::List(list) if !list.marked.is_empty() => {
                list.marked.iter().cloned().collect()
            }
            ScreenView::List(list) => list.selected_key().into_iter().collect(),
            ScreenView::Detail(detail) => vec![detail.key.clone()],
            _ => Vec::new(),
        };
        if verb == ChangeVerb::Approve && keys.iter().any(|key| key.kind() != Kind::Deployment) {
            let text = "only deployments can be approved".to_owned();
            self.notice = Some((text, true));
        } else if !keys.is_empty() {
            self.prompt = Some(ScreenPrompt::Question(verb, keys));
        }
    }

    fn answer(&mut self, yes: bool) -> Vec<FetchRequest> {
        let Some(ScreenPrompt::Question(verb, keys)) = self.prompt.take() else {
            return Vec::new();
        };
        if !yes {
            return Vec::new();
        }
        if let ScreenView::List(list) = &mut self.view {
            list.marked.clear();
        }
        vec![FetchRequest::Change { verb, keys }]
    }

    fn edit(&mut self, request: tui_input::InputRequest) {
        let Some(
            ScreenPrompt::Filter(input) | ScreenPrompt::Search(input) | ScreenPrompt::Goto(input),
        ) = &mut self.prompt
        else {
            return;
        };
        let is_insertion = matches!(request, tui_input::InputRequest::InsertChar(_));
        if !is_insertion || input.value().len() < MAX_LINE {
            input.handle(request);
        }
    }

    fn submit(&mut self) -> Vec<FetchRequest> {
        match self.prompt.take() {
            Some(ScreenPrompt::Filter(input)) => {
                let ScreenView::List(list) = &mut self.view else {
                    return Vec::new();
                };
                match RowFilter::parse(list.kind, input.value()) {
                    Ok(filter) => {
                        let mut filtered = ListView::new(list.kind);
                        filtered.line = input.value().trim().to_owned();
                        filtered.filter = filter;
                        **list = filtered;
                        return self.load();
                    }
                    Err(error) => {
                        // The line stays, so that it can be corrected.
                        self.notice = Some((error.to_string(), true));
                        self.prompt = Some(ScreenPrompt::Filter(input));
                    }
                }
            }
            Some(ScreenPrompt::Search(input)) => {
                let body = self.body();
                if let ScreenView::Detail(detail) = &mut self.view {
                    detail.search(input.value());
                    detail.go_to_match(true, body);
                    if detail.matches.is_empty() && !input.value().is_empty() {
                        self.notice = Some((format!("{:?} is not here", input.value()), true));
                    }
                }
            }
            Some(ScreenPrompt::Goto(input)) => return self.find(input.value().trim()),
            other => self.prompt = other,
        }
        Vec::new()
    }

    /// Looks for an id, which may follow a kind: `site lab/1`, or `lab/1`.
    fn find(&mut self, text: &str) -> Vec<FetchRequest> {
        if text.is_empty() {
            return Vec::new();
        }
        let (kinds, id) = match text.split_once(char::is_whitespace) {
            Some((kind, id)) => match kind.parse::<Kind>() {
                Ok(kind) => (vec![kind], id.trim()),
                Err(error) => {
                    self.notice = Some((error.to_string(), true));
                    return Vec::new();
                }
            },
            None => {
                let mut kinds = vec![Kind::Deployment, Kind::Site, Kind::Template, Kind::Plugin];
                if let MenuPage::List(kind) = self.page() {
                    kinds.sort_by_key(|one| *one != kind);
                }
                (kinds, text)
            }
        };
        let keys: Vec<_> = kinds
            .iter()
            .filter_map(|kind| Key::new(*kind, id).ok())
            .collect();
        if keys.is_empty() {
            self.notice = Some((format!("{id:?} is not an id"), true));
            return Vec::new();
        }
        self.ticket += 1;
        self.find = Some(self.ticket);
        vec![FetchRequest::Find {
            ticket: self.ticket,
            keys,
        }]
    }

    fn click(&mut self, place: ScreenPlace, is_double: bool) -> Vec<FetchRequest> {
        if let ScreenPlace::Answer(yes) = place {
            return self.answer(yes);
        }
        self.prompt = None;
        match place {
            ScreenPlace::Menu(page) => return self.open_page(page, ""),
            ScreenPlace::KeysEntry => self.shows_keys = true,
            ScreenPlace::QuitEntry => self.has_quit = true,
            ScreenPlace::Head(column) => {
                if let ScreenView::List(list) = &mut self.view {
                    list.sort_by(column, self.zone);
                }
            }
            ScreenPlace::Cell(row, column) => {
                let body = self.body();
                if let ScreenView::List(list) = &mut self.view {
                    list.select(row, column, body);
                    if is_double {
                        return self.open_selected();
                    }
                    return self.fill();
                }
            }
            ScreenPlace::Tab(tab) => return self.open_tab(tab),
            ScreenPlace::Link(at) => return self.open_link(at),
            ScreenPlace::Count(at) => {
                if let ScreenView::Overview(view) = &mut self.view {
                    view.selected = at;
                }
                if is_double {
                    return self.open_count(at);
                }
            }
            ScreenPlace::Recent(at) => {
                if is_double && let Some(change) = self.recent.get(at) {
                    let key = change.key.clone();
                    return self.open_detail(key, DetailTab::Info);
                }
            }
            ScreenPlace::Answer(_) => {}
        }
        Vec::new()
    }
}

fn make_stale(view: &mut ScreenView) {
    match view {
        ScreenView::Overview(view) => view.is_stale = true,
        ScreenView::List(view) => view.is_stale = true,
        ScreenView::Detail(view) => view.is_stale = true,
        ScreenView::About(view) => view.facts = None,
    }
}
