//! Navigation: opening pages, going back, lines, questions and clicks.

use super::{
    AboutView, COUNT_LABELS, DetailView, LinkTarget, ListView, MAX_BACK, OverviewView, Screen,
    ScreenPrompt, ScreenView,
};
use crate::action::{DetailTab, MenuPage, Motion, ScreenPlace};
use crate::fetch::{ChangeVerb, FetchRequest};
use tko_core::view::{FilterLine, MAX_FILTER_LINE};
use tko_core::{Key, Kind};

impl Screen {
    pub(super) fn show(&mut self, view: ScreenView) -> Vec<FetchRequest> {
        let left = std::mem::replace(&mut self.view, view);
        self.back.push(left);
        if self.back.len() > MAX_BACK {
            self.back.remove(0);
        }
        self.load()
    }

    pub(super) fn go_back(&mut self) -> Vec<FetchRequest> {
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
    pub(super) fn open_page(&mut self, page: MenuPage, line: &str) -> Vec<FetchRequest> {
        let view = match page {
            MenuPage::Overview => ScreenView::Overview(OverviewView::default()),
            MenuPage::About => ScreenView::About(AboutView::default()),
            MenuPage::List(kind) => {
                let mut list = ListView::new(kind);
                if let Ok(filter) = FilterLine::parse(kind, line) {
                    (list.filter, list.line) = (filter, line.to_owned());
                }
                ScreenView::List(Box::new(list))
            }
        };
        // The menu starts over: going back leads at most to the overview.
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

    pub(super) fn open_detail(&mut self, key: Key, tab: DetailTab) -> Vec<FetchRequest> {
        self.show(ScreenView::Detail(Box::new(DetailView::new(key, tab))))
    }

    pub(super) fn open_link(&mut self, at: usize) -> Vec<FetchRequest> {
        let ScreenView::Detail(detail) = &self.view else {
            return Vec::new();
        };
        match detail.links.get(at).map(|(_, target)| target.clone()) {
            Some(LinkTarget::Entity(key)) => self.open_detail(key, DetailTab::Info),
            Some(LinkTarget::List(kind, line)) => self.open_page(MenuPage::List(kind), &line),
            None => Vec::new(),
        }
    }

    pub(super) fn open_count(&mut self, at: usize) -> Vec<FetchRequest> {
        match COUNT_LABELS.get(at) {
            Some((_, kind, line)) => self.open_page(MenuPage::List(*kind), line),
            None => Vec::new(),
        }
    }

    pub(super) fn open_selected(&mut self) -> Vec<FetchRequest> {
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

    pub(super) fn open_tab(&mut self, tab: DetailTab) -> Vec<FetchRequest> {
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

    pub(super) fn go(&mut self, motion: Motion) -> Vec<FetchRequest> {
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

    /// The marked entities, or the one that is selected or shown.
    fn chosen(&self) -> Vec<Key> {
        match &self.view {
            ScreenView::List(list) if !list.marked.is_empty() => {
                list.marked.iter().cloned().collect()
            }
            ScreenView::List(list) => list.selected_key().into_iter().collect(),
            ScreenView::Detail(detail) => vec![detail.key.clone()],
            _ => Vec::new(),
        }
    }

    pub(super) fn retry(&mut self) -> Vec<FetchRequest> {
        let keys = self.chosen();
        if keys.is_empty() {
            return Vec::new();
        }
        if let ScreenView::List(list) = &mut self.view {
            list.marked.clear();
        }
        let verb = ChangeVerb::Retry;
        vec![FetchRequest::Change { verb, keys }]
    }

    pub(super) fn ask(&mut self, verb: ChangeVerb) {
        let keys = self.chosen();
        if verb == ChangeVerb::Approve && keys.iter().any(|key| key.kind() != Kind::Deployment) {
            let text = "only deployments can be approved".to_owned();
            self.notice = Some((text, true));
        } else if !keys.is_empty() {
            self.prompt = Some(ScreenPrompt::Question(verb, keys));
        }
    }

    pub(super) fn answer(&mut self, yes: bool) -> Vec<FetchRequest> {
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

    pub(super) fn edit(&mut self, request: tui_input::InputRequest) {
        let Some(
            ScreenPrompt::Filter(input) | ScreenPrompt::Search(input) | ScreenPrompt::Goto(input),
        ) = &mut self.prompt
        else {
            return;
        };
        let is_insertion = matches!(request, tui_input::InputRequest::InsertChar(_));
        if !is_insertion || input.value().len() < MAX_FILTER_LINE {
            input.handle(request);
        }
    }

    pub(super) fn submit(&mut self) -> Vec<FetchRequest> {
        match self.prompt.take() {
            Some(ScreenPrompt::Filter(input)) => {
                let ScreenView::List(list) = &mut self.view else {
                    return Vec::new();
                };
                match FilterLine::parse(list.kind, input.value()) {
                    Ok(filter) => {
                        let mut filtered = ListView::new(list.kind);
                        input.value().trim().clone_into(&mut filtered.line);
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
    pub(super) fn find(&mut self, text: &str) -> Vec<FetchRequest> {
        if text.is_empty() {
            return Vec::new();
        }
        let (kinds, id) = if let Some((kind, id)) = text.split_once(char::is_whitespace) {
            match kind.parse::<Kind>() {
                Ok(kind) => (vec![kind], id.trim()),
                Err(error) => {
                    self.notice = Some((error.to_string(), true));
                    return Vec::new();
                }
            }
        } else {
            let mut kinds = vec![Kind::Deployment, Kind::Site, Kind::Template, Kind::Plugin];
            if let MenuPage::List(kind) = self.page() {
                kinds.sort_by_key(|one| *one != kind);
            }
            (kinds, text)
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

    pub(super) fn click(&mut self, place: ScreenPlace, is_double: bool) -> Vec<FetchRequest> {
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
