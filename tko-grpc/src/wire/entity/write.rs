//! Encodes entities.

use super::{DEPLOYMENT, GIVEN, INHERITED, METADATA, PLUGIN, SITE, pack_condition};
use crate::proto::v1alpha2 as wire;
use crate::wire::fields::FieldWriter;
use crate::wire::scalar::{gvk, kind, timestamp};
use crate::wire::table::Packer;
use tko_core::{Deployment, Entity, Facts};

/// Writes the fields of an entity, without a tag and length before them.
pub(super) fn entity(writer: &mut FieldWriter<'_>, entity: &Entity, table: &mut Packer) {
    writer.message(1, |key| {
        key.number(1, kind(entity.key.kind()) as u64);
        key.text(2, entity.key.id());
    });
    writer.number(2, entity.version.0);
    writer.number(3, entity.generation.0);
    writer.whole(4, &timestamp(entity.created));
    writer.whole(5, &timestamp(entity.updated));
    writer.flag(6, entity.deleting);
    for (tag, map) in [
        (INHERITED, &entity.inherited),
        (GIVEN, &entity.given),
        (METADATA, &entity.metadata),
    ] {
        for (key, value) in map {
            writer.message(tag, |pair| {
                pair.text(1, key);
                pair.text(2, value);
            });
        }
    }
    for condition in &entity.conditions {
        writer.whole(10, &pack_condition(condition));
    }
    writer.bytes(11, &entity.body.0);
    match &entity.facts {
        Facts::Template => {}
        Facts::Site { template, origin } => {
            let facts = wire::SiteFacts {
                template: template.as_ref().map(ToString::to_string),
                origin: origin.map(|version| version.0),
            };
            writer.whole(SITE, &facts);
        }
        Facts::Deployment(deployment) => {
            let skeleton = table.resource(&deployment.resource.skeleton);
            writer.message(DEPLOYMENT, |facts| {
                deployment_facts(facts, deployment, skeleton);
            });
        }
        Facts::Plugin(plugin) => {
            let facts = wire::PluginFacts {
                executor: plugin.executor.clone(),
                arguments: plugin.arguments.clone(),
                properties: plugin.properties.clone(),
                triggers: plugin.triggers.iter().map(gvk).collect(),
            };
            writer.whole(PLUGIN, &facts);
        }
    }
}

fn deployment_facts(facts: &mut FieldWriter<'_>, deployment: &Deployment, skeleton: u32) {
    if let Some(parent) = &deployment.parent {
        facts.text(1, parent.as_str());
    }
    if let Some(template) = &deployment.template {
        facts.text(2, template.as_str());
    }
    if let Some(origin) = deployment.origin {
        facts.number(3, origin.0);
    }
    if let Some(site) = &deployment.site {
        facts.text(4, site.as_str());
    }
    facts.flag(5, deployment.prepared);
    facts.flag(6, deployment.approved);
    if let Some((site, generation)) = &deployment.placed {
        facts.message(7, |placement| {
            placement.text(1, site.as_str());
            placement.number(2, generation.0);
        });
    }
    if let Some(once) = &deployment.idempotency_key {
        facts.text(8, once);
    }
    let named = &deployment.resource;
    facts.message(9, |head| {
        head.number(1, skeleton.into());
        head.number(2, named.at as u64);
        if let Some(template) = &named.template {
            head.text(3, template.as_str());
        }
        if let Some(site) = &named.site {
            head.text(4, site.as_str());
        }
    });
}
