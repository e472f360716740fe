//! Packages as short lists of few resources.

use crate::data::sample;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tko_core::Package;

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A `ConfigMap`: replaces.
    Config(u8),
    /// Gives metadata: replaces.
    Facts(u8),
    /// Overrides: without a value it leaves the one that is there.
    Need(Option<u8>),
    /// Never valid.
    Bad,
    /// The Deployment resource: replaces.
    Head(Head),
}

/// What a Deployment resource says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Head {
    pub(super) template: Option<String>,
    pub(super) site: Option<String>,
    pub(super) prepared: bool,
    pub(super) approved: bool,
}

impl Item {
    /// Which resource it is.
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

pub(super) fn package(items: &[Item]) -> Package {
    let values: Vec<Value> = items.iter().map(Item::value).collect();
    sample::named(values)
}

/// The package changed to say something else: what says the same stays as it is, to the byte.
pub(super) fn edited(package: &Package, old: &[Item], new: &[Item]) -> Package {
    // The model's package is in the order of the subject's.
    let there = |item: &Item| {
        let at = old.iter().position(|other| other.slot() == item.slot())?;
        Some(package.resources()[at].value().clone())
    };
    let values = new
        .iter()
        .map(|item| match (there(item), head_of(old), item) {
            (Some(value), _, item) if old.contains(item) => value,
            (Some(value), Some(old), Item::Head(new)) => headed(value, old, new),
            _ => item.value(),
        });
    sample::named(values.collect::<Vec<_>>())
}

/// The Deployment resource with what differs set.
fn headed(mut value: Value, old: &Head, new: &Head) -> Value {
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

/// What a package says.
pub(super) fn items(package: &Package) -> Vec<Item> {
    let number = |value: Option<&Value>| value.and_then(|v| v.as_str()?.parse().ok());
    let item = |resource: &std::sync::Arc<tko_core::Resource>| match &*resource.gvk().kind {
        "ConfigMap" => Item::Config(number(resource.get(&["data", "says"])).expect("a number")),
        "X" => Item::Facts(number(resource.get(&["spec", "word"])).expect("a number")),
        "Need" => Item::Need(number(resource.get(&["spec", "value"]))),
        "Deployment" => {
            let id = |field| {
                let id = resource.get(&["spec", field])?;
                id.as_str().map(str::to_owned)
            };
            let says = |name| resource.annotation(name).as_deref() == Some("true");
            Item::Head(Head {
                template: id("templateId"),
                site: id("siteId"),
                prepared: says("nephio.org/prepared"),
                approved: says("nephio.org/approved"),
            })
        }
        _ => Item::Bad,
    };
    package.iter().map(item).collect()
}

/// Merges: in place, or at the end.
pub(super) fn merged(target: &[Item], incoming: &[Item]) -> Vec<Item> {
    let mut merged = target.to_vec();
    for item in incoming {
        let place = merged.iter_mut().find(|old| old.slot() == item.slot());
        match (place, item) {
            (None, item) => merged.push(item.clone()),
            (Some(Item::Need(_)), Item::Need(None)) => {}
            (Some(place), item) => *place = item.clone(),
        }
    }
    merged
}

pub(super) fn head_of(items: &[Item]) -> Option<&Head> {
    items.iter().find_map(|item| match item {
        Item::Head(head) => Some(head),
        _ => None,
    })
}

/// Whether the admission lets it pass.
pub(super) fn is_valid(items: &[Item], complete: bool) -> bool {
    let lacking = complete && items.contains(&Item::Need(None));
    !lacking && !items.contains(&Item::Bad)
}

/// What it gives.
pub(super) fn gathered(items: &[Item]) -> BTreeMap<String, String> {
    let word = items.iter().find_map(|item| match item {
        Item::Facts(word) => Some(("X.word".to_owned(), word.to_string())),
        _ => None,
    });
    word.into_iter().collect()
}
