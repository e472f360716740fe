//! Requests to register and create, change records, and events.

use super::entity::{pack_record, unpack_record};
use super::scalar::{
    gvk, id, key, metadata, plugin_type, required, required_key, timestamp, unpack_gvk,
    unpack_plugin_type, unpack_timestamp,
};
use super::table::{Packer, Unpacker, pack, unpack};
use crate::proto::v1alpha2 as wire;
use tko_core::{
    ChangeRecord, EntityUpdate, Event, Expect, Limits, NewDeployment, NewPlugin, NewSite,
    NewTemplate, Package, PackageUpdate, PluginId, Result, Revision, Version,
};

fn pack_expect(expect: Expect) -> Option<wire::Expect> {
    let expect = match expect {
        Expect::Any => return None,
        Expect::Absent => wire::expect::Expect::Absent(true),
        Expect::At(version) => wire::expect::Expect::Version(version.0),
    };
    Some(wire::Expect {
        expect: Some(expect),
    })
}

fn unpack_expect(expect: Option<wire::Expect>) -> Expect {
    match expect.and_then(|expect| expect.expect) {
        None | Some(wire::expect::Expect::Absent(false)) => Expect::Any,
        Some(wire::expect::Expect::Absent(true)) => Expect::Absent,
        Some(wire::expect::Expect::Version(version)) => Expect::At(Version(version)),
    }
}

/// Adds a package to the table; an empty package needs no index.
fn place(package: &Package, table: &mut Packer) -> Option<u32> {
    (!package.is_empty()).then(|| table.add(package))
}

fn taken(place: Option<u32>, table: &Unpacker) -> Result<Package> {
    Ok(table.maybe(place)?.unwrap_or_default())
}

pub(crate) fn pack_template(new: &NewTemplate, table: &mut Packer) -> wire::NewTemplate {
    wire::NewTemplate {
        id: new.id.to_string(),
        metadata: metadata(&new.metadata),
        package: place(&new.package, table),
        expect: pack_expect(new.expect),
    }
}

pub(crate) fn unpack_template(new: wire::NewTemplate, table: &Unpacker) -> Result<NewTemplate> {
    Ok(
        NewTemplate::new(new.id.parse()?, taken(new.package, table)?)
            .metadata(new.metadata)
            .expect(unpack_expect(new.expect)),
    )
}

pub(crate) fn pack_update(update: &EntityUpdate) -> wire::UpdateEntityRequest {
    use wire::update_entity_request::{GivenMetadata, MergeUpdate};
    let (package, merge) = match &update.package {
        None => (None, None),
        Some(PackageUpdate::Replace(package)) => (Some(package), None),
        Some(PackageUpdate::Merge { package, site }) => {
            let site = site.as_ref().map(ToString::to_string);
            (Some(package), Some(MergeUpdate { site }))
        }
    };
    wire::UpdateEntityRequest {
        key: Some(key(&update.key)),
        expect: update.expect.0,
        metadata: update.metadata.as_ref().map(|given| GivenMetadata {
            metadata: metadata(given),
        }),
        package: package.map(pack),
        merge,
    }
}

pub(crate) fn unpack_update(
    update: wire::UpdateEntityRequest,
    limits: &Limits,
) -> Result<EntityUpdate> {
    let package = match (&update.package, &update.merge) {
        (None, None) => None,
        (Some(package), None) => Some(PackageUpdate::Replace(unpack(Some(package), limits)?)),
        (package, Some(merge)) => Some(PackageUpdate::Merge {
            package: unpack(package.as_ref(), limits)?,
            site: id(merge.site.as_deref())?,
        }),
    };
    let key = required_key(update.key.as_ref())?;
    Ok(EntityUpdate::new(key, Version(update.expect))
        .metadata(update.metadata.map(|given| given.metadata.into()))
        .package(package))
}

pub(crate) fn pack_site(new: &NewSite, table: &mut Packer) -> wire::NewSite {
    wire::NewSite {
        id: new.id.to_string(),
        template: new.template.as_ref().map(ToString::to_string),
        metadata: metadata(&new.metadata),
        package: place(&new.package, table),
        expect: pack_expect(new.expect),
    }
}

pub(crate) fn unpack_site(new: wire::NewSite, table: &Unpacker) -> Result<NewSite> {
    Ok(NewSite::new(new.id.parse()?, taken(new.package, table)?)
        .template(id(new.template.as_deref())?)
        .metadata(new.metadata)
        .expect(unpack_expect(new.expect)))
}

