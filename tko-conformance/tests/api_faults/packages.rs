//! Changed packages.

use serde_json::{Value, json};
use tko_core::Package;

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
