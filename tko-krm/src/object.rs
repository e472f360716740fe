//! Entities as Kubernetes objects.

use crate::names;
use crate::ready::{READY, ready};
use crate::resource::{API_VERSION, ResourceType};
use crate::stored::StoredMetadata;
use serde_json::{Map, Value, json};
use tko_core::entity::DELETING;
use tko_core::metadata::RESERVED;
use tko_core::{
    ContentHash, DeploymentId, Entity, Facts, Key, Limits, Record, Revision, SiteId, TemplateId,
};
use tko_core::{Timestamp, view};

/// The deepest nesting of an object: the levels that a resource may have, and four more for the
/// object, `spec`, `package` and `resources`.
pub(crate) const MAX_DEPTH: usize = Limits::new().depth + 4;

/// The levels of maps and lists of a value.
pub(crate) fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or_default()
}

/// The resource version of a revision. The first is 1: Kubernetes reserves 0.
pub(crate) fn resource_version(revision: Revision) -> u64 {
    revision.0.saturating_add(1)
}

/// The revision of a resource version.
pub(crate) fn revision(resource_version: u64) -> Revision {
    Revision(resource_version.saturating_sub(1))
}

/// A time to the second, as Kubernetes writes it.
pub(crate) fn time(at: Timestamp) -> String {
    let text = view::rfc3339(at);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// The UID of an entity: the same as long as it exists, and another if it is created again.
pub(crate) fn uid(entity: &Entity) -> String {
    uuid(ContentHash::of(&json!([
        entity.key.kind().as_str(),
        entity.key.id(),
        entity.created.0
    ])))
}

/// A UUID from a hash.
pub(crate) fn uuid(hash: ContentHash) -> String {
    let mut digits = hash.to_string();
    digits.truncate(32);
    // Version 8 of RFC 9562, with its variant: made by this program's own rules.
    digits.replace_range(12..13, "8");
    digits.replace_range(16..17, "a");
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

/// The whole object. The record must have its revision; without a package, `spec.package` is left
/// out.
pub(crate) fn object(record: &Record) -> Value {
    let entity = &*record.entity;
    let resource = ResourceType::of(entity.key.kind());
    let mut object = Map::new();
    object.insert("apiVersion".into(), API_VERSION.into());
    object.insert("kind".into(), resource.name.into());
    object.insert("metadata".into(), metadata(record));
    object.insert("spec".into(), spec(record));
    object.insert("status".into(), status(entity));
    Value::Object(object)
}

/// `metadata` of an object.
pub(crate) fn metadata(record: &Record) -> Value {
    let entity = &*record.entity;
    let stored = StoredMetadata::of(entity);
    let mut map = Map::new();
    map.insert(
        "name".into(),
        names::name_of(&entity.key, &entity.given).into(),
    );
    if !stored.generate_name.is_empty() {
        map.insert("generateName".into(), stored.generate_name.as_str().into());
    }
    map.insert("uid".into(), uid(entity).into());
    let version = resource_version(record.revision.unwrap_or_default());
    map.insert("resourceVersion".into(), version.to_string().into());
    map.insert("generation".into(), entity.generation.0.into());
    map.insert("creationTimestamp".into(), time(entity.created).into());
    if let Some(deletion) = deletion(entity, &stored) {
        map.insert("deletionTimestamp".into(), deletion.into());
        map.insert("deletionGracePeriodSeconds".into(), 0.into());
    }
    let mut finalizers = stored.finalizers.clone();
    if entity.deleting {
        // TKO keeps the entity until its schedulers have removed it from their sites.
        finalizers.push(SCHEDULED_FINALIZER.to_owned());
    }
    let labels = names::labels(&entity.metadata, &stored);
    if !labels.is_empty() {
        map.insert("labels".into(), json!(labels));
    }
    if !stored.annotations.is_empty() {
        map.insert("annotations".into(), json!(stored.annotations));
    }
    if !stored.owners.is_empty() {
        map.insert("ownerReferences".into(), json!(stored.owners));
    }
    if !finalizers.is_empty() {
        map.insert("finalizers".into(), json!(finalizers));
    }
    if !stored.managers.is_empty() {
        map.insert("managedFields".into(), json!(stored.managers));
    }
    Value::Object(map)
}

/// The time at which the deletion was requested, which never changes; `None` if it was not.
fn deletion(entity: &Entity, stored: &StoredMetadata) -> Option<String> {
    if stored.deletion.is_some() || !entity.deleting {
        return stored.deletion.clone();
    }
    // Entities that earlier versions marked have no such condition.
    let requested = entity.condition(DELETING);
    Some(time(requested.map_or(entity.updated, |one| one.since)))
}

/// The finalizer that stands for the schedulers, on entities that TKO is deleting.
pub(crate) const SCHEDULED_FINALIZER: &str = "tko.nephio.org/scheduled";

/// `spec` of an object.
fn spec(record: &Record) -> Value {
    let entity = &*record.entity;
    let mut spec = Map::new();
    let mut set = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            spec.insert(name.to_owned(), value.into());
        }
    };
    match (&entity.key, &entity.facts) {
        (Key::Template(id), _) => set("templateId", Some(id.as_str())),
        (Key::Site(id), _) => {
            set("siteId", Some(id.as_str()));
            set("templateId", entity.template().map(TemplateId::as_str));
        }
        (Key::Deployment(id), Facts::Deployment(deployment)) => {
            set("deploymentId", Some(id.as_str()));
            let parent = deployment.parent.as_ref();
            set("parentDeploymentId", parent.map(DeploymentId::as_str));
            set(
                "templateId",
                deployment.template.as_ref().map(TemplateId::as_str),
            );
            set("siteId", deployment.site.as_ref().map(SiteId::as_str));
        }
        (Key::Plugin(id), Facts::Plugin(plugin)) => {
            set("type", Some(id.plugin_type().as_str()));
            set("pluginId", Some(id.name()));
            set("executor", Some(&plugin.executor));
            if !plugin.arguments.is_empty() {
                spec.insert("arguments".into(), json!(plugin.arguments));
            }
            if !plugin.properties.is_empty() {
                spec.insert("properties".into(), json!(plugin.properties));
            }
            if !plugin.triggers.is_empty() {
                let triggers = plugin.triggers.iter().map(
                    |gvk| json!({"group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind}),
                );
                spec.insert("triggers".into(), triggers.collect());
            }
        }
        _ => {}
    }
    if let (Some(package), false) = (&record.package, matches!(entity.key, Key::Plugin(_))) {
        spec.insert(
            "package".into(),
            json!({"resources": view::package(package)}),
        );
    }
    Value::Object(spec)
}

/// `status` of an object.
pub(crate) fn status(entity: &Entity) -> Value {
    let mut status = Map::new();
    if let Some(deployment) = entity.deployment() {
        status.insert("prepared".into(), deployment.prepared.into());
        status.insert("approved".into(), deployment.approved.into());
        if let Some((site, generation)) = &deployment.placed {
            status.insert("placedOn".into(), site.as_str().into());
            status.insert("placedGeneration".into(), generation.0.into());
        }
    }
    let metadata: Map<String, Value> = entity
        .metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(RESERVED))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !metadata.is_empty() {
        status.insert("metadata".into(), Value::Object(metadata));
    }
    let others = entity.conditions.iter().filter(|one| one.kind != READY);
    let all = others.cloned().chain(ready(entity));
    let conditions: Vec<Value> = all.map(|one| condition(&one)).collect();
    if !conditions.is_empty() {
        status.insert("conditions".into(), conditions.into());
    }
    Value::Object(status)
}

fn condition(condition: &tko_core::Condition) -> Value {
    let mut value = view::condition(condition);
    value["lastTransitionTime"] = time(condition.since).into();
    value
}
