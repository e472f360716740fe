//! The file of extra variables for a playbook on this machine.
//!
//! Ansible evaluates the texts of extra variables as Jinja templates, and a template can run
//! programs. Packages come from users, so their texts carry the tag `!unsafe`: Ansible passes them
//! on as they are. Ansible reads this tag in YAML only. AWX marks the variables of a launch in the
//! same way.

use crate::change::{CHANGE, INPUT, SITE};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Encodes variables as YAML. The variables that an operator sets in the plugin's properties remain
/// templates.
pub(crate) fn encode(variables: &Map<String, Value>) -> String {
    let mut yaml = String::from("{");
    for (name, value) in variables {
        let trusted = ![INPUT, SITE, CHANGE].contains(&name.as_str());
        push_key(&mut yaml, name, true);
        push_value(&mut yaml, value, trusted);
        yaml.push_str(",\n");
    }
    yaml.push_str("}\n");
    yaml
}

fn push_value(yaml: &mut String, value: &Value, trusted: bool) {
    match value {
        Value::String(text) => push_text(yaml, text, trusted),
        Value::Number(number) if number.is_f64() => {
            // YAML 1.1 reads `1e16` as a text without the tag.
            let _ = write!(yaml, "!!float \"{number}\"");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = write!(yaml, "{value}");
        }
        Value::Array(values) => {
            yaml.push('[');
            for value in values {
                push_value(yaml, value, trusted);
                yaml.push(',');
            }
            yaml.push(']');
        }
        Value::Object(entries) => {
            yaml.push('{');
            for (key, value) in entries {
                push_key(yaml, key, trusted);
                push_value(yaml, value, trusted);
                yaml.push(',');
            }
            yaml.push('}');
        }
    }
}

/// The question mark makes a key of more than 1,024 characters valid.
fn push_key(yaml: &mut String, key: &str, trusted: bool) {
    yaml.push_str("? ");
    push_text(yaml, key, trusted);
    yaml.push_str(" : ");
}

fn push_text(yaml: &mut String, text: &str, trusted: bool) {
    if !trusted && !is_word(text) {
        yaml.push_str("!unsafe ");
    }
    yaml.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => yaml.extend(['\\', c]),
            ' '..='~' => yaml.push(c),
            // YAML refuses some of the others, and reads some as line breaks.
            _ => {
                let _ = write!(yaml, "\\U{:08x}", u32::from(c));
            }
        }
    }
    yaml.push('"');
}

/// True for texts that cannot be a template or an expression that calls something. They get no tag:
/// with it, Ansible 2.19 reads `"1"` as a number, `"true"` as a boolean, and refuses `"*"`.
fn is_word(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || " \t\n.:+-_~=<!&*".contains(c))
}
