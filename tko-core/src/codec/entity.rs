//! Entities: the fields of a row.

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

fn write_condition(writer: &mut RowWriter, condition: &Condition) {
    writer.list(6);
    writer.text(&condition.kind);
    writer.optional(condition.status, RowWriter::flag);
    writer.text(&condition.reason);
    writer.text(&condition.message);
    writer.unsigned(condition.observed.0);
    writer.signed(condition.since.0);
}

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

const SITE_FIELDS: usize = 2;
const DEPLOYMENT_FIELDS: usize = 9;
const PLUGIN_FIELDS: usize = 4;

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
            let skeleton = Resource::new(reader.value()?);
            DeploymentResource {
                skeleton: Arc::new(skeleton.map_err(|error| CodecFault(error.to_string()))?),
                at: reader.number()?,
                template: reader.optional(RowReader::id)?,
                site: reader.optional(RowReader::id)?,
            }
        },
    })
}

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
