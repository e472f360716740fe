//! Pictures of the dashboard for docs/terminal.md, drawn as SVG from the screens of tests.
//!
//! `TKO_TEST_PICTURES=write` writes them; otherwise they are compared.

use crate::fixture::{TestDashboard, TestStore};
use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::event::KeyCode;
use ratatui::style::{Color, Modifier};
use std::fmt::Write;
use std::path::PathBuf;

/// The columns and rows of the pictures.
const SIZE: (u16, u16) = (120, 28);

/// The width of a character and the height of a line, in pixels, for a font of 13 pixels.
const CELL: (usize, usize) = (8, 18);

/// Space around the text, in pixels.
const MARGIN: usize = 12;

const BACKGROUND: &str = "#16202c";
const FOREGROUND: &str = "#d7e0ea";

#[tokio::test]
async fn the_overview() {
    picture("overview", "The overview", "", "no address pool").await;
}

#[tokio::test]
async fn the_list_of_deployments() {
    picture("deployments", "The list of deployments", "d", "✗ failing").await;
}

#[tokio::test]
async fn the_conditions_of_a_deployment() {
    picture(
        "conditions",
        "The conditions of a deployment",
        "djjjjc",
        "PluginFailed",
    )
    .await;
}

/// Goes to a page by these keys, waits for a text, and draws or compares its picture.
async fn picture(name: &str, title: &str, keys: &str, text: &str) {
    let store = TestStore::filled().await;
    let mut dashboard = TestDashboard::start(&store, SIZE.0, SIZE.1).await;
    dashboard.until("Why deployments").await;
    for c in keys.chars() {
        dashboard.key(KeyCode::Char(c)).await;
        dashboard
            .until_that("the replies", |driver| !driver.screen.is_waiting())
            .await;
    }
    dashboard.until(text).await;
    let drawn = svg(title, dashboard.driver.terminal().backend().buffer());
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/screenshots")
        .join(format!("terminal-{name}.svg"));
    if std::env::var("TKO_TEST_PICTURES").is_ok_and(|what| what == "write") {
        std::fs::write(&file, &drawn).expect("the folder is there");
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == drawn,
        "{} is out of date; run TKO_TEST_PICTURES=write cargo xtask test -p tko-tui pictures",
        file.display()
    );
}

fn svg(title: &str, screen: &Buffer) -> String {
    let (columns, rows) = (screen.area.width, screen.area.height);
    let width = usize::from(columns) * CELL.0 + 2 * MARGIN;
    let height = usize::from(rows) * CELL.1 + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title} in the terminal</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"13\" style=\"white-space: pre\">\n"
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let style = &screen[(column, row)];
            let first = column;
            let mut text = String::new();
            while column < columns && is_alike(&screen[(column, row)], style) {
                text.push_str(screen[(column, row)].symbol());
                column += 1;
            }
            span(&mut svg, (first, row), column - first, style, &text);
        }
    }
    svg + "</g>\n</svg>\n"
}

fn is_alike(one: &Cell, other: &Cell) -> bool {
    (one.fg, one.bg, one.modifier) == (other.fg, other.bg, other.modifier)
}

/// Draws cells of one style.
fn span(svg: &mut String, at: (u16, u16), cells: u16, style: &Cell, text: &str) {
    let (x, y) = (
        MARGIN + usize::from(at.0) * CELL.0,
        MARGIN + usize::from(at.1) * CELL.1,
    );
    let width = usize::from(cells) * CELL.0;
    let mut colours = (colour(style.fg, FOREGROUND), colour(style.bg, BACKGROUND));
    if style.modifier.contains(Modifier::REVERSED) {
        colours = (colours.1, colours.0);
    }
    if colours.1 != BACKGROUND {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{}\"/>",
            CELL.1, colours.1
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let weight = match style.modifier.contains(Modifier::BOLD) {
        true => " font-weight=\"bold\"",
        false => "",
    };
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{}\" textLength=\"{width}\" fill=\"{}\"{weight}>{text}</text>",
        y + 13,
        colours.0
    );
}

/// The colours of a terminal with a dark background.
fn colour(colour: Color, default: &'static str) -> &'static str {
    match colour {
        Color::Green => "#7fd1a0",
        Color::Red => "#ff8a80",
        Color::Cyan => "#6fc7d9",
        Color::Yellow => "#e8c466",
        Color::Blue => "#8fb4f5",
        Color::DarkGray => "#8b99a8",
        Color::White => "#ffffff",
        Color::Indexed(_) => "#2b3a4a",
        _ => default,
    }
}
