//! Draws the overview.

use super::{ScreenTheme, line_of};
use crate::action::{ScreenMap, ScreenPlace};
use crate::fetch::COUNT_BOUND;
use crate::state::{COUNT_LABELS, OverviewView, Screen};
use crate::text::{number, safe};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

pub(super) fn draw(
    frame: &mut Frame<'_>,
    screen: &Screen,
    view: &OverviewView,
    theme: ScreenTheme,
    area: Rect,
    map: &mut ScreenMap,
) {
    let counts = u16::try_from(COUNT_LABELS.len() + 1).unwrap_or(u16::MAX);
    let reasons = view.facts.as_ref().map_or(0, |facts| facts.reasons.len());
    let reasons = u16::try_from(reasons.max(1) + 2).unwrap_or(u16::MAX);
    let most = area.height.saturating_sub(counts + 4);
    let parts = [
        Constraint::Length(counts),
        Constraint::Length(reasons.min(most)),
        Constraint::Min(0),
    ];
    let [counts, reasons, recent] = area.layout(&Layout::vertical(parts));
    draw_counts(frame, view, theme, counts, map);
    draw_reasons(frame, view, theme, reasons);
    draw_recent(frame, screen, theme, recent, map);
}

fn draw_counts(
    frame: &mut Frame<'_>,
    view: &OverviewView,
    theme: ScreenTheme,
    area: Rect,
    map: &mut ScreenMap,
) {
    for (at, (label, ..)) in COUNT_LABELS.iter().enumerate() {
        let text = match &view.facts {
            None => "…".to_owned(),
            Some(facts) => match facts.counts.get(at) {
                Some(count) if count.more => format!("over {}", number(COUNT_BOUND)),
                Some(count) => number(count.found),
                None if facts.read.1 => format!("{} or more", number(facts.failing)),
                None => number(facts.failing),
            },
        };
        let style = if view.selected == at {
            theme.chosen()
        } else {
            theme.plain()
        };
        let line = line_of(area, at);
        let line = Rect {
            width: line.width.min(44),
            ..line
        };
        let text = format!(" {label:<24}{text:>18} ");
        frame.render_widget(Line::styled(text, style), line);
        map.add(line, ScreenPlace::Count(at));
    }
}

fn draw_reasons(frame: &mut Frame<'_>, view: &OverviewView, theme: ScreenTheme, area: Rect) {
    let read = match view.facts.as_ref().map(|facts| facts.read) {
        Some((read, true)) => format!(" (of the first {})", super::number_of(read)),
        _ => String::new(),
    };
    let heading = format!(" Why deployments do not get on{read}");
    frame.render_widget(Line::styled(heading, theme.strong()), line_of(area, 0));
    let Some(facts) = &view.facts else {
        return;
    };
    if facts.reasons.is_empty() {
        frame.render_widget(
            Line::styled(" nothing is in the way", theme.dim()),
            line_of(area, 1),
        );
    }
    for (at, (count, is_fault, message)) in facts.reasons.iter().enumerate() {
        let style = if *is_fault {
            theme.bad()
        } else {
            theme.plain()
        };
        let mark = if *is_fault { "▲" } else { "○" };
        let line = Line::from(vec![
            Span::styled(format!(" {mark} {:>8}  ", number(*count)), style),
            Span::raw(safe(message).into_owned()),
        ]);
        frame.render_widget(line, line_of(area, at + 1));
    }
}

fn draw_recent(
    frame: &mut Frame<'_>,
    screen: &Screen,
    theme: ScreenTheme,
    area: Rect,
    map: &mut ScreenMap,
) {
    frame.render_widget(
        Line::styled(" Last changes", theme.strong()),
        line_of(area, 0),
    );
    if screen.recent.is_empty() {
        let text = " none since this dashboard began";
        frame.render_widget(Line::styled(text, theme.dim()), line_of(area, 1));
    }
    let room = usize::from(area.height.saturating_sub(1));
    for (at, change) in screen.recent.iter().enumerate().take(room) {
        let line = line_of(area, at + 1);
        let text = Line::from(vec![
            Span::styled(format!(" {}  ", screen.zone.short(change.at)), theme.dim()),
            Span::raw(format!("{:<11}", change.state)),
            Span::raw(safe(&change.key.to_string()).into_owned()),
        ]);
        frame.render_widget(text, line);
        map.add(line, ScreenPlace::Recent(at));
    }
}
