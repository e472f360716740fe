//! Entities: the fields of a row, without its package.
//!
//! An entity is written as a fixed number of fields, each in its place: a field has no name, and an
//! absent one is null. So a new field, or a new order, needs a new version of the format. Two parts
//! have a special structure:
//!
//! - The conditions are a list of any length, each condition a list of 6.
//! - The facts begin with a number for the kind of the entity. The number of fields must fit this
//!   kind.
//!
//! Ids are written as texts and checked again when they are read. The reader does not check that
//! the facts fit the kind of the key, nor that the ids of other entities exist.
//!
//! The package is named by its content hash. The Deployment resource is stored here all the same,
//! apart from the body. So a change of the four facts in it leaves the body as it is.

use super::fields::Fields;
use super::reader::{CodecFault, RowReader};
use super::writer::RowWriter;
use crate::deployment_resource::DeploymentResource;
use crate::entity::{Condition, Deployment, Entity, Facts, Plugin};
use crate::hash::ContentHash;
use crate::id::{DeploymentId, SiteId, TemplateId};
use crate::resource::{Gvk, Resource};
use crate::revision::{Generation, Timestamp, Version};
use std::sync::Arc;

/// The fields of an entity, in the order of the format.
impl Fields for Entity {
    const TYPE: u64 = 0;
    const NAME: &'static str = "entity";
    const COUNT: usize = 12;

    fn write(&self, writer: &mut RowWriter) {
        writer.key(&self.key);
        writer.unsigned(self.version.0);
        writer.unsigned(self.generation.0);
        writer.signed(self.created.0);
        writer.signed(self.updated.0);
        writer.flag(self.deleting);
        writer.metadata(&self.inherited);
        writer.metadata(&self.given);
        writer.metadata(&self.metadata);
        writer.list(self.conditions.len());
        for condition in &self.conditions {
            write_condition(writer, condition);
        }
        write_facts(writer, &self.facts);
        writer.bytes(&self.body.0);
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            key: reader.key()?,
            version: Version(reader.unsigned()?),
            generation: Generation(reader.unsigned()?),
            created: Timestamp(reader.signed()?),
            updated: Timestamp(reader.signed()?),
            deleting: reader.flag()?,
            inherited: reader.metadata()?,
            given: reader.metadata()?,
            metadata: reader.metadata()?,
            conditions: reader.items(read_condition)?,
            facts: read_facts(reader)?,
            body: read_hash(reader)?,
        })
    }
}

/// Reads the hash of a body: a byte string of exactly 32 bytes.
fn read_hash(reader: &mut RowReader<'_>) -> Result<ContentHash, CodecFault> {
    let bytes = reader.bytes()?;
    let hash = bytes.try_into().map_err(|_| {
        CodecFault(format!(
            "a content hash has 32 bytes, and there are {}",
            bytes.len()
        ))
    })?;
    Ok(ContentHash(hash))
}

/// Writes a condition as a list of 6.
///
/// A status that is unknown is null. `since` is the time of the last change of the status.
fn write_condition(writer: &mut RowWriter, condition: &Condition) {
    writer.list(6);
    writer.text(&condition.kind);
    writer.optional(condition.status, RowWriter::flag);
    writer.text(&condition.reason);
    writer.text(&condition.message);
    writer.unsigned(condition.observed.0);
    writer.signed(condition.since.0);
}

/// Reads a condition that `write_condition` wrote.
///
/// That kinds are unique within an entity is a rule of `Condition::merge`, not checked here.
fn read_condition(reader: &mut RowReader<'_>) -> Result<Condition, CodecFault> {
    reader.list_of(6)?;
    Ok(Condition {
        kind: reader.text()?.to_owned(),
        status: reader.optional(RowReader::flag)?,
        reason: reader.text()?.to_owned(),
        message: reader.text()?.to_owned(),
        observed: Generation(reader.unsigned()?),
        since: Timestamp(reader.signed()?),
    })
}

/// The number of fields of a site, without the number of the kind.
const SITE_FIELDS: usize = 2;
/// The number of fields of a deployment; the Deployment resource is one of them.
const DEPLOYMENT_FIELDS: usize = 9;
/// The number of fields of a plugin, without the number of the kind.
const PLUGIN_FIELDS: usize = 4;

/// Writes the facts as a list: the number of the kind, then the fields of this kind.
///
/// The numbers are those of `Kind`: 0 template, 1 site, 2 deployment, 3 plugin.
fn write_facts(writer: &mut RowWriter, facts: &Facts) {
    match facts {
        Facts::Template => {
            writer.list(1);
            writer.unsigned(0);
        }
        Facts::Site { template, origin } => {
            writer.list(1 + SITE_FIELDS);
            writer.unsigned(1);
            writer.optional(template.as_ref().map(TemplateId::as_str), RowWriter::text);
            writer.optional(origin.map(|origin| origin.0), RowWriter::unsigned);
        }
        Facts::Deployment(deployment) => {
            writer.list(1 + DEPLOYMENT_FIELDS);
            writer.unsigned(2);
            write_deployment(writer, deployment);
        }
        Facts::Plugin(plugin) => {
            writer.list(1 + PLUGIN_FIELDS);
            writer.unsigned(3);
            write_plugin(writer, plugin);
        }
    }
}

