//! Differences of packages, resource by resource.

use super::Package;
use crate::resource::{Identifier, Resource};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The fields of a Secret that have secret values.
const SECRET_FIELDS: [&str; 2] = ["data", "stringData"];

/// The place, in the metadata of a resource, where kubectl keeps a copy of the whole resource.
const APPLIED_COPY: &str = "/annotations/kubectl.kubernetes.io~1last-applied-configuration";

/// A resource in which two packages differ.
#[derive(Clone, Debug)]
pub enum ResourceDifference {
    /// Only the later package has the resource.
    Added(Arc<Resource>),
    /// Only the earlier package has the resource.
    Removed(Arc<Resource>),
    /// Both packages have the resource, with different contents.
    Changed {
        /// The resource in the earlier package.
        before: Arc<Resource>,
        /// The resource in the later package.
        after: Arc<Resource>,
    },
}

impl ResourceDifference {
    /// The identity of the resource.
    pub fn identifier(&self) -> &Identifier {
        match self {
            Self::Added(resource)
            | Self::Removed(resource)
            | Self::Changed {
                after: resource, ..
            } => resource.identifier(),
        }
    }

    /// The kind of the difference: `added`, `removed` or `changed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Added(_) => "added",
            Self::Removed(_) => "removed",
            Self::Changed { .. } => "changed",
        }
    }

    /// The resource in the earlier package; `None` if it was added.
    pub fn before(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Added(_) => None,
            Self::Removed(before) | Self::Changed { before, .. } => Some(before),
        }
    }

    /// The resource in the later package; `None` if it was removed.
    pub fn after(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Removed(_) => None,
            Self::Added(after) | Self::Changed { after, .. } => Some(after),
        }
    }

    /// A copy without the values of Secrets, to show to people.
    ///
    /// The values below `data` and `stringData` become placeholders: `(added)` or `(changed)` in
    /// the later resource, `(hidden)` otherwise. The keys stay. So it shows which values differ,
    /// and nothing else about them. A Secret within another resource is treated alike, as is the
    /// copy of a Secret that kubectl keeps in an annotation.
    #[must_use]
    pub fn without_secret_values(&self) -> Self {
        match self {
            Self::Added(after) => Self::Added(hidden(after, None)),
            // Compared with itself, no value is added or changed.
            Self::Removed(before) => Self::Removed(hidden(before, Some(before))),
            Self::Changed { before, after } => Self::Changed {
                before: hidden(before, Some(before)),
                after: hidden(after, Some(before)),
            },
        }
    }
}

impl Package {
    /// The resources in which `after` differs from this package, in the order of `after`.
    ///
    /// Resources are matched by their identifiers. A removed resource has the place that it had
    /// among those that remain. The order of the resources is not compared.
    pub fn differences(&self, after: &Self) -> Vec<ResourceDifference> {
        if self.shares(after) {
            return Vec::new();
        }
        let places = self.iter().enumerate();
        let places: HashMap<&Identifier, usize> =
            places.map(|(at, one)| (one.identifier(), at)).collect();
        let remaining: HashSet<&Identifier> = after.iter().map(|one| one.identifier()).collect();
        let mut differences = Vec::new();
        // The resources of this package before this index are compared.
        let mut next = 0;
        for resource in after {
            let Some(&at) = places.get(resource.identifier()) else {
                differences.push(ResourceDifference::Added(resource.clone()));
                continue;
            };
            if at >= next {
                differences.extend(removed(&self.resources()[next..at], &remaining));
                next = at + 1;
            }
            let before = &self.resources()[at];
            if before != resource {
                differences.push(ResourceDifference::Changed {
                    before: before.clone(),
                    after: resource.clone(),
                });
            }
        }
        differences.extend(removed(&self.resources()[next..], &remaining));
        differences
    }
}

/// The resources that do not remain.
fn removed(
    resources: &[Arc<Resource>],
    remaining: &HashSet<&Identifier>,
) -> impl Iterator<Item = ResourceDifference> {
    let gone = resources
        .iter()
        .filter(|one| !remaining.contains(one.identifier()));
    gone.map(|one| ResourceDifference::Removed(one.clone()))
}

/// The resource without the values of Secrets, compared with an earlier one.
fn hidden(resource: &Arc<Resource>, before: Option<&Arc<Resource>>) -> Arc<Resource> {
    if !has_secret(resource.value()) {
        return resource.clone();
    }
    let mut value = resource.value().clone();
    hide(&mut value, before.map(|before| before.value()));
    Arc::new(Resource::stored(value).expect("no value of a Secret identifies the resource"))
}

fn is_secret(map: &Map<String, Value>) -> bool {
    map.get("kind").and_then(Value::as_str) == Some("Secret")
}

/// Whether a value is a Secret, or contains one.
fn has_secret(value: &Value) -> bool {
    match value {
        Value::Object(map) => is_secret(map) || map.values().any(has_secret),
        Value::Array(items) => items.iter().any(has_secret),
        _ => false,
    }
}

/// Hides the values of Secrets. `before` is the earlier value in the same place.
fn hide(value: &mut Value, before: Option<&Value>) {
    match value {
        Value::Object(map) => {
            let is_secret = is_secret(map);
            for (key, value) in map {
                let before = before.and_then(|before| before.get(key.as_str()));
                if is_secret && SECRET_FIELDS.contains(&key.as_str()) {
                    hide_values(value, before);
                    continue;
                }
                if is_secret
                    && key == "metadata"
                    && let Some(copy) = value.pointer_mut(APPLIED_COPY)
                {
                    let before = before.and_then(|before| before.pointer(APPLIED_COPY));
                    *copy = placeholder(copy, before);
                }
                hide(value, before);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                hide(item, before.and_then(|before| before.get(at)));
            }
        }
        _ => {}
    }
}

