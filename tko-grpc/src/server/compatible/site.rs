//! Messages about sites.

use super::shared::{encoded, text};
use crate::proto;
use crate::wire::scalar::{id, metadata, timestamp};
use crate::wire::select::{id_patterns, value_patterns};
use crate::wire::table::decode;
use tko_core::{Format, Kind, Limits, NewSite, Record, Result, Select};

pub(super) fn new(site: proto::Site, limits: &Limits) -> Result<NewSite> {
    Ok(NewSite::new(
        site.site_id.parse()?,
        decode(&site.package_format, &site.package, limits)?,
    )
    .template(id(text(&site.template_id))?)
    .metadata(site.metadata))
}

pub(super) fn whole(record: &Record, deployment_ids: Vec<String>, format: Format) -> proto::Site {
    let entity = &record.entity;
    let (package_format, package) = encoded(record, format);
    proto::Site {
        site_id: entity.key.id().to_owned(),
        template_id: template(record),
        metadata: metadata(&entity.metadata),
        updated: Some(timestamp(entity.updated)),
        package_format,
        package,
        deployment_ids,
    }
}

pub(super) fn listed(record: &Record, deployment_ids: Vec<String>) -> proto::ListedSite {
    let entity = &record.entity;
    proto::ListedSite {
        site_id: entity.key.id().to_owned(),
        template_id: template(record),
        metadata: metadata(&entity.metadata),
        updated: Some(timestamp(entity.updated)),
        deployment_ids,
    }
}

fn template(record: &Record) -> String {
    record
        .entity
        .template()
        .map(ToString::to_string)
        .unwrap_or_default()
}

pub(super) fn select(select: &proto::SelectSites) -> Result<Select> {
    Ok(Select::all(Kind::Site)
        .ids(id_patterns("siteIdPatterns", &select.site_id_patterns)?)
        .template_ids(id_patterns(
            "templateIdPatterns",
            &select.template_id_patterns,
        )?)
        .metadata_patterns(value_patterns(
            "metadataPatterns",
            &select.metadata_patterns,
        )?))
}
