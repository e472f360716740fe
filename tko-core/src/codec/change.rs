//! Changes and records: without packages and work.
//!
//! A change carries the row before and the row after, so a reader of the change feed needs no other
//! row. Rows name their packages by content hash; the storage keeps packages apart, once each. Work
//! is left out, because its changes make no revisions.

use super::fields::Fields;
use super::reader::{CodecFault, RowReader};
use super::writer::RowWriter;
use crate::change::ChangeRecord;
use crate::entity::{Entity, Record};
use crate::revision::{Revision, Timestamp};
use std::sync::Arc;

/// One change of the feed. The record before is null for a creation, the one after for a deletion.
///
/// `set` is the last revision of the change set, so that a reader can tell where a set ends.
impl Fields for ChangeRecord {
    const TYPE: u64 = 4;
    const NAME: &'static str = "change";
    const COUNT: usize = 7;

    fn write(&self, writer: &mut RowWriter) {
        writer.unsigned(self.revision.0);
        writer.unsigned(self.set.0);
        writer.signed(self.at.0);
        writer.key(&self.key);
        writer.optional(self.cause.as_deref(), RowWriter::text);
        writer.optional(self.before.as_ref(), write_record);
        writer.optional(self.after.as_ref(), write_record);
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            revision: Revision(reader.unsigned()?),
            set: Revision(reader.unsigned()?),
            at: Timestamp(reader.signed()?),
            key: reader.key()?,
            cause: reader.optional(RowReader::text)?.map(Into::into),
            before: reader.optional(read_record)?,
            after: reader.optional(read_record)?,
        })
    }
}

/// A row and its revision, without package and work.
///
/// A decoded record has no package and no work; the caller adds the parts that are wanted.
impl Fields for Record {
    const TYPE: u64 = 5;
    const NAME: &'static str = "record";
    const COUNT: usize = 1;

    fn write(&self, writer: &mut RowWriter) {
        write_record(writer, self);
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault> {
        read_record(reader)
    }
}

/// Writes a record as one list: the fields of its entity, then its revision.
///
/// The fields are in the same list, without the type number that a stored entity has.
fn write_record(writer: &mut RowWriter, record: &Record) {
    writer.list(Entity::COUNT + 1);
    record.entity.write(writer);
    writer.optional(
        record.revision.map(|revision| revision.0),
        RowWriter::unsigned,
    );
}

/// Reads the list that `write_record` wrote, and leaves package and work empty.
fn read_record(reader: &mut RowReader<'_>) -> Result<Record, CodecFault> {
    reader.list_of(Entity::COUNT + 1)?;
    Ok(Record {
        entity: Arc::new(Entity::read(reader)?),
        package: None,
        revision: reader.optional(RowReader::unsigned)?.map(Revision),
        work: Vec::new(),
    })
}