/// Hides the values of a map; hides anything else as a whole.
fn hide_values(value: &mut Value, before: Option<&Value>) {
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let before = before.and_then(|before| before.get(key.as_str()));
                *value = placeholder(value, before);
            }
        }
        other => *other = placeholder(other, before),
    }
}

fn placeholder(value: &Value, before: Option<&Value>) -> Value {
    let text = match before {
        None => "(added)",
        Some(before) if before == value => "(hidden)",
        Some(_) => "(changed)",
    };
    Value::from(text)
}

#[cfg(test)]
mod tests {
    use super::ResourceDifference;
    use crate::package::Package;
    use serde_json::{Value, json};

    fn config(name: &str, text: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": text}})
    }

    fn package(values: impl IntoIterator<Item = Value>) -> Package {
        Package::from_values(values).expect("a package")
    }

    fn differences(before: &[Value], after: &[Value]) -> Vec<String> {
        let (before, after) = (package(before.to_vec()), package(after.to_vec()));
        let differences = before.differences(&after);
        let shown = differences.iter();
        shown
            .map(|one| format!("{} {}", one.as_str(), one.identifier().name))
            .collect()
    }

    #[test]
    fn resources_are_compared_in_the_order_of_the_later_package() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| config(name, "1"));
        let changed = config("a", "2");
        assert_eq!(
            differences(&[a.clone(), b.clone(), c.clone()], &[changed, d, c.clone()]),
            ["changed a", "added d", "removed b"]
        );
        // Only the order differs.
        assert!(differences(&[a.clone(), c.clone()], &[c.clone(), a.clone()]).is_empty());
        assert_eq!(
            differences(&[a.clone(), b.clone(), c.clone()], &[c, a.clone()]),
            ["removed b"]
        );
        assert_eq!(differences(&[a, b], &[]), ["removed a", "removed b"]);
    }

    #[test]
    fn another_namespace_is_another_resource() {
        let mut moved = config("a", "1");
        moved["metadata"]["namespace"] = json!("other");
        assert_eq!(
            differences(&[config("a", "1")], &[moved]),
            ["added a", "removed a"]
        );
    }

    fn secret(fields: &Value) -> Value {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        for (key, value) in fields.as_object().expect("a map") {
            secret[key] = value.clone();
        }
        secret
    }

    /// The resource before and after, as people see it.
    fn shown(before: Value, after: Value) -> [Option<Value>; 2] {
        let differences = package([before]).differences(&package([after]));
        let [difference] = &differences[..] else {
            panic!("one difference: {differences:?}");
        };
        let shown = difference.without_secret_values();
        [shown.before(), shown.after()].map(|one| one.map(|one| one.value().clone()))
    }

    #[test]
    fn secret_values_are_not_shown_but_whether_they_differ() {
        let [before, after] = shown(
            secret(&json!({"data": {"same": "YQ==", "other": "YQ==", "gone": "YQ=="}})),
            secret(&json!({"data": {"same": "YQ==", "other": "Yg==", "new": "Yg=="}, "type": "x"})),
        );
        assert_eq!(
            before.expect("there")["data"],
            json!({"same": "(hidden)", "other": "(hidden)", "gone": "(hidden)"})
        );
        let after = after.expect("there");
        assert_eq!(
            after["data"],
            json!({"same": "(hidden)", "other": "(changed)", "new": "(added)"})
        );
        assert_eq!(after["type"], "x", "only values are secret");
    }

    #[test]
    fn values_of_added_and_removed_secrets_are_not_shown() {
        let resource = package([secret(&json!({"stringData": {"a": "hush"}}))]);
        let none = Package::default();
        for (before, after, text) in [
            (&none, &resource, "(added)"),
            (&resource, &none, "(hidden)"),
        ] {
            let differences = before.differences(after);
            let shown = differences[0].without_secret_values();
            let one = shown.before().or(shown.after()).expect("one of them");
            assert_eq!(one.value()["stringData"], json!({"a": text}));
        }
    }

    #[test]
    fn secret_values_in_other_places_are_not_shown() {
        let applied = |text: &str| {
            let annotation = "kubectl.kubernetes.io/last-applied-configuration";
            let mut secret = secret(&json!({"data": text}));
            secret["metadata"]["annotations"] = json!({annotation: text});
            json!({
                "apiVersion": "example.org/v1", "kind": "Bundle", "metadata": {"name": "b"},
                "items": [secret], "text": text,
            })
        };
        let [before, after] = shown(applied("hush"), applied("hush!"));
        let [before, after] = [before, after].map(|one| one.expect("there"));
        assert_eq!(after["text"], "hush!", "it is not in a Secret");
        for (resource, text) in [(before, "(hidden)"), (after, "(changed)")] {
            let secret = &resource["items"][0];
            assert_eq!(secret["data"], text);
            let annotations = secret["metadata"]["annotations"].as_object();
            let values: Vec<&Value> = annotations.expect("a map").values().collect();
            assert_eq!(values, [text]);
        }
    }

    #[test]
    fn other_resources_are_shown_as_they_are() {
        let (before, after) = (config("a", "1"), config("a", "2"));
        assert_eq!(
            shown(before.clone(), after.clone()),
            [Some(before), Some(after)]
        );
        let added = ResourceDifference::Added(package([config("a", "1")]).resources()[0].clone());
        assert!(added.before().is_none() && added.after().is_some());
    }
}
