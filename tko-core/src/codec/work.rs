//! Work: as clients read it, and as a backend keeps it.
//!
//! `Work` is the view of a client, with stage and key. `WorkItem` is the row of a backend, which
//! finds it by stage and key and does not repeat them in the value. Only the row contains the
//! secret of the lease, so protect it like a credential.
//!
//! Times are microseconds since 1970. The stage is its position in `Stage::ALL`, so the order of
//! the stages is part of the format.

use super::fields::Fields;
use super::reader::{CodecFault, RowReader};
use super::writer::RowWriter;
use crate::commit::{WorkItem, WorkLease};
use crate::revision::Timestamp;
use crate::work::{Lane, Stage, Work};

/// The fields of work as clients read it, in the order of the format.
impl Fields for Work {
    const TYPE: u64 = 2;
    const NAME: &'static str = "work";
    const COUNT: usize = 8;

    fn write(&self, writer: &mut RowWriter) {
        writer.unsigned(self.stage as u64);
        writer.key(&self.key);
        write_lane(writer, self.lane);
        writer.signed(self.due.0);
        writer.unsigned(self.attempts.into());
        writer.optional(self.error.as_deref(), RowWriter::text);
        writer.optional(self.progress.as_ref(), RowWriter::value);
        writer.optional(self.leased.map(|until| until.0), RowWriter::signed);
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            stage: reader.one_of(&Stage::ALL)?,
            key: reader.key()?,
            lane: read_lane(reader)?,
            due: Timestamp(reader.signed()?),
            attempts: reader.number()?,
            error: reader.optional(RowReader::text)?.map(str::to_owned),
            progress: reader.optional(RowReader::value)?,
            leased: reader.optional(RowReader::signed)?.map(Timestamp),
        })
    }
}

/// The fields of the row of one piece of work, in the order of the format.
///
/// The lease is a list of secret and end. An expired lease is kept like a live one: only the time
/// distinguishes them.
impl Fields for WorkItem {
    const TYPE: u64 = 3;
    const NAME: &'static str = "work item";
    const COUNT: usize = 7;

    fn write(&self, writer: &mut RowWriter) {
        write_lane(writer, self.lane);
        writer.signed(self.due.0);
        writer.unsigned(self.attempts.into());
        writer.optional(self.error.as_deref(), RowWriter::text);
        writer.optional(self.progress.as_deref(), RowWriter::value);
        writer.optional(self.requeued, write_lane);
        writer.optional(self.lease.as_deref(), |writer, lease| {
            writer.list(2);
            writer.text(&lease.secret);
            writer.signed(lease.until.0);
        });
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            lane: read_lane(reader)?,
            due: Timestamp(reader.signed()?),
            attempts: reader.number()?,
            error: reader.optional(RowReader::text)?.map(Into::into),
            progress: reader.optional(RowReader::value)?.map(Box::new),
            requeued: reader.optional(read_lane)?,
            lease: reader
                .optional(|reader| {
                    reader.list_of(2)?;
                    Ok(WorkLease {
                        secret: reader.text()?.into(),
                        until: Timestamp(reader.signed()?),
                    })
                })?
                .map(Box::new),
        })
    }
}

/// Writes the number of a lane.
fn write_lane(writer: &mut RowWriter, lane: Lane) {
    writer.unsigned(lane.number().into());
}

/// Reads the number of a lane.
///
/// A number from `Lane::COUNT` on is a fault. `Lane::new` alone would turn it into the failing
/// lane, and the work would change lanes unnoticed.
fn read_lane(reader: &mut RowReader<'_>) -> Result<Lane, CodecFault> {
    match reader.unsigned()? {
        number if number < u64::from(Lane::COUNT) => {
            Ok(Lane::new(u8::try_from(number).unwrap_or(u8::MAX)))
        }
        number => Err(CodecFault(format!(
            "there is no lane {number}; lanes are below {}",
            Lane::COUNT
        ))),
    }
}
