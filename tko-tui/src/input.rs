//! Keys and mouse, as actions.

use crate::action::{DetailTab, MenuPage, Motion, ScreenAction, ScreenMap};
use crate::fetch::ChangeVerb;
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use std::time::Duration;
use tokio::time::Instant;
use tui_input::InputRequest;

/// The longest time between the clicks of a double click.
const DOUBLE_CLICK: Duration = Duration::from_millis(400);

/// Number of lines that one step of the wheel moves.
const WHEEL: i32 = 3;

/// The part of the screen that takes the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputMode {
    /// The page.
    Page,
    /// A line that is being typed.
    Line,
    /// A question.
    Question,
    /// The list of keys.
    Keys,
}

/// Turns events of the terminal into actions; remembers the last click.
#[derive(Debug, Default)]
pub(crate) struct InputReader {
    last_click: Option<(Instant, u16, u16)>,
}

impl InputReader {
    /// The action of an event; `None` if it has none.
    pub(crate) fn action(
        &mut self,
        event: &Event,
        mode: InputMode,
        map: &ScreenMap,
        now: Instant,
    ) -> Option<ScreenAction> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => key_action(*key, mode),
            Event::Mouse(mouse) => self.mouse(*mouse, mode, map, now),
            Event::Resize(width, height) => Some(ScreenAction::Resize(*width, *height)),
            _ => None,
        }
    }

    fn mouse(
        &mut self,
        mouse: MouseEvent,
        mode: InputMode,
        map: &ScreenMap,
        now: Instant,
    ) -> Option<ScreenAction> {
        match mouse.kind {
            MouseEventKind::ScrollDown => Some(ScreenAction::Move(Motion::Lines(WHEEL))),
            MouseEventKind::ScrollUp => Some(ScreenAction::Move(Motion::Lines(-WHEEL))),
            MouseEventKind::Down(MouseButton::Right) => Some(ScreenAction::Back),
            MouseEventKind::Down(MouseButton::Left) => {
                if mode == InputMode::Keys {
                    return Some(ScreenAction::Back);
                }
                let here = (mouse.column, mouse.row);
                let is_double = self.last_click.is_some_and(|(at, column, row)| {
                    (column, row) == here && now.saturating_duration_since(at) <= DOUBLE_CLICK
                });
                // A third click starts over.
                self.last_click = (!is_double).then_some((now, here.0, here.1));
                let place = map.at(here.0, here.1)?;
                Some(ScreenAction::Click(place, is_double))
            }
            _ => None,
        }
    }
}

fn key_action(key: KeyEvent, mode: InputMode) -> Option<ScreenAction> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && key.code == KeyCode::Char('c') {
        return Some(ScreenAction::Quit);
    }
    match mode {
        InputMode::Page => page_key(key, is_control),
        InputMode::Line => line_key(key, is_control),
        InputMode::Question => match key.code {
            KeyCode::Char('y' | 'Y') => Some(ScreenAction::Answer(true)),
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Some(ScreenAction::Answer(false)),
            _ => None,
        },
        InputMode::Keys => match key.code {
            KeyCode::Char('q') => Some(ScreenAction::Quit),
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char(_) => Some(ScreenAction::Back),
            _ => None,
        },
    }
}

fn page_key(key: KeyEvent, is_control: bool) -> Option<ScreenAction> {
    if is_control {
        return match key.code {
            KeyCode::Char('f') => Some(ScreenAction::Move(Motion::Screens(1))),
            KeyCode::Char('b') => Some(ScreenAction::Move(Motion::Screens(-1))),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Up | KeyCode::Char('k') => ScreenAction::Move(Motion::Lines(-1)),
        KeyCode::Down | KeyCode::Char('j') => ScreenAction::Move(Motion::Lines(1)),
        KeyCode::Left => ScreenAction::Move(Motion::Left),
        KeyCode::Right => ScreenAction::Move(Motion::Right),
        KeyCode::PageUp => ScreenAction::Move(Motion::Screens(-1)),
        KeyCode::PageDown => ScreenAction::Move(Motion::Screens(1)),
        KeyCode::Home | KeyCode::Char('g') => ScreenAction::Move(Motion::Home),
        KeyCode::End | KeyCode::Char('G') => ScreenAction::Move(Motion::End),
        KeyCode::Enter => ScreenAction::Open,
        KeyCode::Esc | KeyCode::Backspace => ScreenAction::Back,
        KeyCode::Char(c) => return letter(c),
        _ => return None,
    })
}

fn letter(c: char) -> Option<ScreenAction> {
    if let Some((_, page)) = MenuPage::ALL.into_iter().find(|(key, _)| *key == c) {
        return Some(ScreenAction::Menu(page));
    }
    if let Some((_, tab, _)) = DetailTab::ALL.into_iter().find(|(key, ..)| *key == c) {
        return Some(ScreenAction::Tab(tab));
    }
    Some(match c {
        'q' => ScreenAction::Quit,
        '?' => ScreenAction::Keys,
        '/' => ScreenAction::StartLine,
        ':' => ScreenAction::StartGoto,
        ' ' => ScreenAction::Mark,
        'n' => ScreenAction::Match(true),
        'N' => ScreenAction::Match(false),
        'A' => ScreenAction::Ask(ChangeVerb::Approve),
        'D' => ScreenAction::Ask(ChangeVerb::Delete),
        'R' => ScreenAction::Retry,
        '1'..='9' => {
            let at = usize::try_from(c.to_digit(10)?.checked_sub(1)?).ok()?;
            ScreenAction::Click(crate::action::ScreenPlace::Link(at), false)
        }
        _ => return None,
    })
}

fn line_key(key: KeyEvent, is_control: bool) -> Option<ScreenAction> {
    let request = match key.code {
        KeyCode::Enter => return Some(ScreenAction::Submit),
        KeyCode::Esc => return Some(ScreenAction::Back),
        KeyCode::Char('a') if is_control => InputRequest::GoToStart,
        KeyCode::Char('e') if is_control => InputRequest::GoToEnd,
        KeyCode::Char('u') if is_control => InputRequest::DeleteLine,
        KeyCode::Char('w') if is_control => InputRequest::DeletePrevWord,
        KeyCode::Char('k') if is_control => InputRequest::DeleteTillEnd,
        KeyCode::Char(c) if !is_control => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    };
    Some(ScreenAction::Edit(request))
}
