//! [`ScreenAction`]: the actions of keys and mouse, and the places on the screen that take clicks.

use crate::fetch::ChangeVerb;
use ratatui::layout::{Position, Rect};
use tko_core::Kind;
use tui_input::InputRequest;

/// A page of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MenuPage {
    /// The counts, reasons and last changes.
    Overview,
    /// The list of a kind.
    List(Kind),
    /// The server and this program.
    About,
}

impl MenuPage {
    /// All pages in the order of the menu, with their keys.
    pub(crate) const ALL: [(char, Self); 6] = [
        ('o', Self::Overview),
        ('d', Self::List(Kind::Deployment)),
        ('s', Self::List(Kind::Site)),
        ('t', Self::List(Kind::Template)),
        ('p', Self::List(Kind::Plugin)),
        ('a', Self::About),
    ];

    /// The heading of the page.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::List(Kind::Deployment) => "Deployments",
            Self::List(Kind::Site) => "Sites",
            Self::List(Kind::Template) => "Templates",
            Self::List(Kind::Plugin) => "Plugins",
            Self::About => "About",
        }
    }
}

/// A part of the page of one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetailTab {
    /// Everything but the package.
    Info,
    /// The package.
    Package,
    /// The conditions and the due work.
    Conditions,
    /// The changes, newest first.
    History,
}

impl DetailTab {
    /// All parts in the order of the screen, with their keys and labels.
    pub(crate) const ALL: [(char, Self, &str); 4] = [
        ('i', Self::Info, "info"),
        ('y', Self::Package, "package"),
        ('c', Self::Conditions, "conditions"),
        ('h', Self::History, "history"),
    ];
}

/// A move of the selection or of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// Moves this many lines down, or up if negative.
    Lines(i32),
    /// Moves this many screens down, or up if negative.
    Screens(i32),
    /// One column to the left.
    Left,
    /// One column to the right.
    Right,
    /// To the beginning.
    Home,
    /// To the end of what is loaded.
    End,
}

/// An action that a person requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScreenAction {
    Quit,
    Back,
    Keys,
    Menu(MenuPage),
    Move(Motion),
    /// Opens the target of the selected cell.
    Open,
    /// Marks the row for a later approval or deletion, or unmarks it.
    Mark,
    Tab(DetailTab),
    Ask(ChangeVerb),
    /// Makes waiting work of the marked entities, or of this one, due at once.
    Retry,
    /// Opens the line for a filter, or for a search on the page of an entity.
    StartLine,
    /// Opens the line for an id.
    StartGoto,
    /// Goes to the next or, if false, the previous match of the search.
    Match(bool),
    Edit(InputRequest),
    /// Submits the line.
    Submit,
    /// Answers the question.
    Answer(bool),
    /// A click on a place, and whether it is the second one of a double click.
    Click(ScreenPlace, bool),
    /// The terminal has this width and height now.
    Resize(u16, u16),
}

/// A place that takes clicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScreenPlace {
    Menu(MenuPage),
    KeysEntry,
    QuitEntry,
    /// The head of a column.
    Head(usize),
    /// A cell: the row in the order of the screen, and the column.
    Cell(usize, usize),
    Tab(DetailTab),
    /// A related entity or list.
    Link(usize),
    /// A count of the overview.
    Count(usize),
    /// A change of the overview.
    Recent(usize),
    /// The answer to a question.
    Answer(bool),
}

/// The places of a screen that was drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScreenMap(Vec<(Rect, ScreenPlace)>);

impl ScreenMap {
    /// Adds a place. Where areas overlap, the one added last gets the click.
    pub(crate) fn add(&mut self, area: Rect, place: ScreenPlace) {
        self.0.push((area, place));
    }

    /// Removes all places, because something covers them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The place at a position.
    pub(crate) fn at(&self, column: u16, row: u16) -> Option<ScreenPlace> {
        let position = Position::new(column, row);
        let hit = self
            .0
            .iter()
            .rev()
            .find(|(area, _)| area.contains(position));
        hit.map(|(_, place)| *place)
    }

    /// The part of the screen that belongs to a place.
    #[cfg(test)]
    pub(crate) fn area(&self, place: ScreenPlace) -> Option<Rect> {
        let found = self.0.iter().find(|(_, one)| *one == place);
        found.map(|(area, _)| *area)
    }
}
