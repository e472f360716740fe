//! The resources that a topology in TOSCA describes.
//!
//! In a node template of type `nephio::Template`, `nephio::Site` or `nephio::Sites`, a property
//! describes a resource if the metadata of its definition has `nephio.apiVersion` and
//! `nephio.kind`:
//!
//! | metadata | meaning |
//! |---|---|
//! | `nephio.apiVersion`, `nephio.kind` | what the resource is |
//! | `nephio.name` | its name; without it the name of the node template and `nephio.suffix` |
//! | `nephio.target` | where in `spec` the value goes, with points between keys; without it the value is `spec` |
//!
//! Properties that describe the same resource are combined. A resource for a plugin (a group that
//! ends with `.plugin.nephio.org`) is prepared in the deployments that it is merged into. Every
//! node of a type `nephio::Template` becomes an entry of the Placement `placement`. The entry has
//! the node's Template resource, the Site and Sites resources of the targets of its `nephio::Host`
//! relationships, and its other resources to merge.

use super::super::resources::{GROUP, VERSION};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tko_core::annotation::PREPARE;
use tko_core::resource::map_in;
use tko_core::{Error, Gvk, Package, Result};
use tko_tosca::{Topology, TopologyNode};

const TEMPLATE: &str = "nephio::Template";
const SITE: &str = "nephio::Site";
const SITES: &str = "nephio::Sites";
const HOST: &str = "nephio::Host";

/// The end of the groups whose resources plugins prepare.
const PLUGIN_GROUP: &str = ".plugin.nephio.org";

/// The description of a resource: API version, kind and name.
type Described = (String, String, String);

/// The package that a topology describes, in the order of names.
///
/// # Errors
/// `BadArgument` for `spec.url`: a target path leads through a value that is not a map, or a
/// resource is not valid. Also if a node of type `nephio::Template` describes no Template resource.
pub fn package(topology: &Topology) -> Result<Package> {
    let mut resources: BTreeMap<Described, Map<String, Value>> = BTreeMap::new();
    let mut by_node: BTreeMap<&str, Vec<Described>> = BTreeMap::new();
    for (name, node) in &topology.nodes {
        if [TEMPLATE, SITE, SITES].iter().any(|known| node.is_a(known)) {
            by_node.insert(name, describe(name, node, &mut resources)?);
        }
    }
    let placement = placement(topology, &by_node)?;
    let mut values: Vec<Value> = Vec::with_capacity(resources.len() + 1);
    for ((api_version, kind, name), spec) in resources {
        values.push(resource(&api_version, &kind, &name, spec));
    }
    values.extend(placement);
    Package::from_values(values)
}

/// Adds the resources of a node; returns their API versions, kinds and names, each once.
fn describe(
    name: &str,
    node: &TopologyNode,
    resources: &mut BTreeMap<Described, Map<String, Value>>,
) -> Result<Vec<Described>> {
    let mut described = Vec::new();
    for (property, given) in &node.properties {
        let metadata = |key: &str| {
            let text = given.metadata.get(key).map(String::as_str);
            text.filter(|text| !text.is_empty())
        };
        let (Some(api_version), Some(kind)) =
            (metadata("nephio.apiVersion"), metadata("nephio.kind"))
        else {
            continue;
        };
        let own = match metadata("nephio.name") {
            Some(name) => name.to_owned(),
            None => format!("{name}{}", metadata("nephio.suffix").unwrap_or_default()),
        };
        let identity = (api_version.to_owned(), kind.to_owned(), own);
        let spec = resources.entry(identity.clone()).or_default();
        set(spec, metadata("nephio.target"), &given.value).map_err(|problem| {
            let message = format!("node template \"{name}\", property \"{property}\": {problem}");
            Error::bad("spec.url", message)
        })?;
        if !described.contains(&identity) {
            described.push(identity);
        }
    }
    Ok(described)
}

/// Puts a value at a path of a specification.
fn set(spec: &mut Map<String, Value>, path: Option<&str>, value: &Value) -> Result<(), String> {
    let Some(path) = path else {
        let Value::Object(map) = value else {
            return Err("without nephio.target the value must be a map".to_owned());
        };
        spec.extend(map.clone());
        return Ok(());
    };
    let (folders, last) = path.rsplit_once('.').map_or(("", path), |(a, b)| (a, b));
    let mut place = spec;
    for key in folders.split('.').filter(|key| !key.is_empty()) {
        if place.get(key).is_some_and(|value| !value.is_object()) {
            return Err(format!(
                "nephio.target \"{path}\" leads through a value, at \"{key}\""
            ));
        }
        place = map_in(place, key);
    }
    place.insert(last.to_owned(), value.clone());
    Ok(())
}

fn resource(api_version: &str, kind: &str, name: &str, spec: Map<String, Value>) -> Value {
    let spec = Value::Object(spec);
    let mut metadata = json!({"name": name});
    if Gvk::of(api_version, kind).group.ends_with(PLUGIN_GROUP) {
        metadata["annotations"] = json!({PREPARE: "Postpone"});
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// The Placement of all nodes of type `nephio::Template`; `None` if there are none with sites.
fn placement(
    topology: &Topology,
    by_node: &BTreeMap<&str, Vec<Described>>,
) -> Result<Option<Value>> {
    let topology_api = format!("{GROUP}/{VERSION}");
    let of_kind =
        |described: &Described, kind: &str| described.0 == topology_api && described.1 == kind;
    let mut entries = Vec::new();
    for (name, node) in topology
        .nodes
        .iter()
        .filter(|(_, node)| node.is_a(TEMPLATE))
    {
        let own = by_node.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let Some(template) = own.iter().find(|described| of_kind(described, "Template")) else {
            let message = format!(
                "node template \"{name}\" is a {TEMPLATE}, and no property of it describes a \
                 Template of {topology_api}"
            );
            return Err(Error::bad("spec.url", message));
        };
        let mut sites: Vec<&str> = Vec::new();
        let hosts = node.relationships.iter();
        for host in hosts.filter(|relation| relation.types.iter().any(|known| known == HOST)) {
            let described = by_node
                .get(host.target.as_str())
                .map_or(&[][..], Vec::as_slice);
            for site in described {
                let is_site = of_kind(site, "Site") || of_kind(site, "Sites");
                if is_site && !sites.contains(&site.2.as_str()) {
                    sites.push(&site.2);
                }
            }
        }
        if sites.is_empty() {
            continue;
        }
        let others = own.iter().filter(|described| *described != template);
        let merge: Vec<Value> = others
            .map(|(api_version, kind, name)| {
                json!({"apiVersion": api_version, "kind": kind, "name": name})
            })
            .collect();
        entries.push(json!({"template": template.2, "sites": sites, "merge": merge}));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let spec = Map::from_iter([("templates".to_owned(), Value::Array(entries))]);
    Ok(Some(resource(
        &topology_api,
        "Placement",
        "placement",
        spec,
    )))
}
