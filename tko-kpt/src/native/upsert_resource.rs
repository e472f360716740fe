//! `upsert-resource`: replaces a resource, or adds it.

use super::fields::{group, kind, name, namespace};
use super::growth::WriteBudget;
use crate::annotations::{
    self, FUNCTION, INDEX, ITEM, LEGACY_INDEX, LEGACY_PATH, LOCAL_CONFIG, PATH,
};
use crate::reference::FunctionVersion;
use crate::resource_list::{Item, ResourceList};
use crate::results::{FunctionResult, Severity};
use serde_json::Value;
use tko_core::Resource;

/// The annotations that belong to an item of a list, not to its content.
const MARKS: [&str; 5] = [PATH, INDEX, LEGACY_PATH, LEGACY_INDEX, ITEM];

pub(super) fn run(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let Some(config) = list.function_config.clone() else {
        return Err("it is missing; expected the resource to insert or to replace".to_owned());
    };
    if let Err(error) = Resource::new(config.clone()) {
        return Err(format!("it is not a resource: {error}"));
    }
    let mut new = config;
    annotations::remove(
        &mut new,
        &[LOCAL_CONFIG, FUNCTION, "config.k8s.io/function"],
    );
    let identity = |value: &Value| {
        [group(value), kind(value), namespace(value), name(value)].map(str::to_owned)
    };
    let wanted = identity(&new);
    let mut replaced = false;
    for item in &mut list.items {
        let is_config = annotations::get(&item.value, FUNCTION).is_some();
        if is_config || identity(&item.value) != wanted {
            continue;
        }
        budget.take_copy(&new)?;
        let mut value = new.clone();
        for mark in MARKS {
            match annotations::get(&item.value, mark) {
                Some(text) => annotations::set(&mut value, mark, text),
                None => annotations::remove(&mut value, &[mark]),
            }
        }
        item.value = value;
        item.setters.clear();
        replaced = true;
    }
    let message = if replaced {
        "replaced the resource"
    } else {
        "added the resource"
    };
    let result = FunctionResult::new(Severity::Info, message).with_resource(&new);
    if !replaced {
        annotations::remove(&mut new, &MARKS);
        list.items.push(Item::new(new));
    }
    list.results.push(result);
    Ok(())
}
