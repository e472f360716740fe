//! Computes the new object of a write from the current one.

use super::Write;
use crate::failure::{KrmAnswer, KrmFailure, StatusCause};
use crate::managed::{self, Manager};
use crate::object;
use crate::patch::{self, PatchError};
use crate::schema::schema;
use crate::stored::StoredMetadata;
use crate::validation;
use serde_json::Value;
use tko_core::Record;

/// The annotation in which kubectl records the applied configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A change of an object.
pub(super) enum Transform {
    Replace(Value),
    Json(Value),
    Merge(Value),
    Apply(Value),
}

/// An object after a change.
pub(super) struct Changed {
    pub(super) object: Value,
    pub(super) managers: Vec<Manager>,
    /// Whether the object states the whole intent, so that a package is merged into the template's
    /// again, instead of replacing the current one.
    pub(super) is_applied: bool,
    /// Whether the client states the version that the object must have.
    pub(super) states_version: bool,
}

impl Write<'_> {
    /// The object after a change, checked against its preconditions.
    pub(super) fn transformed(
        &self,
        name: &str,
        live: &Record,
        transform: &Transform,
        warnings: &mut Vec<String>,
    ) -> KrmAnswer<Changed> {
        let present = object::object(live);
        let mut new = match transform {
            Transform::Replace(new) => new.clone(),
            Transform::Json(patch) => {
                let mut new = present.clone();
                patch::json_patch(&mut new, patch).map_err(|error| self.unfit(name, &error))?;
                new
            }
            Transform::Merge(patch) => {
                let mut new = present.clone();
                patch::merge(&mut new, patch);
                new
            }
            Transform::Apply(config) => config.clone(),
        };
        let found = validation::check(self.resource, &mut new, self.options.validation)?;
        warnings.extend(found);
        self.check_preconditions(name, live, &new)?;
        let states_version = match transform {
            Transform::Replace(stated) | Transform::Merge(stated) | Transform::Apply(stated) => {
                stated
                    .get("metadata")
                    .and_then(|metadata| metadata.get("resourceVersion"))
                    .and_then(Value::as_str)
                    .is_some_and(|version| !version.is_empty())
            }
            Transform::Json(_) => false,
        };
        let stored = StoredMetadata::of(&live.entity);
        let keeps_package = keep_known_package(&mut new, &present, &stored);
        let schema = schema(self.resource.entity);
        let now = self.now();
        let old = managed::trimmed(&present);
        if let Transform::Apply(_) = transform {
            Self::check_apply(name, &new)?;
            let recorded = if self.options.manager == "kubectl" {
                let text = stored.annotations.get(LAST_APPLIED);
                text.map(|text| managed::recorded(text, schema))
                    .unwrap_or_default()
            } else {
                managed::FieldSet::default()
            };
            let applied = managed::apply(
                Some(&old),
                &managed::trimmed(&new),
                schema,
                &Self::managers(live),
                (&self.options.manager, self.options.force),
                &recorded,
                &now,
            );
            let applied = applied.map_err(|conflicts| {
                let causes = conflicts.into_iter().map(|conflict| StatusCause {
                    reason: "FieldManagerConflict".into(),
                    message: conflict.manager,
                    field: conflict.field,
                });
                KrmFailure::apply_conflict(self.resource, name, causes.collect())
            })?;
            let mut object = present;
            for part in ["spec", "metadata"] {
                replace_part(&mut object, &applied.object, part);
            }
            return Ok(Changed {
                object,
                managers: applied.managers,
                is_applied: true,
                states_version,
            });
        }
        let is_applied = match transform {
            Transform::Merge(patch) => patch
                .get("metadata")
                .and_then(|metadata| metadata.get("annotations"))
                .and_then(|annotations| annotations.get(LAST_APPLIED))
                .is_some_and(Value::is_string),
            _ => false,
        };
        let managers = match Self::given_managers(&new, &present) {
            Some(managers) => managers,
            None => Self::managers(live),
        };
        let managers = managed::updated(
            &old,
            &managed::trimmed(&new),
            schema,
            managers,
            &self.options.manager,
            &now,
        );
        Ok(Changed {
            object: new,
            managers,
            is_applied: is_applied && !keeps_package,
            states_version,
        })
    }

    /// The managers that a write states itself; an empty entry resets them.
    fn given_managers(new: &Value, present: &Value) -> Option<Vec<Manager>> {
        let entries = |object: &Value| {
            let entries = object.get("metadata")?.get("managedFields")?;
            entries.as_array().cloned()
        };
        let given = entries(new)?;
        if Some(&given) == entries(present).as_ref() {
            return None;
        }
        if given.len() == 1 && given[0].as_object().is_some_and(serde_json::Map::is_empty) {
            return Some(Vec::new());
        }
        let parsed = managed::parse(&given);
        // Malformed managers are ignored, as if none were given.
        (parsed.len() == given.len() && !given.is_empty()).then_some(parsed)
    }

    /// Checks name, UID and resource version of a new state.
    pub(super) fn check_preconditions(
        &self,
        name: &str,
        live: &Record,
        new: &Value,
    ) -> KrmAnswer<()> {
        let text = |key: &str| {
            let value = new.get("metadata").and_then(|metadata| metadata.get(key));
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        if let Some(given) = text("name").filter(|given| *given != name) {
            return Err(KrmFailure::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let uid = object::uid(&live.entity);
        if let Some(given) = text("uid").filter(|given| *given != uid) {
            let why = format!(
                "Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
            );
            return Err(KrmFailure::conflict(self.resource, name, why));
        }
        let version = object::resource_version(live.revision.unwrap_or_default()).to_string();
        if text("resourceVersion").is_some_and(|given| given != version) {
            return Err(KrmFailure::conflict(
                self.resource,
                name,
                "the object has been modified; please apply your changes to the latest version and \
                 try again",
            ));
        }
        Ok(())
    }

    /// Checks a configuration that is applied.
    pub(super) fn check_apply(name: &str, config: &Value) -> KrmAnswer<()> {
        let metadata = config.get("metadata").unwrap_or(&Value::Null);
        let managed = metadata.get("managedFields").and_then(Value::as_array);
        if managed.is_some_and(|entries| !entries.is_empty()) {
            return Err(KrmFailure::bad_request(
                "metadata.managedFields must be nil",
            ));
        }
        let given = metadata.get("name").and_then(Value::as_str);
        match given {
            Some(given) if given != name => Err(KrmFailure::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            ))),
            _ => Ok(()),
        }
    }

    /// The failure about a JSON patch.
    pub(super) fn unfit(&self, name: &str, error: &PatchError) -> Box<KrmFailure> {
        match error {
            PatchError::Malformed(why) => KrmFailure::bad_request(why.clone()),
            PatchError::Unfit(why) => {
                // kubectl shows the field of each cause, also if it is empty.
                self.invalid(name, vec![StatusCause::invalid("patch", why.clone())])
            }
            PatchError::TooLarge(why) => KrmFailure::too_large_patch(why.clone()),
        }
    }
}

/// If the package equals the one that was requested last, replaces it by the current one. TKO has
/// merged and prepared it since, and repeating the request is not a change. Returns whether it was
/// equal.
fn keep_known_package(new: &mut Value, present: &Value, stored: &StoredMetadata) -> bool {
    let Some(asked) = &stored.asked else {
        return false;
    };
    let package = new
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("package"))
        .filter(|package| package.get("resources").is_some());
    let Some(package) = package else {
        return false;
    };
    let known = tko_core::ContentHash::of(&package["resources"]).to_string() == *asked;
    if known {
        package["resources"] = present["spec"]["package"]["resources"].clone();
    }
    known
}

/// Replaces the managed fields of a part of an object.
fn replace_part(object: &mut Value, applied: &Value, part: &str) {
    let new = applied.get(part).cloned().unwrap_or_else(managed::empty);
    if part == "spec" {
        object[part] = new;
        return;
    }
    for key in ["annotations", "finalizers", "labels", "ownerReferences"] {
        match new.get(key) {
            Some(value) => object[part][key] = value.clone(),
            None => {
                if let Some(metadata) = object[part].as_object_mut() {
                    metadata.shift_remove(key);
                }
            }
        }
    }
}
