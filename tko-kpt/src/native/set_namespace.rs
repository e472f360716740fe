//! `set-namespace`: moves resources into a namespace.
//!
//! Versions up to v0.3 set the namespace of every namespaced resource. From v0.4 on, all resources
//! must come from one upstream namespace, and `namespaceMatcher` restricts the change. These
//! versions also skip resources for tools only, and update `config.kubernetes.io/depends-on`.

use super::fields::{
    Config, FieldSpec, config, group, is_built_in, is_cluster_scoped, kind, name, namespace,
    text_at,
};
use super::growth::WriteBudget;
use crate::annotations::{self, DEPENDS_ON, UPSTREAM};
use crate::reference::FunctionVersion;
use crate::resource_list::ResourceList;
use crate::results::{FunctionResult, Severity};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tko_core::resource::map_in;

/// The `ConfigMap` in packages of kpt whose name is the name of the package.
const PACKAGE_CONTEXT: &str = "kptfile.kpt.dev";
/// The namespace of resources without one.
const DEFAULT: &str = "default";
/// A cluster-scoped resource, in an upstream identifier.
const NONE: &str = "~C";

/// A kind, or all kinds, and a path in its resources.
type NamespacePlace = (Option<String>, String);

/// The namespace to set, and where to set it.
struct Wanted {
    namespace: String,
    matcher: Option<String>,
}

pub(super) fn run(
    list: &mut ResourceList,
    version: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let (wanted, places) = read(list)?;
    if version < FunctionVersion::new(0, 4, 0) {
        let count = set_all(list, &wanted.namespace, &places, budget);
        budget.check()?;
        let message = format!(
            "namespace {:?} set, {count} values changed",
            wanted.namespace
        );
        list.results
            .push(FunctionResult::new(Severity::Info, message));
        return Ok(());
    }
    if wanted.matcher.is_none() {
        let origins = origins(list);
        if origins.len() > 1 {
            let found: Vec<&str> = origins.iter().map(String::as_str).collect();
            let message = format!(
                "the resources come from several upstream namespaces ({}); expected one, or \
                 namespaceMatcher in the functionConfig",
                found.join(", ")
            );
            list.results
                .push(FunctionResult::new(Severity::Error, message));
            return Ok(());
        }
    }
    // v0.4.2 to v0.4.5 leave out custom resources that have no namespace yet.
    let skips_unknown =
        (FunctionVersion::new(0, 4, 2)..=FunctionVersion::new(0, 4, 5)).contains(&version);
    let before: BTreeSet<String> = list
        .items
        .iter()
        .filter_map(|item| depends_key(&item.value))
        .collect();
    let mut count = 0;
    for item in &mut list.items {
        if annotations::is_local_config(&item.value) {
            continue;
        }
        let mut set = |current: &mut Value| wanted.replace(current, &mut count, budget);
        places_of(&mut item.value, skips_unknown, &mut set);
    }
    budget.check()?;
    let mut moved = 0;
    for item in &mut list.items {
        let Some(text) = annotations::get(&item.value, DEPENDS_ON) else {
            continue;
        };
        let mut parts: Vec<&str> = text.split('/').collect();
        let is_named = parts.len() == 5 && parts[1] == "namespaces" && before.contains(text);
        if annotations::is_local_config(&item.value)
            || !is_named
            || parts[2] == wanted.namespace
            || wanted
                .matcher
                .as_deref()
                .is_some_and(|matcher| matcher != parts[2])
        {
            continue;
        }
        parts[2] = &wanted.namespace;
        let text = parts.join("/");
        budget.take(text.len());
        budget.check()?;
        annotations::set(&mut item.value, DEPENDS_ON, &text);
        moved += 1;
    }
    let message = format!(
        "namespace {:?} set, {count} values and {moved} depends-on annotations changed",
        wanted.namespace
    );
    list.results
        .push(FunctionResult::new(Severity::Info, message));
    Ok(())
}

/// The configuration, and additional places of early versions.
fn read(list: &ResourceList) -> Result<(Wanted, Vec<NamespacePlace>), String> {
    let text = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    match config(list, "SetNamespace")? {
        Config::Data(config_name, data) => {
            let from_context = || {
                (config_name == PACKAGE_CONTEXT)
                    .then(|| text(data.get("name")))
                    .flatten()
            };
            let namespace = text(data.get("namespace")).or_else(from_context);
            let expected = if config_name == PACKAGE_CONTEXT {
                "name"
            } else {
                "namespace"
            };
            let namespace =
                namespace.ok_or_else(|| format!("its field data.{expected} is empty"))?;
            let matcher = text(data.get("namespaceMatcher"));
            Ok((Wanted { namespace, matcher }, Vec::new()))
        }
        Config::Own(own) => {
            let namespace = text(own.get("namespace"));
            let namespace = namespace.ok_or("its field namespace is empty")?;
            let matcher = text(own.get("namespaceMatcher"));
            let places = FieldSpec::read(own, "additionalNamespaceFields")?;
            let places = places
                .into_iter()
                .map(|place| (place.kind.map(str::to_owned), place.path.to_owned()));
            Ok((Wanted { namespace, matcher }, places.collect()))
        }
    }
}

