//! Configurations and fields, shared by the native functions.

use crate::resource_list::ResourceList;
use serde_json::{Map, Value};
use tko_core::Gvk;

/// Maximum number of parts of the path of a field, in every function.
pub(super) const PARTS: usize = 64;

/// The group of the catalog's own kinds of configuration.
pub(super) const CONFIG_API_VERSION: &str = "fn.kpt.dev/v1alpha1";

/// The configuration of a function.
pub(super) enum Config<'a> {
    /// The data of a `ConfigMap`, with its name.
    Data(&'a str, Map<String, Value>),
    /// A resource of the function's own kind.
    Own(&'a Value),
}

/// Reads the configuration: a `ConfigMap`, or a resource of this kind.
///
/// # Errors
/// A clause that says what is wrong.
pub(super) fn config<'a>(list: &'a ResourceList, kind: &str) -> Result<Config<'a>, String> {
    let Some(config) = &list.function_config else {
        return Err(format!("it is missing; expected a ConfigMap or a {kind}"));
    };
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = config
        .get("metadata")
        .and_then(|metadata| metadata.get("name"));
    let name = name.and_then(Value::as_str).unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "ConfigMap") => match config.get("data") {
            Some(Value::Object(data)) => Ok(Config::Data(name, data.clone())),
            None | Some(Value::Null) => Ok(Config::Data(name, Map::new())),
            Some(_) => Err("its data is not a map".to_owned()),
        },
        // Some existing packages write the kind of the function with another group.
        (_, found) if found == kind => Ok(Config::Own(config)),
        (api_version, found) => Err(format!(
            "it is of apiVersion {api_version:?}, kind {found:?}; expected a ConfigMap of v1 or a \
             {kind} of {CONFIG_API_VERSION}"
        )),
    }
}

/// The text of a scalar; `None` for lists, maps and null.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The scalars of a map as text, in order.
///
/// # Errors
/// A clause that says that the value is not a map of scalars.
pub(super) fn texts(value: Option<&Value>, field: &str) -> Result<Vec<(String, String)>, String> {
    let map = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(format!("its field {field} is not a map")),
    };
    let texts = map.iter().map(|(key, value)| match scalar(value) {
        Some(text) => Ok((key.clone(), text)),
        None => Err(format!("its field {field}.{key} is not text")),
    });
    texts.collect()
}

/// The text at a path of keys.
pub(super) fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter()
        .try_fold(value, |value, key| value.get(key))?
        .as_str()
}

/// The group of a resource; empty for the core group.
pub(super) fn group(value: &Value) -> &str {
    let api_version = text_at(value, &["apiVersion"]).unwrap_or_default();
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The version of a resource.
pub(super) fn version(value: &Value) -> &str {
    let api_version = text_at(value, &["apiVersion"]).unwrap_or_default();
    api_version
        .split_once('/')
        .map_or(api_version, |(_, version)| version)
}

/// The kind of a resource.
pub(super) fn kind(value: &Value) -> &str {
    text_at(value, &["kind"]).unwrap_or_default()
}

/// The name of a resource.
pub(super) fn name(value: &Value) -> &str {
    text_at(value, &["metadata", "name"]).unwrap_or_default()
}

/// The namespace of a resource; empty if it has none.
pub(super) fn namespace(value: &Value) -> &str {
    text_at(value, &["metadata", "namespace"]).unwrap_or_default()
}

/// Field paths in resources, as the transformers of kustomize describe them.
#[derive(Clone, Debug)]
pub(super) struct FieldSpec<'a> {
    pub(super) group: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    /// Keys, separated by `/`; `\/` is a slash, and a path continues in each item of a list.
    pub(super) path: &'a str,
    /// Whether missing maps are created.
    pub(super) create: bool,
}

impl FieldSpec<'static> {
    /// A place in resources of this kind, in any group.
    pub(super) const fn of_kind(kind: &'static str, path: &'static str, create: bool) -> Self {
        Self {
            group: None,
            version: None,
            kind: Some(kind),
            path,
            create,
        }
    }

    /// A place in resources of this group and kind.
    pub(super) const fn of(
        group: &'static str,
        kind: &'static str,
        path: &'static str,
        create: bool,
    ) -> Self {
        Self {
            group: Some(group),
            version: None,
            kind: Some(kind),
            path,
            create,
        }
    }
}

