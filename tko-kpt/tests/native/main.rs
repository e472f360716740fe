//! The native functions, on inputs like those of their documentation.

// JSON is written where it is used.
#![allow(clippy::needless_pass_by_value)]

mod identity;
mod metadata;
mod namespace;
mod replacements;
mod setters;

use serde_json::{Value, json};
use tko_kpt::{FunctionReference, Item, NativeFunction, ResourceList, Severity};

/// Runs a function on resources; returns what it makes of them.
fn run(image: &str, config: Value, resources: Vec<Value>) -> Result<Vec<Value>, String> {
    let list = run_list(
        image,
        config,
        resources.into_iter().map(Item::new).collect(),
    )?;
    Ok(list.items.into_iter().map(|item| item.value).collect())
}

/// Runs a function on items. Results of severity error are the error.
fn run_list(image: &str, config: Value, items: Vec<Item>) -> Result<ResourceList, String> {
    let image: FunctionReference = format!("gcr.io/kpt-fn/{image}").parse().expect("an image");
    let Some(FunctionReference::Native { name, version }) = image.as_native() else {
        panic!("{image} is not native");
    };
    let function = NativeFunction::new(&name, version).expect("is there");
    let mut list = ResourceList {
        items,
        function_config: (!config.is_null()).then_some(config),
        results: Vec::new(),
    };
    function
        .run(&mut list)
        .map_err(|failure| failure.to_string())?;
    let error = list
        .results
        .iter()
        .find(|result| result.severity == Severity::Error);
    match error {
        Some(error) => Err(error.to_string()),
        None => Ok(list),
    }
}

/// A `ConfigMap` as configuration.
fn data(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": data})
}

/// A resource of a kind of the function itself.
fn own(kind: &str, fields: Value) -> Value {
    let mut own = json!({
        "apiVersion": "fn.kpt.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "config"},
    });
    for (key, value) in fields.as_object().expect("a map") {
        own[key] = value.clone();
    }
    own
}

fn resource(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

fn with(mut resource: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let mut place = &mut resource;
    for key in parent.split('/').skip(1) {
        place = &mut place[key];
    }
    place[key] = value;
    resource
}

#[test]
fn every_function_says_what_its_configuration_lacks() {
    for name in NativeFunction::NAMES {
        let error = run(name, Value::Null, Vec::new()).expect_err("no configuration");
        assert!(error.contains("it is missing; expected"), "{name}: {error}");
        let wrong = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}});
        let error = run(name, wrong, Vec::new()).expect_err("a wrong configuration");
        assert!(error.contains(name), "{error}");
    }
}
