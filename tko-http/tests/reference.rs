//! The reference in `docs/` is the one that the `OpenAPI` document gives.
//!
//! `TKO_UPDATE=1 cargo test -p tko-http --test reference` writes it.

use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// The document, in Markdown.
fn reference(document: &Value) -> String {
    let mut text = String::from(
        "# Reference of the HTTP API\n\nGenerated from the OpenAPI document, which a server has at \
         `/api/v1/openapi.json`. The guide is [http.md](http.md).\n",
    );
    let paths = document["paths"].as_object().expect("paths");
    for tag in ["instance", "templates", "sites", "deployments", "plugins"] {
        let _ = write!(text, "\n## {}{}\n", tag[..1].to_uppercase(), &tag[1..]);
        for (path, item) in paths {
            for (method, operation) in item.as_object().expect("operations") {
                if operation["tags"][0] == tag {
                    operation_text(&mut text, path, method, operation);
                }
            }
        }
    }
    text.push_str("\n## Types\n");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .expect("schemas")
    {
        let _ = write!(text, "\n### {name}\n\n");
        match schema["properties"].as_object() {
            None => {
                let _ = writeln!(text, "{}.", schema["description"].as_str().unwrap_or(name));
            }
            Some(properties) => {
                text.push_str("| property | type | |\n|---|---|---|\n");
                for (property, schema) in properties {
                    let about = schema["description"].as_str().unwrap_or_default();
                    let _ = writeln!(text, "| `{property}` | {} | {about} |", kind(schema));
                }
            }
        }
    }
    text
}

fn operation_text(text: &mut String, path: &str, method: &str, operation: &Value) {
    let summary = operation["summary"].as_str().expect("a summary");
    let _ = write!(text, "\n### {} {path}\n\n{summary}.", method.to_uppercase());
    if let Some(description) = operation["description"].as_str() {
        let _ = write!(text, " {description}");
    }
    text.push('\n');
    if let Some(parameters) = operation["parameters"].as_array() {
        text.push_str("\n| parameter | in | type | |\n|---|---|---|---|\n");
        for parameter in parameters {
            let name = parameter["name"].as_str().expect("a name");
            let place = parameter["in"].as_str().expect("a place");
            let about = parameter["description"].as_str().unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{name}` | {place} | {} | {about} |",
                kind(&parameter["schema"])
            );
        }
    }
    let answers = operation["responses"].as_object().expect("answers").iter();
    let is_problem = |answer: &Value| !answer["content"]["application/problem+json"].is_null();
    text.push_str("\n| answer | type | |\n|---|---|---|\n");
    let mut problems = Vec::new();
    for (status, answer) in answers {
        if is_problem(answer) {
            problems.push(format!("`{status}`"));
            continue;
        }
        let contents = answer["content"].as_object().into_iter().flatten();
        let kinds: Vec<String> = contents
            .map(|(_, content)| kind(&content["schema"]))
            .collect();
        let about = answer["description"].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{status}` | {} | {about} |",
            kinds.first().map_or("", |kind| kind)
        );
    }
    let _ = writeln!(text, "| {} | [Problem](#problem) | |", problems.join(" "));
}

/// A type in words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap_or_default()))
            .collect();
        return values.join(", ");
    }
    match &schema["type"] {
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        kind if kind == "array" => format!("list of {}", self::kind(&schema["items"])),
        Value::String(kind) => kind.clone(),
        _ => String::new(),
    }
}

#[test]
fn the_duration_of_a_modification_is_that_of_the_settings() {
    let settings = tko_http::HttpServerSettings::default();
    let document = tko_http::openapi_document();
    let operation = &document["paths"]["/api/v1/deployments/{id}/modification"]["post"];
    let parameters = operation["parameters"].as_array().expect("parameters");
    let ttl = parameters
        .iter()
        .find(|parameter| parameter["name"] == "ttl");
    let ttl = ttl.expect("it is there");
    let (default, most) = (
        settings.modification.as_secs(),
        settings.max_modification.as_secs(),
    );
    assert_eq!(ttl["schema"]["default"], default);
    assert_eq!(ttl["schema"]["maximum"], most);
    let about = format!("{default} if absent, at most {most}");
    let text = ttl["description"].as_str().expect("text");
    assert!(text.contains(&about), "{text}");
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-reference.md");
    let wanted = reference(&tko_http::openapi_document());
    if std::env::var_os("TKO_UPDATE").is_some() {
        std::fs::write(&path, &wanted).expect("it is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/http-reference.md is out of date; run: TKO_UPDATE=1 cargo test -p tko-http --test reference"
    );
}
