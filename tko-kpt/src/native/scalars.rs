//! Scalars in the form in which YAML writes them.

use serde_json::{Number, Value};
use std::fmt::Write;

/// The value that a plain scalar with this text has in YAML 1.2.
pub(super) fn implied(text: &str) -> Value {
    match text {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        "null" | "~" => return Value::Null,
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if is_integer {
        let number = text.parse::<i64>().map(Number::from);
        let number = number.or_else(|_| text.parse::<u64>().map(Number::from));
        return number.map_or_else(|_| Value::String(text.to_owned()), Value::Number);
    }
    let is_float = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.contains(['.', 'e', 'E'])
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let float = is_float.then(|| text.parse::<f64>().ok()).flatten();
    match float.and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

/// A new value for a scalar that a function replaces by this text.
///
/// Text that had to be quoted, such as `"8080"`, and text where only text is allowed stays text;
/// otherwise the new text determines the type.
pub(super) fn replacement(old: &Value, pointer: &str, text: &str) -> Value {
    let was_quoted =
        matches!(old, Value::String(old) if old.is_empty() || !implied(old).is_string());
    if was_quoted || text.is_empty() || is_text_only(pointer) {
        Value::String(text.to_owned())
    } else {
        implied(text)
    }
}

/// Whether only text is allowed at this place in any resource.
fn is_text_only(pointer: &str) -> bool {
    [
        "/metadata/",
        "/data/",
        "/stringData/",
        "/apiVersion",
        "/kind",
    ]
    .iter()
    .any(|start| pointer.starts_with(start))
        || pointer.contains("/annotations/")
        || pointer.contains("/labels/")
        || pointer.contains("/matchLabels/")
}

/// Escapes a key for a JSON pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Calls `visit` with every value of a resource, its JSON pointer, and its path as people write it,
/// such as `spec.ports[0].port`.
pub(super) fn visit(
    value: &mut Value,
    visit: &mut dyn FnMut(&mut Value, &str, &str) -> Result<(), String>,
) -> Result<(), String> {
    descend(value, &mut String::new(), &mut String::new(), visit)
}

fn descend(
    value: &mut Value,
    pointer: &mut String,
    path: &mut String,
    visit: &mut dyn FnMut(&mut Value, &str, &str) -> Result<(), String>,
) -> Result<(), String> {
    visit(value, pointer, path)?;
    let (pointer_end, path_end) = (pointer.len(), path.len());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                pointer.push('/');
                pointer.push_str(&escaped(key));
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                descend(inner, pointer, path, visit)?;
                pointer.truncate(pointer_end);
                path.truncate(path_end);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter_mut().enumerate() {
                let _ = write!(pointer, "/{at}");
                let _ = write!(path, "[{at}]");
                descend(inner, pointer, path, visit)?;
                pointer.truncate(pointer_end);
                path.truncate(path_end);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{implied, replacement};
    use serde_json::{Value, json};

    #[test]
    fn plain_text_has_the_type_that_yaml_gives_it() {
        for (text, value) in [
            ("3", json!(3)),
            ("-7", json!(-7)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("true", json!(true)),
            ("null", Value::Null),
            ("007", json!("007")),
            ("1.2.3", json!("1.2.3")),
            ("yes", json!("yes")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("", json!("")),
            ("-", json!("-")),
        ] {
            assert_eq!(implied(text), value, "{text}");
        }
    }

    #[test]
    fn text_that_was_quoted_stays_text() {
        assert_eq!(
            replacement(&json!("8080"), "/spec/port", "9090"),
            json!("9090")
        );
        assert_eq!(replacement(&json!(8080), "/spec/port", "9090"), json!(9090));
        assert_eq!(
            replacement(&json!("a"), "/metadata/labels/x", "1"),
            json!("1")
        );
    }
}
