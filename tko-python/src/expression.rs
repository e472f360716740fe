//! Expressions: texts with `{{ … }}` that see a package.

use minijinja::value::{Serde, Value as JinjaValue};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;
use tko_core::{Gvk, Package};

/// Maximum number of steps of one evaluation.
const FUEL: u64 = 100_000;

/// Maximum number of bytes of a text with expressions.
const MAX_TEXT: usize = 64 * 1024;

/// Evaluates a text. A text that is one expression as a whole becomes its value, with its type.
///
/// Expressions see `get(group, version, kind[, name])`: the resource, or the first of that type.
///
/// # Errors
/// The text is not valid, an expression fails, or something that it refers to does not exist.
pub(crate) fn evaluate(text: &str, package: &Package) -> Result<Value, String> {
    if text.len() > MAX_TEXT {
        return Err(format!(
            "a text with expressions has at most {MAX_TEXT} bytes, this one has {}",
            text.len()
        ));
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let package = package.clone();
    environment.add_function(
        "get",
        move |group: &str, version: &str, kind: &str, name: Option<&str>| {
            let gvk = Gvk::new(group, version, kind);
            let found = package
                .of(&gvk)
                .find(|resource| name.is_none_or(|name| &*resource.identifier().name == name));
            match (found, name) {
                (Some(resource), _) => Ok(JinjaValue::from(Serde(resource.value()))),
                (None, Some(name)) => Err(missing(format!("there is no {kind} {name} ({gvk})"))),
                (None, None) => Err(missing(format!("there is no {kind} ({gvk})"))),
            }
        },
    );
    let evaluated = match whole(text) {
        Some(expression) => environment
            .compile_expression(expression)
            .and_then(|expression| expression.eval(()))
            .and_then(|value| {
                if value.is_undefined() {
                    return Err(missing("the value is not there".to_owned()));
                }
                serde_json::to_value(&value)
                    .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
            }),
        None => environment.render_str(text, ()).map(Value::String),
    };
    evaluated.map_err(|error| {
        let detail = error.detail().map(|detail| format!(": {detail}"));
        format!(
            "cannot evaluate {text:?}: {}{}",
            error.kind(),
            detail.unwrap_or_default()
        )
    })
}

fn missing(message: String) -> Error {
    Error::new(ErrorKind::UndefinedError, message)
}

/// The expression, if the text is one expression as a whole.
fn whole(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner.trim())
}
