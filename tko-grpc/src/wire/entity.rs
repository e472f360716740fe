//! Entities and records.
//!
//! Entities are most of the traffic, so they are [written](write) and [read](read) field by field
//! without a generated message in between. Rare parts of them are generated messages.

mod read;
mod write;

#[cfg(test)]
mod tests;

use super::scalar::{generation, timestamp, unpack_timestamp};
use super::table::{Packer, Unpacker};
use super::work::{pack_work, unpack_work};
use crate::proto::v1alpha2 as wire;
use tko_core::{Condition, Record, Result, Revision, Want};

/// Field numbers of the metadata maps of an entity.
const INHERITED: u32 = 7;
const GIVEN: u32 = 8;
const METADATA: u32 = 9;

/// Field numbers of the facts of an entity, by kind.
const SITE: u32 = 12;
const DEPLOYMENT: u32 = 13;
const PLUGIN: u32 = 14;

pub(crate) fn pack_want(want: Want) -> wire::Want {
    wire::Want {
        package: want.package,
        revision: want.revision,
        work: want.work,
        deleting: want.deleting,
        any_revision: want.allow_stale,
        kept: want.kept,
    }
}

/// Decodes the wanted parts; an absent message means the row only.
pub(crate) fn unpack_want(want: Option<wire::Want>) -> Want {
    let asked = want.unwrap_or_default();
    let mut want = Want::ROW;
    want.package = asked.package;
    want.revision = asked.revision;
    want.work = asked.work;
    want.deleting = asked.deleting;
    want.allow_stale = asked.any_revision;
    want.kept = asked.kept;
    want
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
        entity: table.entity(|writer, table| write::entity(writer, &record.entity, table)),
        package: record.package.as_ref().map(|package| table.add(package)),
        revision: record.revision.map(|revision| revision.0),
        work: record.work.iter().map(pack_work).collect(),
    }
}

pub(crate) fn unpack_record(record: wire::Record, table: &Unpacker) -> Result<Record> {
    Ok(Record::new(read::entity(&record.entity, table)?)
        .package(table.maybe(record.package)?)
        .revision(record.revision.map(Revision))
        .work(
            record
                .work
                .into_iter()
                .map(unpack_work)
                .collect::<Result<_>>()?,
        ))
}
