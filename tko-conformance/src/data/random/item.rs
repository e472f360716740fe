//! Packages as short lists of few resources.

use crate::data::sample;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tko_core::Package;

/// A resource of the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ModelResource {
    /// A `ConfigMap`; merging replaces it.
    Config(u8),
    /// A source of metadata; merging replaces it.
    Facts(u8),
    /// A resource with `Override`; without a value, merging keeps the old one.
    Need(Option<u8>),
    /// A resource that is never valid.
    Bad,
    /// The Deployment resource; merging replaces it.
    Head(ModelHead),
}

/// The fields of a Deployment resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelHead {
    pub(super) template: Option<String>,
    pub(super) site: Option<String>,
    pub(super) prepared: bool,
    pub(super) approved: bool,
}

impl ModelResource {
    /// The identity of the resource.
    pub(super) fn slot(&self) -> u8 {
        match self {
            Self::Config(_) => 0,
            Self::Facts(_) => 1,
            Self::Need(_) => 2,
            Self::Bad => 3,
            Self::Head(_) => 4,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Config(word) => sample::config_of("config", &word.to_string()),
            Self::Facts(word) => sample::facts("X", json!({"word": word.to_string()})),
            Self::Need(value) => sample::need("need", value.map(|v| v.to_string()).as_deref()),
            Self::Bad => sample::bad("bad"),
            Self::Head(head) => {
                let mut spec = json!({});
                let ids = [("templateId", &head.template), ("siteId", &head.site)];
                for (field, id) in ids {
                    if let Some(id) = id {
                        spec[field] = json!(id);
                    }
                }
                let annotations = json!({
                    "nephio.org/prepared": head.prepared.to_string(),
                    "nephio.org/approved": head.approved.to_string(),
                });
                sample::deployment(spec, annotations)
            }
        }
    }
}

pub(super) fn package(items: &[ModelResource]) -> Package {
    let values: Vec<Value> = items.iter().map(ModelResource::value).collect();
    sample::named(values)
}

/// Changes a package to these resources. Unchanged resources keep every byte.
pub(super) fn edited(package: &Package, old: &[ModelResource], new: &[ModelResource]) -> Package {
    // The model's package has the order of the real one.
    let there = |item: &ModelResource| {
        let at = old.iter().position(|other| other.slot() == item.slot())?;
        Some(package.resources()[at].value().clone())
    };
    let values = new
        .iter()
        .map(|item| match (there(item), head_of(old), item) {
            (Some(value), _, item) if old.contains(item) => value,
            (Some(value), Some(old), ModelResource::Head(new)) => headed(value, old, new),
            _ => item.value(),
        });
    sample::named(values.collect::<Vec<_>>())
}

/// Sets the fields of the Deployment resource that differ.
fn headed(mut value: Value, old: &ModelHead, new: &ModelHead) -> Value {
    let ids = [
        ("templateId", &old.template, &new.template),
        ("siteId", &old.site, &new.site),
    ];
    for (field, old, new) in ids {
        if old != new {
            value["spec"][field] = json!(new);
        }
    }
    let marks = [
        ("nephio.org/prepared", old.prepared, new.prepared),
        ("nephio.org/approved", old.approved, new.approved),
    ];
    for (name, old, new) in marks {
        if old != new {
            value["metadata"]["annotations"][name] = json!(new.to_string());
        }
    }
    value
}

/// The resources of a package.
pub(super) fn items(package: &Package) -> Vec<ModelResource> {
    let number = |value: Option<&Value>| value.and_then(|v| v.as_str()?.parse().ok());
    let item = |resource: &std::sync::Arc<tko_core::Resource>| match &*resource.gvk().kind {
        "ConfigMap" => {
            ModelResource::Config(number(resource.get(&["data", "says"])).expect("a number"))
        }
        "X" => ModelResource::Facts(number(resource.get(&["spec", "word"])).expect("a number")),
        "Need" => ModelResource::Need(number(resource.get(&["spec", "value"]))),
        "Deployment" => {
            let id = |field| {
                let id = resource.get(&["spec", field])?;
                id.as_str().map(str::to_owned)
            };
            let says = |name| resource.annotation(name).as_deref() == Some("true");
            ModelResource::Head(ModelHead {
                template: id("templateId"),
                site: id("siteId"),
                prepared: says("nephio.org/prepared"),
                approved: says("nephio.org/approved"),
            })
        }
        _ => ModelResource::Bad,
    };
    package.iter().map(item).collect()
}

/// Merges in place, or at the end.
pub(super) fn merged(target: &[ModelResource], incoming: &[ModelResource]) -> Vec<ModelResource> {
    let mut merged = target.to_vec();
    for item in incoming {
        let place = merged.iter_mut().find(|old| old.slot() == item.slot());
        match (place, item) {
            (None, item) => merged.push(item.clone()),
            (Some(ModelResource::Need(_)), ModelResource::Need(None)) => {}
            (Some(place), item) => *place = item.clone(),
        }
    }
    merged
}

pub(super) fn head_of(items: &[ModelResource]) -> Option<&ModelHead> {
    items.iter().find_map(|item| match item {
        ModelResource::Head(head) => Some(head),
        _ => None,
    })
}

/// Whether the admission accepts these resources.
pub(super) fn is_valid(items: &[ModelResource], complete: bool) -> bool {
    let lacking = complete && items.contains(&ModelResource::Need(None));
    !lacking && !items.contains(&ModelResource::Bad)
}

/// The metadata of these resources.
pub(super) fn gathered(items: &[ModelResource]) -> BTreeMap<String, String> {
    let word = items.iter().find_map(|item| match item {
        ModelResource::Facts(word) => Some(("X.word".to_owned(), word.to_string())),
        _ => None,
    });
    word.into_iter().collect()
}
