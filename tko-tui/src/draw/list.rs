//! Draws lists.

use super::{ScreenTheme, line_of, number_of};
use crate::action::{ScreenMap, ScreenPlace};
use crate::state::{ListView, Screen, cell, columns};
use crate::text::tail;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use tko_core::Kind;
use tko_core::view::DeploymentState;

/// The narrowest list that shows all columns.
const WIDE: u16 = 100;

/// The widest column of a template's or site's id in the list of deployments.
const WIDEST_ID: u16 = 30;

/// The columns that are shown, each with its width.
fn widths(kind: Kind, width: u16) -> Vec<(usize, u16)> {
    // A fixed width, or 0 for a share of the rest.
    let wanted: &[(usize, u16)] = match (kind, width >= WIDE) {
        (Kind::Deployment, true) => &[(0, 12), (1, 20), (2, 0), (3, 0), (4, 0), (5, 14)],
        (Kind::Deployment, false) => &[(0, 12), (1, 20), (2, 0), (3, 0)],
        (Kind::Site, true) => &[(0, 0), (1, 0), (2, 0), (3, 0), (4, 14)],
        (Kind::Site, false) => &[(0, 0), (1, 0), (2, 0)],
        (Kind::Template, true) => &[(0, 0), (1, 0), (2, 14)],
        (Kind::Template, false) => &[(0, 0), (1, 0)],
        (Kind::Plugin, _) => &[(0, 8), (1, 0), (2, 10), (3, 0)],
    };
    // Before each column stands a space; before the first one the mark of the row.
    let gaps = u16::try_from(wanted.len()).unwrap_or(0);
    let fixed: u16 = wanted.iter().map(|(_, width)| width).sum();
    let shares = u16::try_from(wanted.iter().filter(|(_, width)| *width == 0).count()).unwrap_or(1);
    let rest = width.saturating_sub(fixed + gaps);
    let share = (rest / shares.max(1)).max(4);
    // On wide terminals the reason, which is longer, gets the width that ids do not need.
    let (id, reason) = if kind == Kind::Deployment && width >= WIDE {
        let id = share.min(WIDEST_ID);
        (id, rest.saturating_sub(2 * id).max(4))
    } else {
        (share, share)
    };
    let sized = wanted.iter().map(|(column, width)| {
        let width = match (*width, *column) {
            (0, 4) => reason,
            (0, _) => id,
            (width, _) => width,
        };
        (*column, width)
    });
    sized.collect()
}

/// The position of the selection, as text.
pub(super) fn position(list: &ListView) -> String {
    if list.is_loading && list.len() == 0 {
        return "reading…".to_owned();
    }
    if list.len() == 0 {
        return "nothing matches".to_owned();
    }
    let more = if list.window.has_next() { "+" } else { "" };
    let before = if list.window.has_previous() {
        "…"
    } else {
        ""
    };
    let (at, all) = (number_of(list.selected + 1), number_of(list.len()));
    let sorted = if list.sort.is_some() {
        ", loaded rows sorted"
    } else {
        ""
    };
    format!("{before}{at}/{all}{more}{sorted}")
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    screen: &Screen,
    list: &ListView,
    theme: ScreenTheme,
    area: Rect,
    map: &mut ScreenMap,
) {
    let head = line_of(area, 0);
    let shown = widths(list.kind, area.width);
    let rows = usize::from(area.height.saturating_sub(1));
    let places = || {
        let mut x = area.x;
        shown.iter().map(move |(column, width)| {
            let place = (*column, x + 1, *width);
            x += width + 1;
            place
        })
    };
    let end = area.right();
    let part = |x: u16, y: u16, width: u16| {
        let x = x.min(end);
        Rect::new(x, y, width.min(end - x), 1)
    };
    for (column, x, width) in places() {
        let arrow = match list.sort {
            Some((at, false)) if at == column => "▲",
            Some((at, true)) if at == column => "▼",
            _ => "",
        };
        let label = columns(list.kind).get(column).copied().unwrap_or_default();
        let area = part(x, head.y, width);
        frame.render_widget(
            Line::styled(format!("{label}{arrow}"), theme.strong()),
            area,
        );
        map.add(area, ScreenPlace::Head(column));
    }
    if list.len() == 0 {
        let text = if list.is_loading || !list.window.is_loaded() {
            " reading…"
        } else if list.window.has_next() {
            " nothing in the first rows; PgDn searches on"
        } else if list.line.is_empty() {
            " there is nothing here yet"
        } else {
            " nothing matches"
        };
        frame.render_widget(Line::styled(text, theme.dim()), line_of(area, 2));
    }
    for line in 0..rows {
        let at = list.top + line;
        let Some(entity) = list.row(at) else {
            break;
        };
        let area = line_of(area, line + 1);
        let is_selected = at == list.selected;
        if list.marked.contains(&entity.key) {
            frame.render_widget(Line::styled("*", theme.key()), part(area.x, area.y, 1));
        }
        for (column, x, width) in places() {
            let mut text = cell(entity, column, screen.zone);
            let mut style = theme.plain();
            match columns(list.kind).get(column).copied() {
                Some("State") => {
                    if let Some(state) = DeploymentState::of(entity) {
                        let (mark, own) = theme.state(state);
                        style = own;
                        text = format!("{mark} {text}");
                    }
                }
                Some("Updated" | "Metadata" | "What is in the way" | "Condition") => {
                    style = theme.dim();
                }
                _ => text = tail(&text, usize::from(width)).into_owned(),
            }
            let area = part(x, area.y, width);
            frame.render_widget(Line::styled(text, style), area);
            map.add(area, ScreenPlace::Cell(at, column));
        }
        if is_selected {
            // Colours of cells would become those of their background.
            let chosen = Style::new().fg(Color::Reset).patch(theme.chosen());
            frame.buffer_mut().set_style(area, chosen);
            let mut places = places();
            if let Some((_, x, width)) = places.find(|(column, ..)| *column == list.column) {
                let cell = part(x, area.y, width);
                frame.buffer_mut().set_style(cell, theme.key());
            }
        }
    }
}
