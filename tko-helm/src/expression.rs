//! Expressions in values of charts: `{{ get('', 'v1', 'Namespace').metadata.name }}`.
//!
//! An expression sees one package and nothing else. Its source, its steps and its value have
//! limits, so a hostile expression ends with an error.

use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tko_core::{Gvk, Package, Resource, deployment_resource};

/// Maximum bytes of the source of one expression.
pub const MAX_SOURCE: usize = 16 << 10;
/// Maximum number of steps of one expression, as minijinja counts them.
pub const FUEL: u64 = 100_000;
/// Maximum number of values that an expression may return.
pub const MAX_VALUES: usize = 100_000;
/// Maximum nesting of the value of an expression.
pub const MAX_DEPTH: usize = 64;
/// Resources that one step compares.
const COMPARED_PER_STEP: usize = 64;

/// Evaluates expressions over the resources of one package.
#[derive(Debug)]
pub struct PackageExpressions {
    environment: Environment<'static>,
}

impl PackageExpressions {
    /// Makes an evaluator for this package.
    pub fn new(package: &Package) -> Self {
        let lookup = ResourceLookup::new(package);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.add_function(
            "get",
            move |state: &mut State<'_, '_>,
                  group: &str,
                  version: &str,
                  kind: &str,
                  name: Option<&str>| { lookup.get(state, group, version, kind, name) },
        );
        Self { environment }
    }

    /// Replaces each text in a value by the value of its expression, if the text is one expression.
    ///
    /// # Errors
    /// The reason why an expression failed, with the path of the text below `place`.
    pub fn evaluate(&self, place: &str, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match source(text) {
                Some(source) => self
                    .value_of(source)
                    .map_err(|reason| format!("{place}: expression {:?}: {reason}", short(text)))?,
                None => value.clone(),
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(at, item)| self.evaluate(&format!("{place}[{at}]"), item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let mut new = Map::new();
                for (key, item) in map {
                    new.insert(key.clone(), self.evaluate(&format!("{place}.{key}"), item)?);
                }
                Value::Object(new)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    /// The value of one expression, without the braces around it.
    fn value_of(&self, source: &str) -> Result<Value, String> {
        if source.len() > MAX_SOURCE {
            return Err(format!("it is longer than {MAX_SOURCE} bytes"));
        }
        let compiled = self.environment.compile_expression(source);
        let value = compiled.and_then(|expression| expression.eval(()));
        let value = value.map_err(|error| reason(&error))?;
        let mut left = MAX_VALUES;
        to_json(&value, 0, &mut left)
    }
}

/// Whether a value has an expression in it.
pub fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => source(text).is_some(),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(map) => map.values().any(has_expression),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The source of a text that is as a whole one expression.
fn source(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    // Braces of maps and braces in quotes belong to the expression; others end it.
    let mut open = 0_usize;
    let mut quote = None;
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(end), char) if char == end => quote = None,
            (None, '\'' | '"') => quote = Some(char),
            (None, '{') => open += 1,
            (None, '}') => open = open.checked_sub(1)?,
            _ => {}
        }
    }
    Some(inner)
}

/// The beginning of a text, for messages.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps; simplify it".to_owned(),
        ErrorKind::UndefinedError => {
            let detail = error.detail().map(|detail| format!(" ({detail})"));
            format!("a field does not exist{}", detail.unwrap_or_default())
        }
        ErrorKind::InvalidOperation if error.detail().is_some() => {
            error.detail().unwrap_or_default().to_owned()
        }
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    }
}

fn to_json(value: &minijinja::Value, depth: usize, left: &mut usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("its value is nested more than {MAX_DEPTH} levels"));
    }
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("its value has more than {MAX_VALUES} parts"))?;
    Ok(match value.kind() {
        ValueKind::Undefined => return Err("a field does not exist".to_owned()),
        ValueKind::None => Value::Null,
        ValueKind::Bool | ValueKind::Number | ValueKind::String => {
            serde_json::to_value(value).map_err(|error| error.to_string())?
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| reason(&error))?;
            let items = items.map(|item| to_json(&item, depth + 1, left));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter().map_err(|error| reason(&error))? {
                let item = value.get_item(&key).map_err(|error| reason(&error))?;
                map.insert(key.to_string(), to_json(&item, depth + 1, left)?);
            }
            Value::Object(map)
        }
        kind => return Err(format!("its value is a {kind}, which JSON does not have")),
    })
}

/// The resources of a package by type.
struct ResourceLookup(HashMap<Gvk, Vec<LookupEntry>>);

struct LookupEntry {
    resource: Arc<Resource>,
    /// The content, once an expression has used it.
    value: OnceLock<minijinja::Value>,
}

impl ResourceLookup {
    fn new(package: &Package) -> Self {
        let own = deployment_resource::identifier();
        let mut resources: HashMap<Gvk, Vec<LookupEntry>> = HashMap::new();
        for resource in package.iter().filter(|r| *r.gvk() != own.gvk) {
            let same = resources.entry(resource.gvk().clone()).or_default();
            same.push(LookupEntry {
                resource: resource.clone(),
                value: OnceLock::new(),
            });
        }
        Self(resources)
    }