impl Wanted {
    fn replace(&self, current: &mut Value, count: &mut usize, budget: &mut WriteBudget) {
        let old = match current.as_str() {
            None | Some("") => DEFAULT,
            Some(old) => old,
        };
        let matches = self.matcher.as_deref().is_none_or(|matcher| matcher == old);
        let is_new = matches && current.as_str() != Some(&self.namespace);
        if is_new && budget.take(self.namespace.len()) {
            *current = json!(self.namespace);
            *count += 1;
        }
    }
}

/// The upstream namespaces of the resources, as far as they have any.
fn origins(list: &ResourceList) -> BTreeSet<String> {
    let resources = list.items.iter().map(|item| &item.value);
    let resources = resources.filter(|value| !annotations::is_local_config(value));
    let namespaced = resources.filter(|value| !is_cluster_scoped(value));
    let origins = namespaced.filter_map(|value| {
        let parts: Vec<&str> = annotations::get(value, UPSTREAM)?.split('|').collect();
        parts.get(2).map(|namespace| (*namespace).trim().to_owned())
    });
    origins
        .filter(|origin| !origin.is_empty() && origin != NONE)
        .collect()
}

/// The resource as a depends-on annotation names it.
fn depends_key(value: &Value) -> Option<String> {
    let namespace = Some(namespace(value)).filter(|namespace| !namespace.is_empty())?;
    let (group, kind, name) = (group(value), kind(value), name(value));
    Some(format!("{group}/namespaces/{namespace}/{kind}/{name}"))
}

/// Calls `set` with every namespace of a resource.
fn places_of(value: &mut Value, skips_unknown: bool, set: &mut dyn FnMut(&mut Value)) {
    let reference: &[&str] = match (group(value), kind(value)) {
        ("", "Namespace") => {
            if let Some(name) = value.get_mut("metadata").and_then(|m| m.get_mut("name")) {
                set(name);
            }
            return;
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &[
            "spec",
            "conversion",
            "webhook",
            "clientConfig",
            "service",
            "namespace",
        ],
        ("apiregistration.k8s.io", "APIService") => &["spec", "service", "namespace"],
        ("rbac.authorization.k8s.io", "ClusterRoleBinding" | "RoleBinding") => {
            set_subjects(value, set);
            &[]
        }
        _ => &[],
    };
    if let Some((last, path)) = reference.split_last() {
        let parent = path
            .iter()
            .try_fold(value, |value, key| value.get_mut(*key));
        if let Some(place) = parent.and_then(|parent| parent.get_mut(*last)) {
            set(place);
        }
        return;
    }
    let has_one = !namespace(value).is_empty();
    if is_cluster_scoped(value) || group(value) == "kpt.dev" && !has_one {
        return;
    }
    if !has_one && skips_unknown && !is_built_in(value) {
        return;
    }
    if let Value::Object(content) = value {
        let metadata = map_in(content, "metadata");
        let mut place = metadata.get("namespace").cloned().unwrap_or_default();
        let before = place.clone();
        set(&mut place);
        if place != before {
            metadata.insert("namespace".to_owned(), place);
        }
    }
}

/// The namespaces of the service accounts that a binding names.
fn set_subjects(value: &mut Value, set: &mut dyn FnMut(&mut Value)) {
    let subjects = value.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        let is_account = text_at(subject, &["kind"]) == Some("ServiceAccount");
        if let Some(place) = subject.get_mut("namespace").filter(|_| is_account) {
            set(place);
        }
    }
}

/// Sets the namespace everywhere, as the versions up to v0.3 do.
fn set_all(
    list: &mut ResourceList,
    wanted: &str,
    places: &[NamespacePlace],
    budget: &mut WriteBudget,
) -> usize {
    let mut count = 0;
    for item in &mut list.items {
        let mut set = |current: &mut Value| {
            if current.as_str() != Some(wanted) && budget.take(wanted.len()) {
                *current = json!(wanted);
                count += 1;
            }
        };
        places_of(&mut item.value, false, &mut set);
        for (kind, path) in places {
            let place = FieldSpec {
                group: None,
                version: None,
                kind: kind.as_deref(),
                path,
                create: false,
            };
            if place.selects(&item.value) {
                place.edit(&mut item.value, &mut set);
            }
        }
    }
    count
}
