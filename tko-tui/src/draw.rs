//! Draws a [`Screen`]: a pure function of the state, which also returns the clickable areas.

mod detail;
mod list;
mod overview;
mod theme;

pub(crate) use theme::ScreenTheme;

use crate::action::{MenuPage, ScreenMap, ScreenPlace};
use crate::fetch::ChangeVerb;
use crate::state::{FeedLink, Screen, ScreenPrompt, ScreenView};
use crate::text::{number, safe, tail};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use tui_input::Input;

/// The width of the menu, with the line at its right.
const MENU: u16 = 15;

/// The smallest size at which anything but a message is drawn.
const SMALLEST: (u16, u16) = (40, 8);

/// Maximum number of ids that a confirmation shows.
const ASKED: usize = 5;

/// The keys, for the help page.
const KEYS: [(&str, &str); 19] = [
    (
        "o d s t p a",
        "overview, deployments, sites, templates, plugins, about",
    ),
    (
        "↑ ↓ PgUp PgDn",
        "move; also j k, Ctrl-B Ctrl-F, and the wheel",
    ),
    ("Home End", "to the beginning; to the end of what is loaded"),
    ("← →", "choose the cell; scroll text sideways"),
    ("Enter", "open what the cell names; also a double click"),
    ("Esc", "back; also a right click"),
    ("/", "filter a list; search a text"),
    ("n N", "next and previous match"),
    (":", "go to an id, such as lab/1 or site lab/1"),
    ("i y c h", "info, package, conditions, history"),
    ("1 to 9", "open a link of the page"),
    ("space", "mark a row"),
    ("A", "approve the marked rows or this one (asks)"),
    ("D", "delete the marked rows or this one (asks)"),
    ("R", "retry what waits for its next attempt, now"),
    ("click a head", "sort the loaded rows"),
    ("?", "these keys"),
    (
        "Ctrl-U Ctrl-W",
        "clear the line, the word before the cursor",
    ),
    ("q Ctrl-C", "quit"),
];

/// Draws the screen. Returns the clickable places.
pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: ScreenTheme) -> ScreenMap {
    let mut map = ScreenMap::default();
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("needs {} × {}", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(text), area);
        return map;
    }
    let rows = [
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ];
    let [title, middle, status] = area.layout(&Layout::vertical(rows));
    let columns = [Constraint::Length(MENU), Constraint::Min(1)];
    let [menu, body] = middle.layout(&Layout::horizontal(columns));
    draw_title(frame, screen, theme, title);
    draw_menu(frame, screen, theme, menu, &mut map);
    match &screen.view {
        ScreenView::Overview(view) => overview::draw(frame, screen, view, theme, body, &mut map),
        ScreenView::List(list) => list::draw(frame, screen, list, theme, body, &mut map),
        ScreenView::Detail(view) => detail::draw(frame, view, theme, body, &mut map),
        ScreenView::About(_) => draw_about(frame, screen, theme, body),
    }
    draw_status(frame, screen, theme, status);
    if let Some(ScreenPrompt::Question(verb, keys)) = &screen.prompt {
        map.clear();
        let count = keys.len();
        let mut lines: Vec<_> = keys
            .iter()
            .take(ASKED)
            .map(|key| Line::from(safe(&key.to_string()).into_owned()))
            .collect();
        if count > ASKED {
            lines.push(Line::from(format!("and {} more", number_of(count - ASKED))));
        }
        draw_question(frame, theme, *verb, count, lines, body, &mut map);
    }
    if screen.shows_keys {
        map.clear();
        draw_keys(frame, theme, area);
    }
    map
}

