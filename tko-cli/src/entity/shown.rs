//! Entities as people see them: with the keys of the messages of the API.

use super::text;
use serde_json::{Map, Value, json};
use std::time::{Duration, UNIX_EPOCH};
use tko_core::{
    DeploymentId, Entity, Facts, Key, Metadata, Record, SiteId, Stage, TemplateId, Timestamp, Work,
};

/// As listings have it.
pub(super) fn row(record: &Record, deployment_ids: Option<Vec<String>>) -> Value {
    Value::Object(columns(&record.entity, deployment_ids))
}

/// All that there is to know, but for the package.
pub(super) fn whole(record: &Record, deployment_ids: Option<Vec<String>>) -> Value {
    let entity = &record.entity;
    let mut map = columns(entity, deployment_ids);
    map.insert("version".into(), entity.version.0.into());
    map.insert("generation".into(), entity.generation.0.into());
    if let Some(revision) = record.revision {
        map.insert("revision".into(), revision.0.into());
    }
    if let Some((site, _)) = entity.deployment().and_then(|d| d.placed.as_ref()) {
        map.insert("placedOn".into(), text(site.as_str()));
    }
    let conditions = entity.conditions.iter().map(|condition| {
        json!({
            "type": condition.kind,
            "status": match condition.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            },
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": condition.observed.0,
            "lastTransitionTime": time(condition.since),
        })
    });
    map.insert("conditions".into(), conditions.collect());
    if !record.work.is_empty() {
        map.insert("work".into(), record.work.iter().map(work).collect());
    }
    Value::Object(map)
}

fn columns(entity: &Entity, deployment_ids: Option<Vec<String>>) -> Map<String, Value> {
    let mut map = Map::new();
    let optional = |id: Option<&str>| text(id.unwrap_or_default());
    match (&entity.key, &entity.facts) {
        (Key::Template(id), _) => {
            map.insert("templateId".into(), text(id.as_str()));
        }
        (Key::Site(id), _) => {
            map.insert("siteId".into(), text(id.as_str()));
            let template = entity.template().map(TemplateId::as_str);
            map.insert("templateId".into(), optional(template));
        }
        (Key::Deployment(id), Facts::Deployment(d)) => {
            map.insert("deploymentId".into(), text(id.as_str()));
            let parent = d.parent.as_ref().map(DeploymentId::as_str);
            map.insert("parentDeploymentId".into(), optional(parent));
            let template = d.template.as_ref().map(TemplateId::as_str);
            map.insert("templateId".into(), optional(template));
            map.insert(
                "siteId".into(),
                optional(d.site.as_ref().map(SiteId::as_str)),
            );
        }
        (Key::Plugin(id), Facts::Plugin(plugin)) => {
            map.insert("type".into(), text(id.plugin_type().as_str()));
            map.insert("name".into(), text(id.name()));
            map.insert("executor".into(), text(&plugin.executor));
            map.insert("arguments".into(), json!(plugin.arguments));
            map.insert("properties".into(), json!(plugin.properties));
            let triggers = plugin.triggers.iter().map(
                |gvk| json!({"group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind}),
            );
            map.insert("triggers".into(), triggers.collect());
            return map;
        }
        _ => {}
    }
    map.insert("metadata".into(), metadata(&entity.metadata));
    if entity.deployment().is_some() {
        map.insert("created".into(), text(time(entity.created)));
    }
    map.insert("updated".into(), text(time(entity.updated)));
    if let Some(deployment) = entity.deployment() {
        map.insert("prepared".into(), deployment.prepared.into());
        map.insert("approved".into(), deployment.approved.into());
    }
    if let Some(ids) = deployment_ids {
        map.insert("deploymentIds".into(), json!(ids));
    }
    map
}

fn metadata(metadata: &Metadata) -> Value {
    metadata
        .iter()
        .map(|(key, value)| (key.to_owned(), text(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn work(work: &Work) -> Value {
    let stage = match work.stage {
        Stage::Prepare => "prepare",
        Stage::Schedule => "schedule",
        Stage::Delete => "delete",
    };
    let mut map = Map::new();
    map.insert("stage".into(), text(stage));
    map.insert("attempts".into(), work.attempts.into());
    map.insert("due".into(), text(time(work.due)));
    if let Some(until) = work.leased {
        map.insert("workedOnUntil".into(), text(time(until)));
    }
    if let Some(error) = &work.error {
        map.insert("lastError".into(), text(error));
    }
    Value::Object(map)
}

/// RFC 3339, in UTC, to the microsecond.
fn time(at: Timestamp) -> String {
    let micros = u64::try_from(at.0).unwrap_or_default();
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros)).to_string()
}
