//! [`Desired`]: the parts of an object that users write, checked.

use crate::failure::StatusCause;
use crate::names::{self, Named, named};
use crate::object::SCHEDULED_FINALIZER;
use crate::resource::ResourceType;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use tko_core::{ContentHash, DeploymentId, Gvk, Key, Kind, Package, SiteId, TemplateId, view};

/// Maximum number of bytes of all annotations.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Maximum number of finalizers, and of owners.
const MAX_LIST: usize = 256;

/// Checks how many annotations, finalizers and owners an object has, before more is done with them.
pub(crate) fn check_amounts(object: &Value) -> Vec<StatusCause> {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    let annotations = metadata.get("annotations").and_then(Value::as_object);
    let bytes: usize = annotations
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > MAX_ANNOTATIONS {
        causes.push(StatusCause::invalid(
            "metadata.annotations",
            format!("have {bytes} bytes; at most {MAX_ANNOTATIONS} are allowed"),
        ));
    }
    for list in ["finalizers", "ownerReferences"] {
        let items = metadata.get(list).and_then(Value::as_array);
        let items = items.into_iter().flatten();
        // This finalizer is shown, but not stored.
        let count = items
            .filter(|item| item.as_str() != Some(SCHEDULED_FINALIZER))
            .count();
        if count > MAX_LIST {
            causes.push(StatusCause::invalid(
                format!("metadata.{list}"),
                format!("are {count}; at most {MAX_LIST} are allowed"),
            ));
        }
    }
    causes
}

/// The desired state of an entity, from an object.
#[derive(Debug)]
pub(crate) struct Desired {
    pub(crate) labels: names::FromLabels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) finalizers: Vec<String>,
    pub(crate) owners: Vec<Map<String, Value>>,
    pub(crate) generate_name: String,
    pub(crate) template: Option<TemplateId>,
    pub(crate) site: Option<SiteId>,
    pub(crate) parent: Option<DeploymentId>,
    /// `spec.package`; `None` if the object has none.
    pub(crate) package: Option<Package>,
    pub(crate) executor: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) triggers: Vec<Gvk>,
}

/// The entity that an object with this name is about.
pub(crate) fn key_of(resource: &'static ResourceType, name: &str) -> Result<Named, StatusCause> {
    named(resource.entity, name).map_err(|why| StatusCause::invalid("metadata.name", why))
}

/// The hash by which a package is recognized.
pub(crate) fn hash(package: &Package) -> String {
    ContentHash::of(&view::package(package)).to_string()
}

impl Desired {
    /// Reads an object whose fields have the right types. `key` is its entity, if that is known.
    ///
    /// # Errors
    /// All faults of the object.
    pub(crate) fn parse(
        resource: &'static ResourceType,
        key: Option<&Key>,
        object: &Value,
    ) -> Result<Self, Vec<StatusCause>> {
        let mut causes = check_amounts(object);
        if !causes.is_empty() {
            return Err(causes);
        }
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let labels = names::from_labels(&texts(metadata, "labels"));
        let labels = labels.unwrap_or_else(|faults| {
            causes.extend(faults);
            names::FromLabels::default()
        });
        let annotations = texts(metadata, "annotations");
        check_annotations(&annotations, &mut causes);
        let finalizers = list(metadata, "finalizers");
        check_finalizers(&finalizers, &mut causes);
        let owners = owners(metadata, &mut causes);
        check_identity(resource, key, spec, &mut causes);
        let mut field = |name: &str, what: String| {
            causes.push(StatusCause::invalid(format!("spec.{name}"), what));
        };
        let template = id(spec, "templateId", TemplateId::new, &mut field);
        let template = template.filter(|_| resource.entity != Kind::Template);
        let site = id(spec, "siteId", SiteId::new, &mut field);
        let site = site.filter(|_| resource.entity != Kind::Site);
        let parent = id(spec, "parentDeploymentId", DeploymentId::new, &mut field);
        let package = match spec
            .get("package")
            .and_then(|package| package.get("resources"))
        {
            Some(Value::Array(resources)) => match Package::from_values(resources.clone()) {
                Ok(package) => Some(package),
                Err(error) => {
                    field("package.resources", error.to_string());
                    None
                }
            },
            _ => None,
        };
        let executor = text(spec, "executor").unwrap_or_default().to_owned();
        if resource.entity == Kind::Plugin && executor.is_empty() {
            field(
                "executor",
                "is missing; name an executor, such as command".to_owned(),
            );
        }
        let triggers = triggers(spec, &mut field);
        if !causes.is_empty() {
            return Err(causes);
        }
        Ok(Self {
            labels,
            annotations,
            finalizers,
            owners,
            generate_name: text(metadata, "generateName")
                .unwrap_or_default()
                .to_owned(),
            template,
            site,
            parent,
            package,
            executor,
            arguments: list(spec, "arguments"),
            properties: texts(spec, "properties"),
            triggers,
        })
    }
}