/// A count for people.
fn number_of(count: usize) -> String {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The part of an area for one line; empty if the line is below the area.
fn line_of(area: Rect, line: usize) -> Rect {
    let at = u16::try_from(line).unwrap_or(u16::MAX).min(area.height);
    let height = u16::from(at < area.height);
    Rect::new(area.x, area.y.saturating_add(at), area.width, height)
}

fn draw_title(frame: &mut Frame<'_>, screen: &Screen, theme: ScreenTheme, area: Rect) {
    let (mark, link, style) = match &screen.link {
        FeedLink::Live => ("●", "live".to_owned(), theme.good()),
        FeedLink::Connecting => ("○", "connecting…".to_owned(), theme.dim()),
        FeedLink::Lost(_) => ("✗", "disconnected, reconnecting…".to_owned(), theme.bad()),
    };
    let mut link = format!("{mark} {link} ");
    if screen.changes > 0 {
        link = format!("{} changes  {link}", number(screen.changes));
    }
    let heading = match &screen.view {
        ScreenView::List(list) if list.line.is_empty() => screen.page().label().to_owned(),
        ScreenView::List(list) => format!("{} {}", screen.page().label(), safe(&list.line)),
        ScreenView::Detail(detail) => {
            let gone = if detail.is_gone { " (removed)" } else { "" };
            format!("{}{gone}", safe(&detail.key.to_string()))
        }
        _ => screen.page().label().to_owned(),
    };
    let width = usize::from(area.width);
    let room = width.saturating_sub(Span::raw(link.as_str()).width() + 7);
    let heading = tail(&heading, room);
    frame.buffer_mut().set_style(area, theme.bar());
    let title = Line::from(vec![
        Span::styled(" TKO  ", theme.strong()),
        Span::raw(heading.into_owned()),
    ]);
    frame.render_widget(title, area);
    // The style of a line would be that of the whole area.
    let link = Line::from(Span::styled(link, style));
    frame.render_widget(link.right_aligned(), area);
}

fn draw_menu(
    frame: &mut Frame<'_>,
    screen: &Screen,
    theme: ScreenTheme,
    area: Rect,
    map: &mut ScreenMap,
) {
    let block = Block::new()
        .borders(ratatui::widgets::Borders::RIGHT)
        .border_style(theme.dim());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut entry = |at: usize, key: char, label: &str, is_here: bool, place: ScreenPlace| {
        let line = line_of(inner, at);
        let style = if is_here {
            theme.chosen()
        } else {
            theme.plain()
        };
        let text = vec![
            Span::styled(format!(" {key} "), theme.key().patch(style)),
            Span::styled(format!("{label:<11}"), style),
        ];
        frame.render_widget(Line::from(text), line);
        map.add(line, place);
    };
    let here = screen.page();
    for (at, (key, page)) in MenuPage::ALL.into_iter().enumerate() {
        entry(at, key, page.label(), page == here, ScreenPlace::Menu(page));
    }
    entry(7, '?', "Keys", false, ScreenPlace::KeysEntry);
    entry(8, 'q', "Quit", false, ScreenPlace::QuitEntry);
}

fn draw_about(frame: &mut Frame<'_>, screen: &Screen, theme: ScreenTheme, area: Rect) {
    let ScreenView::About(view) = &screen.view else {
        return;
    };
    let mut rows = vec![(
        "dashboard".to_owned(),
        format!("tko {}", env!("CARGO_PKG_VERSION")),
    )];
    rows.extend(screen.server.iter().cloned());
    if let Some((backend, position)) = &view.facts {
        rows.push(("backend".to_owned(), backend.clone()));
        rows.push(("server time".to_owned(), screen.zone.time(position.now)));
        rows.push(("last revision".to_owned(), number(position.revision.0)));
        rows.push(("feed kept from".to_owned(), number(position.oldest.0)));
    }
    let mut lines: Vec<_> = rows
        .iter()
        .map(|(name, value)| {
            Line::from(vec![
                Span::styled(format!(" {:<16}", safe(name)), theme.dim()),
                Span::raw(safe(value).into_owned()),
            ])
        })
        .collect();
    let lost = match &screen.link {
        FeedLink::Lost(reason) => Some(reason),
        _ => None,
    };
    for problem in view.problem.iter().chain(lost) {
        lines.push(Line::styled(format!(" {}", safe(problem)), theme.bad()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_status(frame: &mut Frame<'_>, screen: &Screen, theme: ScreenTheme, area: Rect) {
    match &screen.prompt {
        Some(ScreenPrompt::Filter(input)) if screen.notice.is_none() => {
            return draw_line(frame, theme, "filter: ", input, area);
        }
        Some(ScreenPrompt::Search(input)) => {
            return draw_line(frame, theme, "search: ", input, area);
        }
        Some(ScreenPrompt::Goto(input)) => return draw_line(frame, theme, "go to: ", input, area),
        _ => {}
    }
    let problem = match &screen.view {
        ScreenView::Overview(view) => view.problem.as_ref(),
        ScreenView::List(view) => view.problem.as_ref(),
        ScreenView::Detail(view) => view.problem.as_ref(),
        ScreenView::About(_) => None,
    };
    let (text, style) = match (&screen.notice, &screen.link, problem) {
        (Some((text, is_bad)), ..) => {
            let style = if *is_bad { theme.bad() } else { theme.good() };
            (safe(text).into_owned(), style)
        }
        (None, FeedLink::Lost(reason), _) => (safe(reason).into_owned(), theme.bad()),
        (None, _, Some(problem)) => (safe(problem).into_owned(), theme.bad()),
        _ => (hints(screen), theme.dim()),
    };
    frame.render_widget(Line::styled(format!(" {text}"), style), area);
}

fn hints(screen: &Screen) -> String {
    match &screen.view {
        ScreenView::Overview(_) => "Enter list  : go to  ? keys  q quit".to_owned(),
        ScreenView::About(_) => "? keys  q quit".to_owned(),
        ScreenView::Detail(detail) => {
            let (at, all) = (detail.top + 1, detail.lines.len().max(1));
            format!(
                "line {at} of {all}  / search  1-9 links  A approve  R retry  D delete  Esc back"
            )
        }
        ScreenView::List(list) => {
            let mut text = list::position(list);
            if !list.marked.is_empty() {
                text.push_str("  ");
                text.push_str(&number_of(list.marked.len()));
                text.push_str(" marked");
            }
            text.push_str("  / filter  Enter open  space mark  A approve  D delete");
            text
        }
    }
}

fn draw_line(frame: &mut Frame<'_>, theme: ScreenTheme, label: &str, input: &Input, area: Rect) {
    let label_width = u16::try_from(label.len() + 1).unwrap_or(0);
    let width = area.width.saturating_sub(label_width + 1);
    let scroll = input.visual_scroll(usize::from(width));
    let text = safe(input.value());
    frame.render_widget(Line::styled(format!(" {label}"), theme.key()), area);
    let field = Rect::new(area.x + label_width, area.y, width, 1);
    let left = u16::try_from(scroll).unwrap_or(0);
    frame.render_widget(Paragraph::new(text.into_owned()).scroll((0, left)), field);
    let cursor = input.visual_cursor().max(scroll) - scroll;
    let column = field.x + u16::try_from(cursor).unwrap_or(0).min(width);
    frame.set_cursor_position((column, area.y));
}

/// The area of a box in the middle of another area.
fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let x = area.x + (area.width - width) / 2;
    Rect::new(x, area.y + (area.height - height) / 2, width, height)
}

fn draw_question(
    frame: &mut Frame<'_>,
    theme: ScreenTheme,
    verb: ChangeVerb,
    count: usize,
    mut lines: Vec<Line<'_>>,
    area: Rect,
    map: &mut ScreenMap,
) {
    let height = u16::try_from(lines.len() + 4).unwrap_or(u16::MAX);
    let area = middle(area, 60, height);
    let what = if count == 1 {
        "this".to_owned()
    } else {
        number_of(count)
    };
    let title = format!(" {} {what}? ", verb.as_str());
    let block = Block::bordered().title(title).border_style(theme.key());
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    lines.push(Line::default());
    let answers = line_of(inner, lines.len());
    lines.push(Line::styled("  [y] yes    [n] no", theme.key()));
    frame.render_widget(Paragraph::new(lines), inner);
    let half = Rect {
        width: 11.min(answers.width),
        ..answers
    };
    map.add(half, ScreenPlace::Answer(true));
    let x = answers.x + half.width;
    let rest = Rect {
        x,
        width: answers.width - half.width,
        ..answers
    };
    map.add(rest, ScreenPlace::Answer(false));
}

fn draw_keys(frame: &mut Frame<'_>, theme: ScreenTheme, area: Rect) {
    let height = u16::try_from(KEYS.len() + 2).unwrap_or(u16::MAX);
    let area = middle(area, 76, height);
    let lines: Vec<_> = KEYS
        .iter()
        .map(|(key, text)| {
            Line::from(vec![
                Span::styled(format!(" {key:<15}"), theme.key()),
                Span::raw(*text),
            ])
        })
        .collect();
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Keys ").border_style(theme.dim());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod pictures;
#[cfg(test)]
mod tests;
