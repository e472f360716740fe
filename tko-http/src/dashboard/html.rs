//! [`Html`]: text that is safe to put into a page, and the small elements of pages.

use super::path;
use crate::summary::StateCounts;
use std::fmt::{self, Write as _};
use tko_core::view::{DeploymentState, rfc3339};
use tko_core::{Key, Timestamp};

/// HTML in which all foreign text was escaped when it was added.
#[derive(Clone, Debug, Default)]
pub(super) struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

impl Html {
    /// Text.
    pub(super) fn text(text: &str) -> Self {
        Self::default().with(text)
    }

    /// Adds text.
    pub(super) fn with(mut self, text: &str) -> Self {
        self.push(text);
        self
    }

    /// Adds text.
    pub(super) fn push(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(character),
                // Shown as their code, because they would hide or reorder other text.
                character if is_invisible(character) => {
                    // Writing to a string does not fail.
                    let _ = write!(self.0, "\\u{{{:x}}}", u32::from(character));
                }
                character => self.0.push(character),
            }
        }
    }

    /// Adds markup.
    pub(super) fn raw(mut self, markup: &'static str) -> Self {
        self.0.push_str(markup);
        self
    }

    /// Adds markup.
    pub(super) fn push_raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Adds HTML.
    pub(super) fn join(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// Adds parts of a drawing: numbers and fixed texts of this program, which need no escaping.
    pub(super) fn push_svg(&mut self, arguments: fmt::Arguments<'_>) {
        self.push_own(arguments);
    }

    /// Adds numbers and fixed texts of this program, which need no escaping.
    fn push_own(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(arguments);
    }

    /// Adds a link.
    pub(super) fn link(mut self, href: &str, text: &str) -> Self {
        self.push_raw("<a href=\"");
        self.push(href);
        self.push_raw("\">");
        self.push(text);
        self.push_raw("</a>");
        self
    }

    /// Adds a link to an entity.
    pub(super) fn entity(self, key: &Key) -> Self {
        self.link(&path(key), key.id())
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Whether a character must not appear unescaped in pages: control characters, and marks that
/// change the direction of text.
pub(super) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{61c}'
        )
}

/// Text for templates, which escape markup: hidden characters are shown as their code.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible(character) && !matches!(character, '\n' | '\t') {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A number with separators: `1,048,576`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in little space: `999`, `104,220`, `1.05 M`.
pub(super) fn short(count: u64) -> String {
    if count < 1_000_000 {
        return number(count);
    }
    format!("{}.{:02} M", count / 1_000_000, count % 1_000_000 / 10_000)
}

/// An age in words: `12 s`, `41 min`, `3 h`, `6 d`.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(at).as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// An age that the page keeps up to date, with the exact time on hover.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Html {
    let exact = rfc3339(at);
    let mut html = Html::default().raw("<time data-age datetime=\"");
    html.push(&exact);
    html.push_raw("\" title=\"");
    html.push(&exact);
    html.push_raw("\">");
    html.push(&age(at, now));
    html.push_raw("</time>");
    html
}