impl<'a> FieldSpec<'a> {
    /// Reads a list of field paths from a field of a configuration.
    ///
    /// # Errors
    /// A clause that says that it is not a list of maps with a path, or that a path has more than
    /// [`PARTS`] parts.
    pub(super) fn read(config: &'a Value, field: &str) -> Result<Vec<Self>, String> {
        let places = match config.get(field) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(places)) => places,
            Some(_) => return Err(format!("its field {field} is not a list")),
        };
        let places = places.iter().map(|place| {
            let text = |name: &str| place.get(name).and_then(Value::as_str);
            let selected = |name: &str| text(name).filter(|text| !text.is_empty());
            let path = selected("path");
            let path = path.ok_or_else(|| format!("an entry of its field {field} has no path"))?;
            // Every part is a call on the stack, and a level of what is created.
            if parts(path) > PARTS {
                return Err(format!(
                    "a path of its field {field} has more than {PARTS} parts"
                ));
            }
            Ok(Self {
                group: selected("group"),
                version: selected("version"),
                kind: selected("kind"),
                path,
                create: place.get("create") == Some(&Value::Bool(true)),
            })
        });
        places.collect()
    }

    /// Whether the place is in resources like this.
    pub(super) fn selects(&self, resource: &Value) -> bool {
        self.group.is_none_or(|wanted| wanted == group(resource))
            && self
                .version
                .is_none_or(|wanted| wanted == version(resource))
            && self.kind.is_none_or(|wanted| wanted == kind(resource))
    }

    /// Calls `edit` with every value at the path. A missing value is null; it stays absent if it
    /// stays null.
    pub(super) fn edit(&self, resource: &mut Value, edit: &mut dyn FnMut(&mut Value)) {
        let keys = split(self.path);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        walk(resource, &keys, self.create, edit);
    }
}

/// The number of parts that [`split`] makes, without making them.
fn parts(path: &str) -> usize {
    let mut count = 1;
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                rest.next();
            }
            '/' => count += 1,
            _ => {}
        }
    }
    count
}

fn split(path: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        let key = keys.last_mut().expect("begins with one");
        match c {
            '\\' => key.extend(rest.next()),
            '/' => keys.push(String::new()),
            c => key.push(c),
        }
    }
    keys
}

fn walk(value: &mut Value, keys: &[&str], create: bool, edit: &mut dyn FnMut(&mut Value)) {
    if let Value::Array(items) = value {
        for item in items {
            walk(item, keys, create, edit);
        }
        return;
    }
    let Some((key, rest)) = keys.split_first() else {
        edit(value);
        return;
    };
    let (key, is_list) = match key.strip_suffix("[]") {
        Some(key) => (key, true),
        None => (*key, false),
    };
    if value.is_null() && create {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else {
        return;
    };
    match map.get_mut(key) {
        Some(inner) if rest.is_empty() && !is_list => edit(inner),
        Some(inner) => walk(inner, rest, create, edit),
        None if create && !is_list => {
            let mut inner = Value::Null;
            walk_new(&mut inner, rest, edit);
            if !inner.is_null() {
                map.insert(key.to_owned(), inner);
            }
        }
        None => {}
    }
}

/// Like [`walk`], for a value that does not exist yet.
fn walk_new(value: &mut Value, keys: &[&str], edit: &mut dyn FnMut(&mut Value)) {
    let Some((key, rest)) = keys.split_first() else {
        edit(value);
        return;
    };
    if key.ends_with("[]") {
        return;
    }
    let mut inner = Value::Null;
    walk_new(&mut inner, rest, edit);
    if !inner.is_null() {
        let mut map = Map::new();
        map.insert((*key).to_owned(), inner);
        *value = Value::Object(map);
    }
}

/// Whether a resource is of a built-in kind that has no namespace.
pub(super) fn is_cluster_scoped(resource: &Value) -> bool {
    let api_version = text_at(resource, &["apiVersion"]).unwrap_or_default();
    tko_core::cluster_scope::is_cluster_scoped(&Gvk::of(api_version, kind(resource)))
}

/// Whether the group is one of Kubernetes itself, so that the scope of its kinds is known.
pub(super) fn is_built_in(resource: &Value) -> bool {
    let group = group(resource);
    ["", "apps", "autoscaling", "batch", "extensions", "policy"].contains(&group)
        || group.ends_with(".k8s.io") && group.matches('.').count() <= 3 && is_known_group(group)
}

fn is_known_group(group: &str) -> bool {
    const GROUPS: [&str; 16] = [
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    ];
    GROUPS.contains(&group)
}

#[cfg(test)]
mod tests {
    use super::FieldSpec;
    use serde_json::{Value, json};

    fn edited(path: &'static str, create: bool, mut value: Value) -> Value {
        let spec = FieldSpec::of_kind("X", path, create);
        spec.edit(&mut value, &mut |place| *place = json!("new"));
        value
    }

    #[test]
    fn places_go_through_lists_and_create_only_where_they_may() {
        assert_eq!(
            edited("a/b", false, json!({"a": [{"b": 1}, {"c": 2}]})),
            json!({"a": [{"b": "new"}, {"c": 2}]})
        );
        assert_eq!(
            edited("a[]/b", true, json!({"a": [{"c": 2}]})),
            json!({"a": [{"c": 2, "b": "new"}]})
        );
        assert_eq!(edited("a/b", true, json!({})), json!({"a": {"b": "new"}}));
        assert_eq!(edited("a/b", false, json!({})), json!({}));
        assert_eq!(edited("a[]/b", true, json!({})), json!({}));
        assert_eq!(
            edited(r"a/b\/c", true, json!({"a": {}})),
            json!({"a": {"b/c": "new"}})
        );
    }
}
