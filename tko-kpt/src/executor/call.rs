//! Converts packages to lists of items, and back.

use crate::resource_list::Item;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::annotation::PREPARED;
use tko_core::{Error, Identifier, Package, Resource, Result, deployment_resource};

/// The items of a package, each with its position as origin. The Deployment resource is left out
/// unless it is wanted.
pub(crate) fn items(package: &Package, with_deployment: bool) -> Vec<Item> {
    let own = deployment_resource::identifier();
    let resources = package.iter().enumerate();
    resources
        .filter(|(_, resource)| with_deployment || resource.gvk() != &own.gvk)
        .map(|(at, resource)| Item {
            origin: Some(at),
            ..Item::of_resource(resource.value().clone())
        })
        .collect()
}

/// Makes a package from items.
///
/// Resources that a function left unchanged are shared. Resources that were withheld from the
/// function keep their position: after the resource that they followed.
///
/// # Errors
/// `BadArgument`: an item is not a resource, or two have the same identity.
pub(crate) fn package(
    before: &Package,
    items: Vec<Item>,
    is_withheld: impl Fn(&Resource) -> bool,
) -> Result<Package> {
    let mut kept: HashMap<Option<usize>, Vec<Arc<Resource>>> = HashMap::new();
    let mut last = None;
    for (at, resource) in before.iter().enumerate() {
        if is_withheld(resource) {
            kept.entry(last).or_default().push(resource.clone());
        } else {
            last = Some(at);
        }
    }
    let mut resources = kept.remove(&None).unwrap_or_default();
    for item in items {
        let origin = item.origin;
        let old = origin.and_then(|at| before.resources().get(at));
        let value = item.into_resource();
        resources.push(match old {
            Some(old) if *old.value() == value => old.clone(),
            _ => Arc::new(Resource::new(value)?),
        });
        if let Some(more) = origin.and_then(|at| kept.remove(&Some(at))) {
            resources.extend(more);
        }
    }
    // The resource that they followed is gone, so they are put at the end, in their order.
    let mut rest: Vec<_> = kept.into_iter().collect();
    rest.sort_by_key(|(at, _)| *at);
    resources.extend(rest.into_iter().flat_map(|(_, more)| more));
    Package::new(resources)
}

/// Checks that a function did not rename a resource.
///
/// # Errors
/// `BadArgument`: the item with this origin has another kind or name.
pub(crate) fn check_identity(
    items: &[Item],
    origin: Option<usize>,
    target: &Identifier,
) -> Result<()> {
    let found = items.iter().find(|item| item.origin == origin);
    let Some(item) = found.filter(|_| origin.is_some()) else {
        return Ok(());
    };
    let now = Resource::new(item.value.clone())?;
    let now = now.identifier();
    if now.gvk == target.gvk && now.name == target.name {
        return Ok(());
    }
    Err(Error::bad(
        "package",
        format!(
            "the function renamed the resource that triggered it, {target} ({}), to {now} ({}); \
             leave its apiVersion, kind and name as they are",
            target.gvk, now.gvk
        ),
    ))
}

/// Marks the target as prepared, if it still exists.
pub(crate) fn marked(package: Package, target: &Identifier) -> Result<Package> {
    // A function may have set the namespace.
    let reference = Identifier::new(target.gvk.clone(), &target.name);
    let found = match package.find(target) {
        Some(found) => Some(found.clone()),
        None => package.resolve(&reference)?.cloned(),
    };
    Ok(match found {
        Some(found) => package.with(Arc::new(found.annotated(PREPARED, "true"))),
        None => package,
    })
}
