//! Values as a table: the keys of a list of maps are its columns.

use crate::printable::printable;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use std::io::Write;

/// Writes a list of maps as a table; a single map has one row per key.
pub(super) fn write(value: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    match value {
        Value::Array(items) => {
            let mut columns: Vec<&str> = Vec::new();
            for key in items
                .iter()
                .filter_map(Value::as_object)
                .flat_map(|m| m.keys())
            {
                if !columns.contains(&key.as_str()) {
                    columns.push(key);
                }
            }
            if columns.is_empty() {
                for item in items {
                    table.add_row([cell(item)]);
                }
            } else {
                table.set_header(columns.iter().map(|column| heading(column)));
                for item in items {
                    table.add_row(
                        columns
                            .iter()
                            .map(|c| item.get(c).map(cell).unwrap_or_default()),
                    );
                }
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                table.add_row([heading(key), cell(value)]);
            }
        }
        other => {
            table.add_row([cell(other)]);
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Formats `templateId` as `TEMPLATE ID`.
fn heading(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 2);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            text.push(' ');
        }
        text.extend(c.to_uppercase());
    }
    printable(&text, &[]).into_owned()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text, &[]).into_owned(),
        Value::Array(items) if items.len() > 3 => format!("{} items", items.len()),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{}={}", printable(key, &[]), cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::write;
    use serde_json::json;

    #[test]
    fn s14_escape_sequences_do_not_reach_the_terminal() {
        let mut out = Vec::new();
        let list = json!([{"id\u{1b}[1m": "\u{1b}[2Jx\ny", "metadata": {"\u{7}": "\u{9b}"}}]);
        write(&list, &mut out).expect("writing into memory");
        let text = String::from_utf8(out).expect("text");
        let unsafe_ones = text.chars().filter(|c| c.is_control() && *c != '\n');
        assert_eq!(unsafe_ones.count(), 0, "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text:?}");
    }

    #[test]
    fn a_list_of_maps_has_its_keys_as_columns() {
        let mut out = Vec::new();
        let list =
            json!([{"siteId": "a", "metadata": {"k": "v"}}, {"siteId": "bb", "prepared": true}]);
        write(&list, &mut out).expect("writing into memory");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines[0].split("  ").filter(|c| !c.is_empty()).count(),
            3,
            "{text}"
        );
        assert!(
            lines[1].starts_with('a') && lines[1].ends_with("k=v"),
            "{text}"
        );
        assert!(
            lines[2].starts_with("bb") && lines[2].ends_with("true"),
            "{text}"
        );
    }
}
