//! Changed packages.

use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{Package, Resource, annotation, deployment_resource};

/// The package with each resource changed.
pub(crate) fn changed(package: &Package, change: impl Fn(&mut Value)) -> Package {
    let values = package.iter().map(|resource| {
        let mut value = resource.value().clone();
        change(&mut value);
        value
    });
    Package::from_values(values).expect("it stays a package")
}

/// Turns numbers into floats, as many JSON systems do.
pub(crate) fn floated(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(floated),
        Value::Object(map) => map.values_mut().for_each(floated),
        _ => {}
    }
}

/// Whether this is a Deployment resource.
fn is_head(resource: &Resource) -> bool {
    *resource.gvk() == deployment_resource::identifier().gvk
}

/// The Deployment resource of a package.
pub(crate) fn head_of(package: &Package) -> Option<&Arc<Resource>> {
    package.iter().find(|resource| is_head(resource))
}

/// Whether this annotation of the Deployment resource is `true`.
pub(crate) fn is_marked(package: &Package, mark: &str) -> bool {
    head_of(package).is_some_and(|head| annotation::is_true(head, mark))
}

/// The package with its Deployment resource changed.
pub(crate) fn with_head(package: &Package, change: impl Fn(&mut Value)) -> Package {
    let values = package.iter().map(|resource| {
        let mut value = resource.value().clone();
        if is_head(resource) {
            change(&mut value);
        }
        value
    });
    Package::from_values(values).expect("it stays a package")
}

/// The package without all Deployment resources but the first.
pub(crate) fn with_one_head(package: &Package) -> Package {
    let mut heads = 0;
    let kept = package.iter().filter(|resource| {
        heads += usize::from(is_head(resource));
        heads < 2 || !is_head(resource)
    });
    let kept = kept.cloned().collect();
    Package::new(kept).expect("it stays a package")
}
