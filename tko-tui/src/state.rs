//! [`Screen`]: everything that is shown, and how actions and replies change it. It does no I/O: it
//! returns the requests to make.

mod detail;
mod list;
mod navigation;
mod overview;

pub(crate) use detail::{DetailView, LinkTarget};
pub(crate) use list::{ListView, cell, columns};
pub(crate) use overview::{COUNT_LABELS, OverviewView};

use crate::action::{DetailTab, MenuPage, Motion, ScreenAction};
use crate::fetch::{ChangeVerb, FetchReply, FetchRequest};
use crate::input::InputMode;
use crate::text::TimeZoneOffset;
use std::collections::VecDeque;
use tko_core::change::FeedPosition;
use tko_core::view::DeploymentState;
use tko_core::{Event, Key, Timestamp};
use tui_input::Input;

/// Maximum number of pages to go back to.
const MAX_BACK: usize = 50;

/// Maximum number of changes that the overview shows.
const MAX_RECENT: usize = 100;

/// Maximum number of problems of one change that are shown.
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
    /// The number of changes that the feed reported.
    pub(crate) changes: u64,
    pub(crate) zone: TimeZoneOffset,
    /// Details of the server, from the program that shows the dashboard: name and value.
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

    /// The part of the screen that takes the keys.
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

    /// Number of rows or lines that the body of the view shows.
    pub(crate) fn body(&self) -> usize {
        // The title and the status; the heads of a list, or tabs and links of a detail.
        let other = match &self.view {
            ScreenView::Detail(detail) => 3 + u16::from(!detail.links.is_empty()),
            _ => 3,
        };
        usize::from(self.size.1.saturating_sub(other)).max(1)
    }

    /// Performs an action that a person requests. Returns the requests that it needs.
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
            ScreenAction::Retry => return self.retry(),
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
                    text.push_str("; and more");
                }
                self.notice = Some((text, !problems.is_empty()));
            }
        }
        Vec::new()
    }

    /// Whether something shown has to be read again, because events alone are not enough.
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
                _ => continue,
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
}

fn make_stale(view: &mut ScreenView) {
    match view {
        ScreenView::Overview(view) => view.is_stale = true,
        ScreenView::List(view) => view.is_stale = true,
        ScreenView::Detail(view) => view.is_stale = true,
        ScreenView::About(view) => view.facts = None,
    }
}
