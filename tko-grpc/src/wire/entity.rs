//! Entities and records.

use super::scalar::{
    generation, gvk, id, key, metadata, required, required_key, timestamp, unpack_gvk,
    unpack_timestamp,
};
use super::table::{Packer, Unpacker};
use super::work::{pack_work, unpack_work};
use crate::proto::v1alpha2 as wire;
use std::sync::Arc;
use tko_core::head::Head;
use tko_core::{
    Condition, ContentHash, Deployment, Entity, Error, Facts, Key, Kind, Metadata, Plugin, Record,
    Result, Revision, Version, Want,
};

pub(crate) fn pack_want(want: Want) -> wire::Want {
    wire::Want {
        package: want.package,
        revision: want.revision,
        work: want.work,
        deleting: want.deleting,
        any_revision: want.any_revision,
    }
}

/// Absent is the row alone.
pub(crate) fn unpack_want(want: Option<wire::Want>) -> Want {
    want.map_or(Want::ROW, |want| Want {
        package: want.package,
        revision: want.revision,
        work: want.work,
        deleting: want.deleting,
        any_revision: want.any_revision,
    })
}

pub(crate) fn pack_condition(condition: &Condition) -> wire::Condition {
    wire::Condition {
        kind: condition.kind.clone(),
        status: condition.status,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        observed: condition.observed.0,
        since: Some(timestamp(condition.since)),
    }
}

pub(crate) fn unpack_condition(condition: wire::Condition) -> Result<Condition> {
    let since = match &condition.since {
        Some(since) => unpack_timestamp(Some(since))?,
        None => tko_core::Timestamp::default(),
    };
    let mut unpacked = Condition::new(
        condition.kind,
        condition.status,
        condition.reason,
        condition.message,
        generation(condition.observed),
    );
    unpacked.since = since;
    Ok(unpacked)
}

pub(crate) fn unpack_conditions(conditions: Vec<wire::Condition>) -> Result<Vec<Condition>> {
    conditions.into_iter().map(unpack_condition).collect()
}

pub(crate) fn pack_record(record: &Record, table: &mut Packer) -> wire::Record {
    wire::Record {
        entity: Some(pack_entity(&record.entity, table)),
        package: record.package.as_ref().map(|package| table.add(package)),
        revision: record.revision.map(|revision| revision.0),
        work: record.work.iter().map(pack_work).collect(),
    }
}

pub(crate) fn unpack_record(record: wire::Record, table: &Unpacker) -> Result<Record> {
    let entity = unpack_entity(required("entity", record.entity)?, table)?;
    Ok(Record {
        entity: Arc::new(entity),
        package: table.maybe(record.package)?,
        revision: record.revision.map(Revision),
        work: record
            .work
            .into_iter()
            .map(unpack_work)
            .collect::<Result<_>>()?,
    })
}

fn pack_entity(entity: &Entity, table: &mut Packer) -> wire::Entity {
    wire::Entity {
        key: Some(key(&entity.key)),
        version: entity.version.0,
        generation: entity.generation.0,
        created: Some(timestamp(entity.created)),
        updated: Some(timestamp(entity.updated)),
        deleting: entity.deleting,
        inherited: metadata(&entity.inherited),
        given: metadata(&entity.given),
        metadata: metadata(&entity.metadata),
        conditions: entity.conditions.iter().map(pack_condition).collect(),
        body: entity.body.0.to_vec().into(),
        facts: pack_facts(&entity.facts, table),
    }
}

fn unpack_entity(entity: wire::Entity, table: &Unpacker) -> Result<Entity> {
    let key = required_key(entity.key.as_ref())?;
    let body = <[u8; 32]>::try_from(entity.body.as_ref())
        .map_err(|_| Error::bad("body", "is not a hash of 32 bytes"))?;
    Ok(Entity {
        facts: unpack_facts(&key, entity.facts, table)?,
        key,
        version: Version(entity.version),
        generation: generation(entity.generation),
        created: unpack_timestamp(entity.created.as_ref())?,
        updated: unpack_timestamp(entity.updated.as_ref())?,
        deleting: entity.deleting,
        inherited: Metadata::from(entity.inherited),
        given: Metadata::from(entity.given),
        metadata: Metadata::from(entity.metadata),
        conditions: unpack_conditions(entity.conditions)?,
        body: ContentHash(body),
    })
}

