//! The answers of dry runs: the objects that would be stored, as far as they are known without
//! storing them.

use super::patching::Changed;
use crate::managed::Manager;
use crate::object;
use serde_json::Value;
use tko_core::{ContentHash, DeploymentId, Record};

/// The fields of `metadata` that a creation ignores. Others that a client cannot set are overwritten
/// in [`of_new`].
const IGNORED: [&str; 3] = [
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "selfLink",
];

/// The object that a creation would store. The packages of templates are not merged into it.
pub(super) fn of_new(
    name: &str,
    object: &Value,
    managers: &[Manager],
    id: &DeploymentId,
    now: &str,
) -> Value {
    let mut preview = object.clone();
    if let Some(parts) = preview.as_object_mut() {
        // A creation ignores the client's status.
        parts.shift_remove("status");
    }
    if let Some(metadata) = preview["metadata"].as_object_mut() {
        for key in IGNORED {
            metadata.shift_remove(key);
        }
    }
    let metadata = &mut preview["metadata"];
    metadata["name"] = name.into();
    metadata["uid"] = object::uuid(ContentHash::of(&id.as_str().into())).into();
    metadata["generation"] = 1.into();
    metadata["creationTimestamp"] = now.into();
    metadata["managedFields"] = entries(managers);
    preview
}

/// The object that a change would store.
pub(super) fn of_change(live: &Record, changed: &Changed) -> Value {
    let mut preview = object::object(live);
    let spec = changed.object.get("spec").and_then(Value::as_object);
    for (key, value) in spec.into_iter().flatten() {
        preview["spec"][key.as_str()] = value.clone();
    }
    let new = changed.object.get("metadata").unwrap_or(&Value::Null);
    for key in ["annotations", "finalizers", "labels", "ownerReferences"] {
        match new.get(key).filter(|value| !value.is_null()) {
            Some(value) => preview["metadata"][key] = value.clone(),
            None => {
                if let Some(metadata) = preview["metadata"].as_object_mut() {
                    metadata.shift_remove(key);
                }
            }
        }
    }
    preview["metadata"]["managedFields"] = entries(&changed.managers);
    preview
}

fn entries(managers: &[Manager]) -> Value {
    managers.iter().map(Manager::to_value).collect()
}
