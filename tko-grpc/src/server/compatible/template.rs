//! Messages about templates.

use super::shared::encoded;
use crate::proto;
use crate::wire::scalar::{metadata, timestamp};
use crate::wire::select::{id_patterns, value_patterns};
use crate::wire::table::decode;
use tko_core::{Format, Kind, Limits, NewTemplate, Record, Result, Select};

pub(super) fn new(template: proto::Template, limits: &Limits) -> Result<NewTemplate> {
    Ok(NewTemplate::new(
        template.template_id.parse()?,
        decode(&template.package_format, &template.package, limits)?,
    )
    .metadata(template.metadata))
}

pub(super) fn whole(
    record: &Record,
    deployment_ids: Vec<String>,
    format: Format,
) -> proto::Template {
    let entity = &record.entity;
    let (package_format, package) = encoded(record, format);
    proto::Template {
        template_id: entity.key.id().to_owned(),
        metadata: metadata(&entity.metadata),
        updated: Some(timestamp(entity.updated)),
        package_format,
        package,
        deployment_ids,
    }
}

pub(super) fn listed(record: &Record, deployment_ids: Vec<String>) -> proto::ListedTemplate {
    let entity = &record.entity;
    proto::ListedTemplate {
        template_id: entity.key.id().to_owned(),
        metadata: metadata(&entity.metadata),
        updated: Some(timestamp(entity.updated)),
        deployment_ids,
    }
}

pub(super) fn select(select: &proto::SelectTemplates) -> Result<Select> {
    Ok(Select::all(Kind::Template)
        .ids(id_patterns(
            "templateIdPatterns",
            &select.template_id_patterns,
        )?)
        .metadata_patterns(value_patterns(
            "metadataPatterns",
            &select.metadata_patterns,
        )?))
}