fn text<'v>(of: &'v Value, name: &str) -> Option<&'v str> {
    of.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn texts(of: &Value, name: &str) -> BTreeMap<String, String> {
    let map = of.get(name).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn list(of: &Value, name: &str) -> Vec<String> {
    let items = of.get(name).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn id<T>(
    spec: &Value,
    name: &str,
    parse: fn(&str) -> tko_core::Result<T>,
    fault: &mut impl FnMut(&str, String),
) -> Option<T> {
    match parse(text(spec, name)?) {
        Ok(id) => Some(id),
        Err(error) => {
            fault(name, error.to_string());
            None
        }
    }
}

fn check_annotations(annotations: &BTreeMap<String, String>, causes: &mut Vec<StatusCause>) {
    for key in annotations.keys() {
        if !names::is_label_key(key) {
            causes.push(StatusCause::invalid(
                "metadata.annotations",
                format!("{key:?} is not a valid annotation key"),
            ));
        }
    }
}

fn check_finalizers(finalizers: &[String], causes: &mut Vec<StatusCause>) {
    let mut refuse = |why: String| causes.push(StatusCause::invalid("metadata.finalizers", why));
    let mut seen = BTreeSet::new();
    for finalizer in finalizers {
        if !names::is_label_key(finalizer) {
            refuse(format!("{finalizer:?} is not a name with a domain"));
        }
        if !seen.insert(finalizer) {
            refuse(format!("{finalizer:?} is there twice"));
        }
    }
}

fn owners(metadata: &Value, causes: &mut Vec<StatusCause>) -> Vec<Map<String, Value>> {
    let items = metadata.get("ownerReferences").and_then(Value::as_array);
    let owners: Vec<Map<String, Value>> = items
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_object().cloned())
        .collect();
    for (at, owner) in owners.iter().enumerate() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            let given = owner.get(key).and_then(Value::as_str);
            if given.is_none_or(str::is_empty) {
                causes.push(StatusCause::invalid(
                    format!("metadata.ownerReferences[{at}].{key}"),
                    "must not be empty",
                ));
            }
        }
    }
    let controllers = owners
        .iter()
        .filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    if controllers.count() > 1 {
        causes.push(StatusCause::invalid(
            "metadata.ownerReferences",
            "only one reference can have controller set to true",
        ));
    }
    owners
}

/// Checks that the ids in the spec are those that the name stands for.
fn check_identity(
    resource: &'static ResourceType,
    key: Option<&Key>,
    spec: &Value,
    causes: &mut Vec<StatusCause>,
) {
    let Some(key) = key else { return };
    let mut expect = |field: &str, expected: &str| {
        if let Some(given) = text(spec, field)
            && given != expected
        {
            causes.push(StatusCause::invalid(
                format!("spec.{field}"),
                format!("is {given:?}, and the name stands for {expected:?}; leave it out"),
            ));
        }
    };
    match (resource.entity, key) {
        (Kind::Template, key) => expect("templateId", key.id()),
        (Kind::Site, key) => expect("siteId", key.id()),
        (Kind::Deployment, key) => expect("deploymentId", key.id()),
        (Kind::Plugin, Key::Plugin(id)) => {
            expect("type", id.plugin_type().as_str());
            expect("pluginId", id.name());
        }
        (Kind::Plugin, _) => {}
    }
}

fn triggers(spec: &Value, fault: &mut impl FnMut(&str, String)) -> Vec<Gvk> {
    let items = spec.get("triggers").and_then(Value::as_array);
    let triggers: Vec<Gvk> = items
        .into_iter()
        .flatten()
        .map(|item| {
            let part = |name| text(item, name).unwrap_or_default();
            Gvk::new(part("group"), part("version"), part("kind"))
        })
        .collect();
    for trigger in &triggers {
        if let Err(error) = trigger.check_trigger() {
            fault("triggers", error.to_string());
        }
    }
    triggers
}
