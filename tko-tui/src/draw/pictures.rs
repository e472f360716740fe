//! Pictures of the screen for the documentation, as SVG.
//!
//! `TKO_TEST_PICTURES=write cargo xtask test -p tko-tui pictures` writes them to `docs/screenshots`;
//! without the variable the test compares them.

use crate::fixture::{TestDashboard, TestStore};
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;
use std::path::Path;
use tko_core::{
    Ack, Backend, ChangeSet, Condition, Deployment, DeploymentId, Facts, Generation, Put, SiteId,
};

/// The size of a character, in pixels.
const CELL: (usize, usize) = (8, 17);

/// The space around the screen.
const EDGE: usize = 12;

/// The colours of text and background.
const PLAIN: (&str, &str) = ("#d6dbe1", "#14181d");

/// The colour of the picture; a dark terminal with the colours of the web dashboard.
fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Green => "#35c39a",
        Color::Cyan => "#56b4e9",
        Color::Yellow => "#f0c04a",
        Color::Red => "#ff8b54",
        Color::Magenta => "#dd92bf",
        Color::DarkGray => "#98a2ae",
        Color::Indexed(236) => "#2a313a",
        Color::White => "#ffffff",
        _ => PLAIN.0,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Text and background of a cell.
fn colours(cell: &Cell) -> (&'static str, &'static str) {
    let text = match cell.fg {
        Color::Reset => PLAIN.0,
        fg => colour(fg),
    };
    let back = match cell.bg {
        Color::Reset => PLAIN.1,
        bg => colour(bg),
    };
    if cell.modifier.contains(Modifier::REVERSED) {
        (back, text)
    } else {
        (text, back)
    }
}

/// A screen as SVG: runs of equal style are one text.
fn svg(buffer: &Buffer, title: &str) -> String {
    let (columns, rows) = (
        usize::from(buffer.area.width),
        usize::from(buffer.area.height),
    );
    let (width, height) = (columns * CELL.0 + 2 * EDGE, rows * CELL.1 + 2 * EDGE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">\n\
         <style>text{{font:13px ui-monospace,'SF Mono','DejaVu Sans Mono',monospace;white-space:pre}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{}\"/>\n",
        escaped(title),
        PLAIN.1,
    );
    for row in 0..rows {
        let mut at = 0;
        while at < columns {
            let first = &buffer.content[row * columns + at];
            let style = (colours(first), first.modifier);
            let mut text = String::new();
            let begin = at;
            while at < columns {
                let cell = &buffer.content[row * columns + at];
                if (colours(cell), cell.modifier) != style {
                    break;
                }
                text.push_str(cell.symbol());
                at += 1;
            }
            let (x, y) = (EDGE + begin * CELL.0, EDGE + row * CELL.1);
            let length = (at - begin) * CELL.0;
            let ((fill, back), modifier) = style;
            // Writing to a string does not fail.
            if back != PLAIN.1 {
                let high = CELL.1;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"{high}\" fill=\"{back}\"/>"
                );
            }
            if text.trim().is_empty() {
                continue;
            }
            let weight = if modifier.contains(Modifier::BOLD) {
                " font-weight=\"bold\""
            } else {
                ""
            };
            let base = y + 13;
            let shown = escaped(text.trim_end());
            let cells = text.trim_end().chars().count() * CELL.0;
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{base}\" fill=\"{fill}\"{weight} textLength=\"{cells}\" \
                 lengthAdjust=\"spacingAndGlyphs\">{shown}</text>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A store with an invented fleet.
async fn fleet() -> TestStore {
    let store = TestStore::filled().await;
    let functions = ["upf:v1.4.0", "smf:v1.4.0", "amf:v1.3.2"];
    let template = |name: &str| tko_core::TemplateId::new(&format!("nf/free5gc/{name}"));
    let mut set = ChangeSet::new().cause("registered");
    for name in functions {
        set = set.put(Put::new(template(name).expect("an id")));
    }
    let regions = ["south", "north", "west"];
    let site = |number: usize| {
        let id = format!("india/{}/edge-{number:04}", regions[number % 3]);
        SiteId::new(&id).expect("an id")
    };
    for number in 0..18 {
        let mut put = Put::new(site(number));
        if number == 7 {
            put = put.conditions(vec![Condition::new(
                "Scheduled",
                false,
                "SchedulerFailed",
                "cluster refused: connection timed out",
                Generation(1),
            )]);
        }
        set = set.put(put);
    }
    for number in 0..36_usize {
        let id = DeploymentId::new(&format!("06h24srcbou6luvr{number:04}")).expect("an id");
        let on = site(number % 18);
        let (prepared, approved) = (number % 9 != 4, number % 9 != 4 && number % 7 != 2);
        let mut facts = Deployment::default()
            .template(template(functions[number % 3]).expect("an id"))
            .site(on.clone())
            .prepared(prepared)
            .approved(approved);
        let mut conditions = Vec::new();
        if approved && number % 5 != 3 {
            let said = format!("on site {on}");
            conditions.push(Condition::new(
                "Scheduled",
                true,
                "Scheduled",
                said,
                Generation(1),
            ));
            facts = facts.placed((on, Generation(1)));
        }
        let facts = Facts::Deployment(Box::new(facts));
        let mut put = Put::new(&id).facts(facts).conditions(conditions);
        if number % 9 == 4 && number % 2 == 0 {
            put = put.conditions(vec![Condition::new(
                "Prepared",
                false,
                "Failed",
                "SMF smf/smf: preparer free5gc-smf failed: no address pool left in region south",
                Generation(1),
            )]);
        } else if number % 9 == 4 {
            put = put.conditions(vec![Condition::new(
                "Prepared",
                false,
                "Waiting",
                "waits for the site selection Site.region=west: no site matches",
                Generation(1),
            )]);
        }
        set = set.put(put);
    }
    store
        .backend
        .commit(set, Ack::Numbered)
        .await
        .expect("committed");
    store
}

#[tokio::test]
async fn pictures_of_the_documentation_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screenshots");
    let store = fleet().await;
    for (name, title, keys, text) in [
        (
            "overview",
            "Overview of the terminal dashboard",
            "",
            "no address pool",
        ),
        (
            "deployments",
            "Deployments in the terminal dashboard",
            "d",
            "▲ failing",
        ),
        (
            "conditions",
            "The conditions of a deployment in the terminal dashboard",
            ":06h24srcbou6luvr0004\nc",
            "state: failing",
        ),
    ] {
        let mut dashboard = TestDashboard::start(&store, 132, 30).await;
        dashboard.until("Why deployments").await;
        for keys in keys.split_inclusive('\n') {
            dashboard.keys_in_turn(keys).await;
            if keys.ends_with('\n') {
                dashboard.until("deploymentId").await;
            }
        }
        dashboard.until(text).await;
        let picture = svg(dashboard.driver.terminal().backend().buffer(), title);
        let path = folder.join(format!("terminal-{name}.svg"));
        if std::env::var("TKO_TEST_PICTURES").is_ok_and(|value| value == "write") {
            std::fs::write(&path, &picture).expect("written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == picture,
            "{} is out of date; TKO_TEST_PICTURES=write cargo xtask test -p tko-tui pictures",
            path.display()
        );
    }
}