/// Reads the facts, by the number of the kind and the length of the list.
///
/// A known number with a wrong length is a fault like an unknown number: fields cannot be guessed.
fn read_facts(reader: &mut RowReader<'_>) -> Result<Facts, CodecFault> {
    let length = reader.list()?;
    let facts = reader.unsigned()?;
    match (facts, length.saturating_sub(1)) {
        (0, 0) => Ok(Facts::Template),
        (1, SITE_FIELDS) => Ok(Facts::Site {
            template: reader.optional(RowReader::id)?,
            origin: reader.optional(RowReader::unsigned)?.map(Version),
        }),
        (2, DEPLOYMENT_FIELDS) => Ok(Facts::Deployment(Box::new(read_deployment(reader)?))),
        (3, PLUGIN_FIELDS) => Ok(Facts::Plugin(Arc::new(read_plugin(reader)?))),
        (facts, fields) => Err(CodecFault(format!(
            "no facts have the number {facts} and {fields} fields"
        ))),
    }
}

/// Writes the fields of a deployment into the list that the caller began.
///
/// The placement is a list of site and generation. The Deployment resource is a list of 4. Its
/// skeleton is a byte string, because it is a resource. Its ids may differ from the relations of
/// the deployment, which are cleared when their target is deleted.
fn write_deployment(writer: &mut RowWriter, deployment: &Deployment) {
    let parent = deployment.parent.as_ref().map(DeploymentId::as_str);
    writer.optional(parent, RowWriter::text);
    let template = deployment.template.as_ref().map(TemplateId::as_str);
    writer.optional(template, RowWriter::text);
    writer.optional(
        deployment.origin.map(|origin| origin.0),
        RowWriter::unsigned,
    );
    writer.optional(
        deployment.site.as_ref().map(SiteId::as_str),
        RowWriter::text,
    );
    writer.flag(deployment.prepared);
    writer.flag(deployment.approved);
    writer.optional(deployment.placed.as_ref(), |writer, (site, generation)| {
        writer.list(2);
        writer.text(site.as_str());
        writer.unsigned(generation.0);
    });
    writer.optional(deployment.idempotency_key.as_deref(), RowWriter::text);
    let DeploymentResource {
        skeleton,
        at,
        template,
        site,
    } = &deployment.resource;
    writer.list(4);
    writer.value(skeleton.value());
    writer.unsigned(*at as u64);
    writer.optional(template.as_ref().map(TemplateId::as_str), RowWriter::text);
    writer.optional(site.as_ref().map(SiteId::as_str), RowWriter::text);
}

/// Reads the fields that `write_deployment` wrote.
///
/// The skeleton must be a valid resource. Its index must fit `usize`, and is not compared with the
/// size of the package, which is not at hand.
fn read_deployment(reader: &mut RowReader<'_>) -> Result<Deployment, CodecFault> {
    Ok(Deployment {
        parent: reader.optional(RowReader::id)?,
        template: reader.optional(RowReader::id)?,
        origin: reader.optional(RowReader::unsigned)?.map(Version),
        site: reader.optional(RowReader::id)?,
        prepared: reader.flag()?,
        approved: reader.flag()?,
        placed: reader.optional(|reader| {
            reader.list_of(2)?;
            Ok((reader.id()?, Generation(reader.unsigned()?)))
        })?,
        idempotency_key: reader.optional(RowReader::text)?.map(Into::into),
        resource: {
            reader.list_of(4)?;
            let skeleton = Resource::stored(reader.value()?);
            DeploymentResource {
                skeleton: Arc::new(skeleton.map_err(|error| CodecFault(error.to_string()))?),
                at: reader.number()?,
                template: reader.optional(RowReader::id)?,
                site: reader.optional(RowReader::id)?,
            }
        },
    })
}

/// Writes the fields of a plugin into the list that the caller began.
///
/// Arguments and triggers keep their order. Properties are a map in the order of their names.
fn write_plugin(writer: &mut RowWriter, plugin: &Plugin) {
    writer.text(&plugin.executor);
    writer.list(plugin.arguments.len());
    for argument in &plugin.arguments {
        writer.text(argument);
    }
    let properties = plugin.properties.iter();
    writer.map(properties.map(|(name, value)| (&**name, &**value)));
    writer.list(plugin.triggers.len());
    for trigger in &plugin.triggers {
        writer.list(3);
        writer.text(&trigger.group);
        writer.text(&trigger.version);
        writer.text(&trigger.kind);
    }
}

/// Reads the fields that `write_plugin` wrote.
///
/// A trigger is a list of group, version and kind. The reader checks no rules for their texts.
fn read_plugin(reader: &mut RowReader<'_>) -> Result<Plugin, CodecFault> {
    Ok(Plugin {
        executor: reader.text()?.to_owned(),
        arguments: reader.items(|reader| reader.text().map(str::to_owned))?,
        properties: {
            let pairs = reader.map()?.into_iter();
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        },
        triggers: reader.items(|reader| {
            reader.list_of(3)?;
            Ok(Gvk::new(reader.text()?, reader.text()?, reader.text()?))
        })?,
    })
}