fn pack_facts(facts: &Facts, table: &mut Packer) -> Option<wire::entity::Facts> {
    Some(match facts {
        Facts::Template => return None,
        Facts::Site { template, origin } => wire::entity::Facts::Site(wire::SiteFacts {
            template: template.as_ref().map(ToString::to_string),
            origin: origin.map(|version| version.0),
        }),
        Facts::Deployment(deployment) => {
            wire::entity::Facts::Deployment(pack_deployment(deployment, table))
        }
        Facts::Plugin(plugin) => wire::entity::Facts::Plugin(wire::PluginFacts {
            executor: plugin.executor.clone(),
            arguments: plugin.arguments.clone(),
            properties: plugin.properties.clone(),
            triggers: plugin.triggers.iter().map(gvk).collect(),
        }),
    })
}

fn unpack_facts(key: &Key, facts: Option<wire::entity::Facts>, table: &Unpacker) -> Result<Facts> {
    match (key.kind(), facts) {
        (Kind::Template, None) => Ok(Facts::Template),
        (Kind::Site, Some(wire::entity::Facts::Site(site))) => Ok(Facts::Site {
            template: id(site.template.as_deref())?,
            origin: site.origin.map(Version),
        }),
        (Kind::Deployment, Some(wire::entity::Facts::Deployment(deployment))) => Ok(
            Facts::Deployment(Box::new(unpack_deployment(deployment, table)?)),
        ),
        (Kind::Plugin, Some(wire::entity::Facts::Plugin(plugin))) => {
            Ok(Facts::Plugin(Arc::new(Plugin {
                executor: plugin.executor,
                arguments: plugin.arguments,
                properties: plugin.properties,
                triggers: plugin.triggers.iter().map(unpack_gvk).collect(),
            })))
        }
        _ => Err(Error::bad("facts", format!("are not those of {key}"))),
    }
}

fn pack_deployment(deployment: &Deployment, table: &mut Packer) -> wire::DeploymentFacts {
    let head = &deployment.head;
    wire::DeploymentFacts {
        parent: deployment.parent.as_ref().map(ToString::to_string),
        template: deployment.template.as_ref().map(ToString::to_string),
        origin: deployment.origin.map(|version| version.0),
        site: deployment.site.as_ref().map(ToString::to_string),
        prepared: deployment.prepared,
        approved: deployment.approved,
        placed: deployment
            .placed
            .as_ref()
            .map(|(site, generation)| wire::Placement {
                site: site.to_string(),
                generation: generation.0,
            }),
        once: deployment.once.as_deref().map(str::to_owned),
        head: Some(wire::Head {
            skeleton: table.resource(&head.skeleton),
            at: u32::try_from(head.at).unwrap_or(u32::MAX),
            template: head.template.as_ref().map(ToString::to_string),
            site: head.site.as_ref().map(ToString::to_string),
        }),
    }
}

fn unpack_deployment(deployment: wire::DeploymentFacts, table: &Unpacker) -> Result<Deployment> {
    let head = required("head", deployment.head)?;
    Ok(Deployment {
        parent: id(deployment.parent.as_deref())?,
        template: id(deployment.template.as_deref())?,
        origin: deployment.origin.map(Version),
        site: id(deployment.site.as_deref())?,
        prepared: deployment.prepared,
        approved: deployment.approved,
        placed: deployment
            .placed
            .map(|placed| Ok::<_, Error>((placed.site.parse()?, generation(placed.generation))))
            .transpose()?,
        once: deployment.once.map(Into::into),
        head: Head {
            skeleton: table.resource(head.skeleton)?,
            at: usize::try_from(head.at).unwrap_or(usize::MAX),
            template: id(head.template.as_deref())?,
            site: id(head.site.as_deref())?,
        },
    })
}