    fn get(
        &self,
        state: &State<'_, '_>,
        group: &str,
        version: &str,
        kind: &str,
        name: Option<&str>,
    ) -> Result<minijinja::Value, Error> {
        let gvk = Gvk::new(group, version, kind);
        let same = self.0.get(&gvk).map(Vec::as_slice).unwrap_or_default();
        state.consume_fuel(u64::try_from(same.len() / COMPARED_PER_STEP).unwrap_or(u64::MAX))?;
        let found = match name {
            Some(name) => same
                .iter()
                .find(|entry| *entry.resource.identifier().name == *name),
            None => same.first(),
        };
        let Some(entry) = found else {
            let name = name.map(|name| format!(" with the name {name:?}"));
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!(
                    "the package has no resource {gvk}{}",
                    name.unwrap_or_default()
                ),
            ));
        };
        let value = || minijinja::Value::from(Serde(entry.resource.value()));
        Ok(entry.value.get_or_init(value).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package() -> Package {
        Package::from_values([
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}),
            json!({
                "apiVersion": "example.com/v1", "kind": "Pool", "metadata": {"name": "a"},
                "spec": {"z": 1, "a": [1, 2.5, null, "x"], "any-key": true, "big": u64::MAX},
            }),
            json!({"apiVersion": "example.com/v1", "kind": "Pool", "metadata": {"name": "b"}}),
        ])
        .expect("a package")
    }

    fn evaluate(text: &str) -> Result<Value, String> {
        PackageExpressions::new(&package()).evaluate("spec.parameters.k", &json!(text))
    }

    #[test]
    fn an_expression_keeps_the_type_of_its_value() {
        for (text, value) in [
            (
                "{{ get('', 'v1', 'Namespace').metadata.name }}",
                json!("edge"),
            ),
            (
                "{{ get('example.com', 'v1', 'Pool', 'b').metadata }}",
                json!({"name": "b"}),
            ),
            (
                "{{ get('example.com', 'v1', 'Pool').spec['any-key'] }}",
                json!(true),
            ),
            (
                "{{ get('example.com', 'v1', 'Pool').spec.a[1] }}",
                json!(2.5),
            ),
            (
                "{{ get('example.com', 'v1', 'Pool').spec.big }}",
                json!(u64::MAX),
            ),
            (
                "{{ get('example.com', 'v1', 'Pool').spec.z + 1 }}",
                json!(2),
            ),
            (" {{ {'a': {'b': '}}'}} }} ", json!({"a": {"b": "}}"}})),
            ("{{ none }}", Value::Null),
        ] {
            assert_eq!(evaluate(text), Ok(value), "{text}");
        }
        let spec = evaluate("{{ get('example.com', 'v1', 'Pool').spec }}").expect("a value");
        assert_eq!(
            spec.to_string(),
            format!(
                r#"{{"z":1,"a":[1,2.5,null,"x"],"any-key":true,"big":{}}}"#,
                u64::MAX
            )
        );
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "",
            "{{",
            "}}",
            "{{}",
            "a {{ 1 }}",
            "{{ 1 }} {{ 2 }}",
            "{% if a %}",
        ] {
            assert_eq!(evaluate(text), Ok(json!(text)));
        }
    }

    #[test]
    fn expressions_that_fail_name_their_place_and_the_reason() {
        for (text, words) in [
            (
                "{{ get('', 'v1', 'Secret').data }}",
                "has no resource v1/Secret",
            ),
            (
                "{{ get('', 'v1', 'Namespace', 'x') }}",
                "with the name \"x\"",
            ),
            (
                "{{ get('', 'v1', 'Namespace').spec }}",
                "a field does not exist",
            ),
            (
                "{{ get('', 'v1', 'Namespace').spec.a }}",
                "a field does not exist",
            ),
            (
                "{{ [get('', 'v1', 'Namespace').spec] }}",
                "a field does not exist",
            ),
            ("{{ gat }}", "a field does not exist"),
            ("{{ 1 + }}", "syntax error"),
            ("{{ get('') }}", "missing"),
            ("{{ deployment }}", "a field does not exist"),
        ] {
            let error = evaluate(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
            assert!(
                error.starts_with("spec.parameters.k: expression"),
                "{error}"
            );
        }
    }

    #[test]
    fn hostile_expressions_end_as_errors() {
        let deep = format!("{{{{ {}1{} }}}}", "[".repeat(5_000), "]".repeat(5_000));
        let long = format!("{{{{ {}1 }}}}", "1+".repeat(10_000));
        let nested = format!("{{{{ {}1{} }}}}", "[".repeat(100), "]".repeat(100));
        for text in [
            "{{ range(100000)|list * 100000 }}",
            "{{ 'x' * 1000000000 }}",
            "{{ range(10000)|map('string')|map('length')|list|length * range(10000)|list }}",
            "{{ '%1000000000d' | format(1) }}",
            "{{ range(1000000)|list }}",
            &deep,
            &long,
            &nested,
        ] {
            let begun = std::time::Instant::now();
            assert!(evaluate(text).is_err(), "{}", short(text));
            assert!(begun.elapsed().as_secs() < 10, "{}", short(text));
        }
    }
}
