//! Sets of definitions that refer to each other: one Kubernetes version's, built in or from a
//! release's `swagger.json`.

use crate::guard;
use crate::transform::{amend_definition, transform};
use crate::version::KubernetesVersion;
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tko_core::{Error, Gvk, Result};

/// Made by `cargo xtask schemas`, whose documentation has the form.
const PACKED: &[u8] = include_bytes!("../schemas/kubernetes.json.gz");

/// Definitions by name. References between them are `#/$defs/NAME`.
pub(crate) struct Definitions(HashMap<String, Value>);

/// What was unpacked, for every user in the process: one version takes some megabytes.
type Unpacked = BTreeMap<String, Arc<OnceLock<Arc<Definitions>>>>;
static UNPACKED: Mutex<Unpacked> = Mutex::new(BTreeMap::new());

impl Definitions {
    /// The built-in ones for a version, unpacked when first asked for: some 20 ms.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the version is older than all that are built in.
    pub(crate) fn built_in(version: KubernetesVersion) -> Result<Arc<Self>> {
        let label = version.nearest_built_in()?.label();
        let place = UNPACKED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(label.clone())
            .or_default()
            .clone();
        Ok(place.get_or_init(|| Arc::new(unpack(&label))).clone())
    }

    /// Those of a release's `swagger.json`.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: it has no definitions, or they are nested too deep.
    pub(crate) fn swagger(origin: &str, mut document: Value) -> Result<Self> {
        if !guard::is_shallow(&document) {
            return Err(Error::bad("schema", format!("{origin} is nested too deep")));
        }
        let Some(Value::Object(definitions)) = document.get_mut("definitions").map(Value::take)
        else {
            return Err(Error::bad("schema", format!("{origin} has no definitions")));
        };
        Ok(Self(
            definitions
                .into_iter()
                .map(|(name, mut definition)| {
                    rebase_references(&mut definition, "#/definitions/", "#/$defs/");
                    (name, crate::transform::without_prose(&definition))
                })
                .collect(),
        ))
    }

    /// As published.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The kinds of resources among them, each with its definition's name.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (Gvk, &str)> {
        self.0.iter().filter_map(|(name, definition)| {
            let kinds = definition.get("x-kubernetes-group-version-kind")?;
            // Options and events of the API's own are of every group: no resources.
            match kinds.as_array()?.as_slice() {
                [kind] => {
                    let text = |key: &str| kind.get(key)?.as_str();
                    let gvk = Gvk::new(text("group")?, text("version")?, text("kind")?);
                    Some((gvk, name.as_str()))
                }
                _ => None,
            }
        })
    }

    /// The definition and all that it refers to, each ready to validate against, added to `found`.
    pub(crate) fn collect(&self, name: &str, complete: bool, found: &mut Map<String, Value>) {
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            if found.contains_key(&name) {
                continue;
            }
            let Some(mut definition) = self.get(&name).cloned() else {
                continue;
            };
            amend_definition(&name, &mut definition);
            transform(&mut definition, complete);
            references(&definition, &mut |reference| {
                waiting.extend(reference.strip_prefix("#/$defs/").map(str::to_owned));
            });
            found.insert(name, definition);
        }
    }
}

/// Unpacks one version. What is built in was made and checked by us, so it has its form.
fn unpack(label: &str) -> Definitions {
    let mut text = Vec::new();
    GzDecoder::new(PACKED)
        .read_to_end(&mut text)
        .expect("what is built in unpacks");
    let mut index: Value = serde_json::from_slice(&text).expect("what is built in is JSON");
    let at = index["versions"]
        .as_array()
        .and_then(|versions| versions.iter().position(|version| version == label))
        .expect("the list of versions is of this file");
    let names = index["names"].take();
    let definitions = &index["definitions"];
    let by_name = names
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, places)| {
            let place = usize::try_from(places.get(at)?.as_u64()?).ok()?;
            Some((name.clone(), definitions.get(place)?.clone()))
        })
        .collect();
    Definitions(by_name)
}

/// Calls `each` with every `$ref` in a schema.
fn references(schema: &Value, each: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference) if key == "$ref" => each(reference),
                    other => references(other, each),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| references(item, each)),
        _ => {}
    }
}

/// Changes every `$ref` in a schema that begins with `from` to begin with `to`.
pub(crate) fn rebase_references(schema: &mut Value, from: &str, to: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(rest) = reference.strip_prefix(from) {
                            *value = json!(format!("{to}{rest}"));
                        }
                    }
                    other => rebase_references(other, from, to),
                }
            }
        }
        Value::Array(list) => {
            for item in list {
                rebase_references(item, from, to);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::Definitions;
    use crate::version::KubernetesVersion;
    use serde_json::{Map, json};
    use tko_core::Gvk;

    #[test]
    fn every_built_in_version_unpacks_and_knows_the_everyday_kinds() {
        for version in KubernetesVersion::built_in() {
            let definitions = Definitions::built_in(version).expect("unpacks");
            for kind in [
                Gvk::of("v1", "Service"),
                Gvk::of("apps/v1", "Deployment"),
                Gvk::of("rbac.authorization.k8s.io/v1", "ClusterRole"),
                Gvk::of("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ] {
                assert!(
                    definitions.kinds().any(|(gvk, _)| gvk == kind),
                    "{kind} in {version}"
                );
            }
        }
    }

    #[test]
    fn a_definition_comes_with_all_that_it_refers_to_and_nothing_else() {
        let definitions = Definitions::built_in(KubernetesVersion::default()).expect("unpacks");
        let mut found = Map::new();
        definitions.collect("io.k8s.api.core.v1.ConfigMap", true, &mut found);
        assert!(found.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
        assert!(found.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.Time"));
        assert!(!found.contains_key("io.k8s.api.core.v1.PodSpec"));
    }

    #[test]
    fn a_swagger_file_gives_definitions_with_references_of_ours() {
        let definitions = Definitions::swagger(
            "a file",
            json!({"definitions": {
                "a.Foo": {
                    "description": "gone",
                    "properties": {"bar": {"$ref": "#/definitions/a.Bar"}},
                    "x-kubernetes-group-version-kind": [{"group": "a", "version": "v1", "kind": "Foo"}],
                },
                "a.Bar": {"type": "string"},
            }}),
        )
        .expect("has definitions");
        let mut found = Map::new();
        definitions.collect("a.Foo", true, &mut found);
        assert_eq!(
            found["a.Foo"]["properties"]["bar"],
            json!({"$ref": "#/$defs/a.Bar"})
        );
        assert_eq!(found["a.Bar"], json!({"type": ["string", "null"]}));
        assert!(Definitions::swagger("a file", json!({})).is_err());
    }
}
