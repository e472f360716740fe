//! Draws the page of one entity.

use super::{ScreenTheme, line_of};
use crate::action::{DetailTab, ScreenMap, ScreenPlace};
use crate::state::DetailView;
use crate::text::{safe, tail};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// The widest link.
const LINK: usize = 36;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    view: &DetailView,
    theme: ScreenTheme,
    area: Rect,
    map: &mut ScreenMap,
) {
    let place = |x: u16, y: u16, width: usize| {
        let x = x.min(area.right());
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        Rect::new(x, y, width.min(area.right() - x), 1)
    };
    let mut x = area.x + 1;
    for (key, tab, label) in DetailTab::ALL {
        let text = format!(" {key} {label} ");
        let here = place(x, area.y, text.chars().count());
        let style = if tab == view.tab {
            theme.chosen()
        } else {
            theme.plain()
        };
        frame.render_widget(Line::styled(text, style), here);
        map.add(here, ScreenPlace::Tab(tab));
        x = here.right() + 1;
    }
    let mut top = 1;
    if !view.links.is_empty() {
        let mut x = area.x + 1;
        for (at, (label, _)) in view.links.iter().enumerate() {
            let label = tail(label, LINK);
            let text = format!(" {} {}", at + 1, safe(&label));
            let here = place(x, area.y + 1, text.chars().count());
            frame.render_widget(Line::styled(text, theme.key()), here);
            map.add(here, ScreenPlace::Link(at));
            x = here.right() + 1;
        }
        top = 2;
    }
    let rows = usize::from(area.height).saturating_sub(top);
    if view.record.is_none() {
        let text = if view.problem.is_some() {
            " it could not be read"
        } else {
            " reading…"
        };
        frame.render_widget(Line::styled(text, theme.dim()), line_of(area, top));
        return;
    }
    let is_yaml = matches!(view.tab, DetailTab::Info | DetailTab::Package);
    for (at, text) in view.lines.iter().enumerate().skip(view.top).take(rows) {
        let line = line_of(area, at - view.top + top);
        let line = Rect {
            x: line.x + 1,
            width: line.width.saturating_sub(1),
            ..line
        };
        let shown = if is_yaml {
            highlighted(text, theme)
        } else {
            Line::raw(text.as_str())
        };
        let shown = scrolled(shown, view.left);
        frame.render_widget(shown, line);
        if view.matches.binary_search(&at).is_ok() {
            frame.buffer_mut().set_style(line, theme.matched());
        }
    }
}

/// One line of YAML: keys, comments and marks of documents apart from values.
fn highlighted(text: &str, theme: ScreenTheme) -> Line<'_> {
    let content = text.trim_start();
    if content.starts_with('#') || content.starts_with("---") {
        return Line::styled(text, theme.dim());
    }
    let key = content.trim_start_matches("- ");
    let start = text.len() - key.len();
    let end = match key.find(": ") {
        Some(at) => at,
        None if key.ends_with(':') => key.len() - 1,
        None => return Line::raw(text),
    };
    // A colon within quotes does not end a key.
    if key.starts_with(['"', '\'']) && !key[..end].ends_with(['"', '\'']) {
        return Line::raw(text);
    }
    let end = start + end;
    Line::from(vec![
        Span::raw(&text[..start]),
        Span::styled(&text[start..end], theme.key().patch(Style::new())),
        Span::raw(&text[end..]),
    ])
}

/// A line without its first columns.
fn scrolled(line: Line<'_>, left: usize) -> Line<'_> {
    if left == 0 {
        return line;
    }
    let mut skip = left;
    let spans = line.spans.into_iter().map(|span| {
        let count = span.content.chars().count();
        let rest: String = span.content.chars().skip(skip).collect();
        skip = skip.saturating_sub(count);
        Span::styled(rest, span.style)
    });
    Line::from(spans.collect::<Vec<_>>())
}
