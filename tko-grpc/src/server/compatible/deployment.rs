//! Deployments and their modifications.

use super::shared::{encoded, text};
use crate::proto;
use crate::wire::scalar::{id, metadata, timestamp};
use crate::wire::select::{id_patterns, value_patterns};
use crate::wire::table::decode;
use tko_core::{Format, Kind, Limits, Modification, NewDeployment, Record, Result, Select};

pub(super) fn new(create: proto::CreateDeployment, limits: &Limits) -> Result<NewDeployment> {
    Ok(NewDeployment::new()
        .parent(id(text(&create.parent_deployment_id))?)
        .template(id(text(&create.template_id))?)
        .site(id(text(&create.site_id))?)
        .metadata(create.merge_metadata)
        .merge(decode(
            &create.merge_package_format,
            &create.merge_package,
            limits,
        )?)
        .prepared(create.prepared)
        .approved(create.approved))
}

pub(super) fn listed(record: &Record) -> proto::ListedDeployment {
    let entity = &record.entity;
    let mut listed = proto::ListedDeployment {
        deployment_id: entity.key.id().to_owned(),
        metadata: metadata(&entity.metadata),
        created: Some(timestamp(entity.created)),
        updated: Some(timestamp(entity.updated)),
        ..proto::ListedDeployment::default()
    };
    if let Some(deployment) = entity.deployment() {
        let named = |id: Option<&dyn ToString>| id.map_or_else(String::new, ToString::to_string);
        listed.parent_deployment_id = named(deployment.parent.as_ref().map(|id| id as _));
        listed.template_id = named(deployment.template.as_ref().map(|id| id as _));
        listed.site_id = named(deployment.site.as_ref().map(|id| id as _));
        listed.prepared = deployment.prepared;
        listed.approved = deployment.approved;
    }
    listed
}

pub(super) fn whole(record: &Record, format: Format) -> proto::Deployment {
    let listed = listed(record);
    let (package_format, package) = encoded(record, format);
    proto::Deployment {
        deployment_id: listed.deployment_id,
        parent_deployment_id: listed.parent_deployment_id,
        template_id: listed.template_id,
        site_id: listed.site_id,
        metadata: listed.metadata,
        created: listed.created,
        updated: listed.updated,
        prepared: listed.prepared,
        approved: listed.approved,
        package_format,
        package,
    }
}

pub(super) fn started(
    modification: &Modification,
    format: Format,
) -> proto::StartDeploymentModificationResponse {
    let (package_format, package) = encoded(&modification.record, format);
    proto::StartDeploymentModificationResponse {
        started: true,
        not_started_reason: String::new(),
        modification_token: modification.token.encode(),
        package_format,
        package,
    }
}

pub(super) fn select(select: &proto::SelectDeployments) -> Result<Select> {
    let parent = select.parent_deployment_id.as_deref().and_then(text);
    Ok(Select::all(Kind::Deployment)
        .parent(id(parent)?)
        .metadata_patterns(value_patterns(
            "metadataPatterns",
            &select.metadata_patterns,
        )?)
        .template_ids(id_patterns(
            "templateIdPatterns",
            &select.template_id_patterns,
        )?)
        .template_metadata_patterns(value_patterns(
            "templateMetadataPatterns",
            &select.template_metadata_patterns,
        )?)
        .site_ids(id_patterns("siteIdPatterns", &select.site_id_patterns)?)
        .site_metadata_patterns(value_patterns(
            "siteMetadataPatterns",
            &select.site_metadata_patterns,
        )?)
        .prepared(select.prepared)
        .approved(select.approved))
}
