//! Merging one package into another. The inputs do not change; untouched resources are shared.
//!
//! ```
//! use serde_json::json;
//! use tko_core::Package;
//! use tko_core::merge::merge;
//!
//! let config = |annotations, data| json!({
//!     "apiVersion": "v1",
//!     "kind": "ConfigMap",
//!     "metadata": {"name": "settings", "annotations": annotations},
//!     "data": data,
//! });
//! let template = config(json!({}), json!({"dnn": "internet", "log": "info"}));
//! let own = config(json!({"nephio.org/merge": "Override"}), json!({"log": "debug"}));
//! let merged = merge(&Package::from_values([template])?, &Package::from_values([own])?)?;
//! let data = &merged.resources()[0].value()["data"];
//! assert_eq!(data, &json!({"dnn": "internet", "log": "debug"}));
//! # Ok::<(), tko_core::Error>(())
//! ```

use crate::annotation::{self, METADATA, Merge, PREPARE, RENAME, When};
use crate::error::{Error, Result};
use crate::package::{Package, ResourcePlaces};
use crate::resource::{Resource, map_in};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Merges the resources of `incoming` into `target`, one by one in order.
///
/// 1. The annotation `nephio.org/rename` changes the name of the incoming resource.
/// 2. If the target has a resource that its identifier [refers to](Package::resolve), the incoming
///    one replaces or overrides it in place, as the annotation `nephio.org/merge` requires.
/// 3. Otherwise the incoming resource is appended.
///
/// Both annotations stay on the result.
///
/// # Errors
/// [`Error::BadArgument`]: the identifier of an incoming resource has no namespace and refers to
/// several resources; or its annotation `nephio.org/rename` is a map or a list.
pub fn merge(target: &Package, incoming: &Package) -> Result<Package> {
    if incoming.is_empty() {
        return Ok(target.clone());
    }
    let mut merged = Merged::new(target);
    for resource in incoming {
        merged.take(&renamed(resource)?)?;
    }
    Ok(Package::unchecked(merged.resources))
}

/// Creates a copy of a resource for another package, such as that of a placement or a new site.
///
/// In the annotations `prepare` and `metadata`, `Postpone` becomes `Here`. An explicit `Here`
/// becomes `Never`, because that was already done in the original package.
pub fn elsewhere(resource: &Arc<Resource>) -> Arc<Resource> {
    let mut copy = resource.clone();
    for name in [PREPARE, METADATA] {
        let value = match annotation::when(&copy, name) {
            Some(When::Postpone) => "Here",
            Some(When::Here) => "Never",
            Some(When::Never) | None => continue,
        };
        copy = Arc::new(copy.annotated(name, value));
    }
    copy
}

/// Overlays `under` with `over`: maps are merged deeply; lists, scalars and nulls replace. Existing
/// keys keep their places, and new keys come last.
pub fn overlay(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => overlay(under, over),
            (Some(place), value) => *place = value.clone(),
            (None, value) => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

fn renamed(resource: &Arc<Resource>) -> Result<Arc<Resource>> {
    if let Some(violation) = annotation::check_rename(resource) {
        return Err(Error::invalid("package", vec![violation]));
    }
    match resource.annotation(RENAME) {
        Some(name) if *name != *resource.identifier().name => {
            let name = Value::String(name.into_owned());
            let renamed = resource.edited(|content| {
                map_in(content, "metadata").insert("name".to_owned(), name);
            })?;
            Ok(Arc::new(renamed))
        }
        _ => Ok(resource.clone()),
    }
}

/// Resources with their places, so that merging two large packages takes linear time.
struct Merged {
    resources: Vec<Arc<Resource>>,
    places: ResourcePlaces,
}

impl Merged {
    fn new(target: &Package) -> Self {
        let capacity = target.len() + 4;
        let mut merged = Self {
            resources: Vec::with_capacity(capacity),
            places: ResourcePlaces::with_capacity(capacity),
        };
        for resource in target {
            merged.push(resource.clone());
        }
        merged
    }

    fn push(&mut self, resource: Arc<Resource>) {
        self.places.add(resource.identifier(), self.resources.len());
        self.resources.push(resource);
    }

    fn take(&mut self, resource: &Arc<Resource>) -> Result<()> {
        let Some(at) = self.places.position(resource.identifier())? else {
            self.push(resource.clone());
            return Ok(());
        };
        let under = std::mem::replace(&mut self.resources[at], resource.clone());
        let before = under.identifier().clone();
        if annotation::merge(resource) == Merge::Override {
            let Value::Object(over) = resource.value() else {
                unreachable!("a resource is a map")
            };
            // Many incoming resources may be renamed to the same one. Only the first makes a copy.
            let mut content = match Arc::try_unwrap(under) {
                Ok(own) => own.into_value(),
                Err(shared) => shared.value().clone(),
            };
            if let Value::Object(under) = &mut content {
                overlay(under, over);
            }
            // Overlaying adds no levels: the result is as deep as the deeper of the two. Counting the
            // levels of each result would make many renamed ones quadratic.
            self.resources[at] = Arc::new(Resource::stored(content)?);
        }
        // The resource has no namespace now if the reference to the only one had none.
        let after = self.resources[at].identifier();
        if *after != before {
            self.places.rename(&before, after, at);
        }
        Ok(())
    }
}
