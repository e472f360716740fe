//! Merging one package into another. Neither input changes; what is not touched is shared.

use crate::annotation::{self, METADATA, Merge, PREPARE, RENAME, When};
use crate::error::Result;
use crate::package::{Package, ambiguous_reference};
use crate::resource::{Gvk, Identifier, Resource, map_in};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Merges `incoming` into `target`, resource by resource in order: `nephio.org/rename` is applied
/// to its identifier; if the target has that identifier (by the rule of references,
/// [`Package::resolve`]) it replaces or overrides it in place, as `nephio.org/merge` says; else it
/// is appended. Both annotations stay on the result.
///
/// # Errors
/// [`Error::BadArgument`](crate::Error::BadArgument): an incoming resource without a namespace
/// meets several that have one.
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

/// A copy for elsewhere (placements, provisioned sites): of `prepare` and `metadata`, `Postpone`
/// becomes `Here`, and an explicit `Here` becomes `Never`, for it was already done where it came
/// from.
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

/// Puts `over` onto `under`: maps deep; lists, scalars and nulls replace. Keys keep their places,
/// new ones come last.
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

/// Resources, and where those of one kind and name are: merging two big packages must not compare
/// each with each.
struct Merged {
    resources: Vec<Arc<Resource>>,
    places: HashMap<(Gvk, Arc<str>), Vec<usize>>,
}

impl Merged {
    fn new(target: &Package) -> Self {
        let mut merged = Self {
            resources: Vec::with_capacity(target.len() + 4),
            places: HashMap::with_capacity(target.len() + 4),
        };
        for resource in target {
            merged.push(resource.clone());
        }
        merged
    }

    fn push(&mut self, resource: Arc<Resource>) {
        let Identifier { gvk, name, .. } = resource.identifier();
        self.places
            .entry((gvk.clone(), name.clone()))
            .or_default()
            .push(self.resources.len());
        self.resources.push(resource);
    }

    fn position(&self, reference: &Identifier) -> Result<Option<usize>> {
        let named = (reference.gvk.clone(), reference.name.clone());
        let Some(places) = self.places.get(&named) else {
            return Ok(None);
        };
        let same = |at: &&usize| self.resources[**at].identifier().namespace == reference.namespace;
        if let Some(at) = places.iter().find(same) {
            return Ok(Some(*at));
        }
        match (&reference.namespace, &places[..]) {
            (Some(_), _) => Ok(None),
            (None, [at]) => Ok(Some(*at)),
            (None, _) => Err(ambiguous_reference(reference)),
        }
    }

    fn take(&mut self, resource: &Arc<Resource>) -> Result<()> {
        let Some(at) = self.position(resource.identifier())? else {
            self.push(resource.clone());
            return Ok(());
        };
        self.resources[at] = match annotation::merge(resource) {
            Merge::Replace => resource.clone(),
            Merge::Override => {
                let Value::Object(over) = resource.value() else {
                    unreachable!("a resource is a map")
                };
                Arc::new(self.resources[at].edited(|under| overlay(under, over))?)
            }
        };
        Ok(())
    }
}