pub(crate) fn pack_plugin(new: NewPlugin) -> wire::NewPlugin {
    wire::NewPlugin {
        r#type: plugin_type(new.id.plugin_type()).into(),
        name: new.id.name().to_owned(),
        executor: new.executor,
        arguments: new.arguments,
        properties: new.properties,
        triggers: new.triggers.iter().map(gvk).collect(),
        metadata: metadata(&new.metadata),
        expect: pack_expect(new.expect),
    }
}

pub(crate) fn unpack_plugin(new: wire::NewPlugin) -> Result<NewPlugin> {
    let plugin = required("plugin type", unpack_plugin_type(new.r#type)?)?;
    Ok(
        NewPlugin::new(PluginId::new(plugin, &new.name)?, new.executor)
            .arguments(new.arguments)
            .properties(new.properties)
            .triggers(new.triggers.iter().map(unpack_gvk).collect())
            .metadata(new.metadata)
            .expect(unpack_expect(new.expect)),
    )
}

pub(crate) fn pack_deployment(new: &NewDeployment, table: &mut Packer) -> wire::NewDeployment {
    wire::NewDeployment {
        id: new.id.as_ref().map(ToString::to_string),
        parent: new.parent.as_ref().map(ToString::to_string),
        template: new.template.as_ref().map(ToString::to_string),
        site: new.site.as_ref().map(ToString::to_string),
        metadata: metadata(&new.metadata),
        merge: place(&new.merge, table),
        prepared: new.prepared,
        approved: new.approved,
        once: new.idempotency_key.as_deref().map(str::to_owned),
    }
}

pub(crate) fn unpack_deployment(
    new: wire::NewDeployment,
    table: &Unpacker,
) -> Result<NewDeployment> {
    let mut deployment = NewDeployment::new()
        .id(id(new.id.as_deref())?)
        .parent(id(new.parent.as_deref())?)
        .template(id(new.template.as_deref())?)
        .site(id(new.site.as_deref())?)
        .metadata(new.metadata)
        .merge(taken(new.merge, table)?)
        .prepared(new.prepared)
        .approved(new.approved);
    deployment.idempotency_key = new.once.map(Into::into);
    Ok(deployment)
}

pub(crate) fn pack_change(change: &ChangeRecord, table: &mut Packer) -> wire::ChangeRecord {
    wire::ChangeRecord {
        revision: change.revision.0,
        set: change.set.0,
        at: Some(timestamp(change.at)),
        key: Some(key(&change.key)),
        before: change.before.as_ref().map(|r| pack_record(r, table)),
        after: change.after.as_ref().map(|r| pack_record(r, table)),
        cause: change.cause.as_deref().map(str::to_owned),
    }
}

pub(crate) fn unpack_change(change: wire::ChangeRecord, table: &Unpacker) -> Result<ChangeRecord> {
    let record = |record: Option<wire::Record>| {
        record
            .map(|record| unpack_record(record, table))
            .transpose()
    };
    Ok(ChangeRecord::new(
        Revision(change.revision),
        Revision(change.set),
        unpack_timestamp(change.at.as_ref())?,
        required_key(change.key.as_ref())?,
    )
    .before(record(change.before)?)
    .after(record(change.after)?)
    .cause(change.cause.map(Into::into)))
}

pub(crate) fn pack_event(event: &Event) -> wire::WatchResponse {
    use wire::watch_response::{Event as Packed, Gone, Put};
    let mut table = Packer::default();
    let packed = match event {
        Event::Put {
            record, entered, ..
        } => Some(Packed::Put(Put {
            record: Some(pack_record(record, &mut table)),
            entered: *entered,
        })),
        Event::Gone { before, .. } => Some(Packed::Gone(Gone {
            before: Some(pack_record(before, &mut table)),
        })),
        // A client treats an unknown event as a bookmark.
        _ => None,
    };
    wire::WatchResponse {
        packages: table.finish(),
        revision: event.revision().0,
        event: packed,
    }
}

pub(crate) fn unpack_event(
    revision: u64,
    event: Option<wire::watch_response::Event>,
    table: &Unpacker,
) -> Result<Event> {
    use wire::watch_response::Event as Packed;
    let revision = Revision(revision);
    Ok(match event {
        None => Event::Bookmark { revision },
        Some(Packed::Put(put)) => Event::Put {
            revision,
            record: unpack_record(required("record", put.record)?, table)?,
            entered: put.entered,
        },
        Some(Packed::Gone(gone)) => Event::Gone {
            revision,
            before: unpack_record(required("record", gone.before)?, table)?,
        },
    })
}