/// The time until then: `in 2 min 10 s`, or `now`.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.since(now).as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("in {seconds} s"),
        60..3_600 => format!("in {} min {} s", seconds / 60, seconds % 60),
        _ => format!("in {} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A state with its glyph and word.
pub(super) fn mark(state: DeploymentState) -> Html {
    let mut html = Html::default();
    html.push_own(format_args!("<span class=\"s {state}\">{state}</span>"));
    html
}

/// A state with its glyph, and other text.
pub(super) fn marked(state: DeploymentState, inner: &Html) -> Html {
    let mut html = Html::default();
    html.push_own(format_args!(
        "<span class=\"s {state}\"><span><span class=\"unseen\">{state}: </span>"
    ));
    html.join(inner).raw("</span></span>")
}

/// The states as one bar. A state that has any is at least visible.
pub(super) fn bar(counts: &StateCounts, class: &'static str) -> Html {
    const WIDTH: f64 = 1_000.0;
    const LEAST: f64 = 5.0;
    const GAP: f64 = 1.5;
    let present: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    let total = counts.total();
    let mut html = Html::default();
    html.push_own(format_args!(
        "<svg class=\"{class}\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\""
    ));
    for (at, (state, count)) in present.iter().enumerate() {
        let separator = if at > 0 { ", " } else { "" };
        html.push_own(format_args!("{separator}{} {state}", number(*count)));
    }
    if present.is_empty() {
        html.push_raw("none");
    }
    html.push_raw("\">");
    // Widths are proportional, but not below the minimum; the others share the rest.
    let share = |count: u64| float(count) / float(total.max(1)) * WIDTH;
    let small: f64 = present
        .iter()
        .map(|(_, n)| share(*n))
        .filter(|w| *w < LEAST)
        .map(|w| LEAST - w)
        .sum();
    let large: f64 = present
        .iter()
        .map(|(_, n)| share(*n))
        .filter(|w| *w >= LEAST)
        .sum();
    let scale = if large > 0.0 {
        (large - small) / large
    } else {
        1.0
    };
    let mut x = 0.0;
    for (state, count) in present {
        let width = share(count);
        let width = if width < LEAST { LEAST } else { width * scale };
        let shown = (width - GAP).max(1.0);
        html.push_own(format_args!(
            "<rect class=\"f-{state}\" x=\"{x:.1}\" width=\"{shown:.1}\" height=\"20\"/>"
        ));
        x += width;
    }
    html.raw("</svg>")
}

/// A count as a number for drawing.
#[allow(clippy::cast_precision_loss)] // Pictures need no more than 52 bits.
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// Two lines over time: deployments prepared and placed per second.
pub(super) fn chart(rates: &[(f64, f64)]) -> Html {
    let peak = rates
        .iter()
        .map(|(one, two)| one.max(*two))
        .fold(0.0, f64::max);
    let top = nice(peak);
    let mut html = Html::default();
    html.push_own(format_args!(
        "<svg class=\"chart\" viewBox=\"0 0 400 112\" role=\"img\" aria-label=\"Prepared and placed a \
         second in the last 30 minutes, at most {peak:.1}\">\
         <path class=\"axis\" d=\"M0 16.5H400M0 56.5H400M0 96.5H400\"/>\
         <text x=\"0\" y=\"11\">{top}/s</text><text x=\"0\" y=\"110\">30 min ago</text>\
         <text x=\"400\" y=\"110\" text-anchor=\"end\">now</text>"
    ));
    let last = float(u64::try_from(rates.len().saturating_sub(1).max(1)).unwrap_or(1));
    for (class, pick) in [("one", 0), ("two", 1)] {
        html.push_own(format_args!("<path class=\"{class}\" d=\""));
        for (at, rate) in rates.iter().enumerate() {
            let value = if pick == 0 { rate.0 } else { rate.1 };
            let x = float(u64::try_from(at).unwrap_or(0)) / last * 400.0;
            let y = 96.0 - value / top * 80.0;
            let verb = if at == 0 { 'M' } else { 'L' };
            html.push_own(format_args!("{verb}{x:.1} {y:.1}"));
        }
        html.push_raw("\"/>");
    }
    html.raw("</svg>")
}

/// The next round number: 1, 2 or 5 times a power of ten; at least 1.
fn nice(peak: f64) -> f64 {
    let mut unit = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if peak <= step * unit {
                return step * unit;
            }
        }
        if unit > 1e12 {
            return peak;
        }
        unit *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Html, age, nice, number, short, until};
    use tko_core::Timestamp;

    #[test]
    fn hostile_text_is_harmless() {
        let html = Html::text("<script>\"'&\u{202e}\u{0}").to_string();
        assert_eq!(html, "&lt;script&gt;&quot;&#39;&amp;\\u{202e}\\u{0}");
        let link = Html::default().link("/x\"onclick=\"y", "<b>").to_string();
        assert_eq!(link, "<a href=\"/x&quot;onclick=&quot;y\">&lt;b&gt;</a>");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_048_576), "1,048,576");
        assert_eq!(short(104_220), "104,220");
        assert_eq!(short(1_048_576), "1.04 M");
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        assert_eq!(age(at(0), at(59)), "59 s");
        assert_eq!(age(at(0), at(2_460)), "41 min");
        assert_eq!(age(at(5), at(0)), "0 s");
        assert_eq!(until(at(130), at(0)), "in 2 min 10 s");
        assert!((nice(37.0) - 50.0).abs() < f64::EPSILON);
    }
}
