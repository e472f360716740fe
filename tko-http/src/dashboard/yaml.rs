//! YAML with colours, folds and marks.

use super::html::Html;
use serde_json::Value;
use tko_core::Format;

/// Maximum number of bytes of YAML on one page; the rest can be downloaded.
const MAX_SHOWN: usize = 100_000;

/// A resource as YAML.
pub(super) fn text(resource: &Value) -> String {
    let bytes = tko_core::encoding::encode([resource], Format::Yaml);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// YAML in colours. The keys of the first level can be folded. Search matches are marked.
pub(super) fn shown(text: &str, find: &str) -> Html {
    let mut html = Html::default();
    let mut is_open = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if html.len() > MAX_SHOWN {
            html.push_raw(
                "<span class=\"c\"># The rest is not shown; download the package.</span>",
            );
            break;
        }
        let is_first_level = line.starts_with(|c: char| !c.is_whitespace() && c != '-');
        if is_first_level && is_open {
            html.push_raw("</details>");
            is_open = false;
        }
        let is_parent = is_first_level
            && lines
                .peek()
                .is_some_and(|next| next.starts_with([' ', '-']));
        if is_parent {
            html.push_raw("<details open><summary>");
            push_line(&mut html, line, find);
            html.push_raw("</summary>");
            is_open = true;
        } else {
            html.push_raw("<span>");
            push_line(&mut html, line, find);
            html.push_raw("</span>");
            if !is_open {
                html.push_raw("\n");
            }
        }
    }
    if is_open {
        html.push_raw("</details>");
    }
    html
}

/// One line: the key in its colour, the value in its own.
fn push_line(html: &mut Html, line: &str, find: &str) {
    if !find.is_empty() && line.to_lowercase().contains(&find.to_lowercase()) {
        html.push_raw("<mark>");
        html.push(line);
        html.push_raw("</mark>");
        return;
    }
    let start = line.len() - line.trim_start_matches([' ', '-']).len();
    let (indent, rest) = line.split_at(start);
    html.push(indent);
    match key_end(rest) {
        Some(end) => {
            let (key, value) = rest.split_at(end);
            html.push_raw("<span class=\"k\">");
            html.push(key);
            html.push_raw("</span>");
            match value.strip_prefix(": ") {
                Some(value) => {
                    html.push(": ");
                    push_value(html, value);
                }
                None => html.push(value),
            }
        }
        None => push_value(html, rest),
    }
}

fn push_value(html: &mut Html, value: &str) {
    html.push_raw("<span class=\"v\">");
    html.push(value);
    html.push_raw("</span>");
}

/// The end of the key at the start of a line, if there is one.
fn key_end(text: &str) -> Option<usize> {
    let end = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].find(quote)? + 2,
        _ => text
            .find(": ")
            .or_else(|| text.strip_suffix(':').map(str::len))?,
    };
    let rest = text.get(end..)?;
    (rest == ":" || rest.starts_with(": ")).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn keys_and_values_have_their_colours_and_blocks_fold() {
        let html = shown("kind: A\nspec:\n  \"a: b\": <x>\n  - c\n", "").to_string();
        assert_eq!(
            html,
            "<span><span class=\"k\">kind</span>: <span class=\"v\">A</span></span>\n\
             <details open><summary><span class=\"k\">spec</span>:</summary>\
             <span>  <span class=\"k\">&quot;a: b&quot;</span>: <span class=\"v\">&lt;x&gt;</span></span>\
             <span>  - <span class=\"v\">c</span></span></details>"
        );
    }

    #[test]
    fn what_is_found_is_marked() {
        let html = shown("kind: Amf\n", "AMF").to_string();
        assert!(html.contains("<mark>kind: Amf</mark>"), "{html}");
    }
}
