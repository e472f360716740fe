//! The two kinds of writes, and their effect on the managers.

use super::set::FieldSet;
use super::typed::{compare, fields, merge, remove};
use super::{Manager, ManagerOperation, trimmed};
use serde_json::Value;
use std::collections::BTreeSet;

/// Maximum number of managers that update; the fields of older ones are combined under one name.
const MAX_UPDATE_MANAGERS: usize = 10;

/// The name that gets the fields of older managers.
const ANCIENT: &str = "ancient-changes";

/// The name of the manager of fields that existed before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A field that another manager has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The manager and how it wrote, for people.
    pub(crate) manager: String,
    /// The path of the field.
    pub(crate) field: String,
}

/// The result of an apply.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The trimmed object.
    pub(crate) object: Value,
    pub(crate) managers: Vec<Manager>,
}

/// The managers after a write of the whole object by `name`: it owns the fields that it changed.
///
/// Both objects are trimmed.
pub(crate) fn updated(
    old: &Value,
    new: &Value,
    schema: &Value,
    mut managers: Vec<Manager>,
    name: &str,
    now: &str,
) -> Vec<Manager> {
    let found = compare(old, new, schema);
    if found.written.is_empty() && found.removed.is_empty() {
        return managers;
    }
    let changed = found.written.union(&found.removed);
    let mut own = FieldSet::default();
    for manager in &mut managers {
        if manager.is(name, ManagerOperation::Update) {
            own = std::mem::take(&mut manager.fields);
        } else {
            manager.fields = manager.fields.difference(&changed);
        }
    }
    let own = own.union(&found.written).difference(&found.removed);
    managers.retain(|manager| !manager.fields.is_empty());
    if !own.is_empty() {
        managers.push(Manager {
            name: name.to_owned(),
            operation: ManagerOperation::Update,
            time: now.to_owned(),
            fields: own,
        });
    }
    capped(managers)
}

/// Applies a configuration: afterwards the manager owns exactly its fields. Fields that it owned
/// before and left out are removed unless others own them.
///
/// `live` is the trimmed object, `None` if there is none; `config` is trimmed. `allowed` are fields
/// of other managers that this manager may take over without `force`.
pub(crate) fn apply(
    live: Option<&Value>,
    config: &Value,
    schema: &Value,
    managers: &[Manager],
    (name, force): (&str, bool),
    allowed: &FieldSet,
    now: &str,
) -> Result<Applied, Vec<Conflict>> {
    let mut managers = managers.to_vec();
    if let Some(live) = live
        && managers.is_empty()
    {
        let there = fields(live, schema);
        if !there.is_empty() {
            managers.push(Manager {
                name: BEFORE_FIRST_APPLY.to_owned(),
                operation: ManagerOperation::Update,
                time: now.to_owned(),
                fields: there,
            });
        }
    }
    let nothing = super::empty();
    let live = live.unwrap_or(&nothing);
    let wanted = fields(config, schema);
    let merged = merge(live, config, schema);
    let had = managers
        .iter()
        .find(|manager| manager.is(name, ManagerOperation::Apply))
        .map(|manager| manager.fields.clone())
        .unwrap_or_default();
    let mut others = FieldSet::default();
    for manager in &managers {
        if !manager.is(name, ManagerOperation::Apply) {
            others.extend(&manager.fields);
        }
    }
    let left_out = had.difference(&wanted).difference(&others);
    let kept = others.union(&wanted);
    let object = remove(&merged, &left_out, &kept, schema);
    let found = compare(live, &object, schema);
    let mut conflicts = Vec::new();
    for manager in &mut managers {
        if manager.is(name, ManagerOperation::Apply) {
            continue;
        }
        let taken = manager.fields.intersection(&found.written);
        let refused = taken.difference(allowed);
        if !force && !refused.is_empty() {
            let who = match manager.operation {
                ManagerOperation::Apply => format!("conflict with {:?}", manager.name),
                ManagerOperation::Update => format!(
                    "conflict with {:?} using tko.nephio.org/v1alpha1",
                    manager.name
                ),
            };
            conflicts.extend(refused.paths().into_iter().map(|field| Conflict {
                manager: who.clone(),
                field,
            }));
        }
        manager.fields = manager.fields.difference(&taken).difference(&found.removed);
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let time = managers
        .iter()
        .find(|manager| manager.is(name, ManagerOperation::Apply) && manager.fields == wanted)
        .map_or_else(|| now.to_owned(), |manager| manager.time.clone());
    managers
        .retain(|manager| !manager.is(name, ManagerOperation::Apply) && !manager.fields.is_empty());
    if !wanted.is_empty() {
        managers.push(Manager {
            name: name.to_owned(),
            operation: ManagerOperation::Apply,
            time,
            fields: wanted,
        });
    }
    Ok(Applied {
        object,
        managers: capped(managers),
    })
}

/// The fields of the configuration in `text`, which kubectl recorded in an annotation.
pub(crate) fn recorded(text: &str, schema: &Value) -> FieldSet {
    match serde_json::from_str::<Value>(text) {
        Ok(object) => fields(&trimmed(&object), schema),
        Err(_) => FieldSet::default(),
    }
}

/// Combines the fields of the oldest managers that update under one name, if there are too many.
fn capped(managers: Vec<Manager>) -> Vec<Manager> {
    let mut updating: Vec<usize> = (0..managers.len())
        .filter(|at| managers[*at].operation == ManagerOperation::Update)
        .collect();
    if updating.len() <= MAX_UPDATE_MANAGERS {
        return managers;
    }
    updating.sort_by(|one, other| managers[*one].time.cmp(&managers[*other].time));
    let surplus = updating.len() - MAX_UPDATE_MANAGERS + 1;
    let old: BTreeSet<usize> = updating.into_iter().take(surplus).collect();
    let mut ancient = Manager {
        name: ANCIENT.to_owned(),
        operation: ManagerOperation::Update,
        time: String::new(),
        fields: FieldSet::default(),
    };
    let mut kept = Vec::new();
    for (at, manager) in managers.into_iter().enumerate() {
        if !old.contains(&at) {
            kept.push(manager);
            continue;
        }
        ancient.fields.extend(&manager.fields);
        if manager.time > ancient.time {
            ancient.time = manager.time;
        }
    }
    kept.insert(0, ancient);
    kept
}
