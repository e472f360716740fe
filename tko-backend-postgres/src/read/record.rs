//! Rows as reads find them, with the parts of the record that a [`Want`] asks for.

use crate::body::PackedBody;
use crate::codes::{kind_number, stage_of};
use crate::columns::RowColumns;
use crate::content::Content;
use crate::entity::SkeletonMap;
use crate::fault::fault;
use crate::row::{EntityRow, RowDecoder};
use crate::work::ALL_STAGES;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tko_core::{Entity, Key, Kind, Lane, Package, Record, Result, Revision, Timestamp, Want, Work};

/// A row that a read found.
#[derive(Debug)]
pub(super) struct FoundEntity {
    pub(super) entity: Arc<Entity>,
    /// The skeleton is still to be [added](SkeletonMap).
    missing: Option<MissingSkeleton>,
    packed: Option<PackedBody>,
    revision: Option<Revision>,
    work: Vec<Work>,
}

/// The number of a missing skeleton.
#[derive(Clone, Copy, Debug)]
struct MissingSkeleton(Option<i32>);

/// A piece of work, as [`columns`] selects it.
#[derive(Debug, Deserialize)]
struct WorkJson {
    stage: i16,
    lane: u8,
    #[serde(rename = "due")]
    at: i64,
    attempts: u32,
    error: Option<String>,
    progress: Option<Value>,
    until: Option<i64>,
}

/// Returns a select list: the given columns of the row `e`, and the parts that `want` asks for. Bodies
/// come from `b` of [`join`].
pub(super) fn columns(of_row: &str, want: Want) -> String {
    let mut columns = of_row.to_owned();
    if want.package {
        columns += ", b.codec, b.dictionary, b.data";
    }
    if want.revision {
        // The last numbered change may be older than the row.
        columns += ", (SELECT CASE WHEN v.version = e.version THEN v.revision END FROM \
             (SELECT o.version, o.revision FROM event o WHERE o.kind = e.kind AND o.id = e.id \
             ORDER BY o.revision DESC LIMIT 1) v) AS revision";
    }
    if want.work {
        columns += ", (SELECT json_agg(json_build_object('stage', w.stage, 'lane', w.lane, \
             'due', w.due, 'attempts', w.attempts, 'error', w.error, 'progress', w.progress, \
             'until', CASE WHEN w.token IS NOT NULL THEN w.until END) ORDER BY w.stage) \
             FROM work w WHERE ";
        columns += ALL_STAGES;
        columns += " AND w.kind = e.kind AND w.id = e.id) AS work";
    }
    columns
}

/// Returns a join for the bodies of rows, if `want` asks for packages.
///
/// It looks up each body by its key, regardless of how many rows the planner expects.
pub(super) fn join(want: Want) -> &'static str {
    if want.package {
        " LEFT JOIN LATERAL (SELECT o.codec, o.dictionary, o.data FROM body o \
         WHERE o.at = e.body_at LIMIT 1) b ON true"
    } else {
        ""
    }
}

impl FoundEntity {
    /// Decodes [`columns`] that start with [`COLUMNS`](crate::row::COLUMNS).
    pub(super) fn of(
        mut columns: RowColumns<'_>,
        want: Want,
        decoder: &mut RowDecoder<'_>,
    ) -> Result<Self> {
        let row = EntityRow::read(&mut columns).map_err(fault("decode a row"))?;
        Self::with(row, columns, want, decoder)
    }

    /// Decodes [`columns`] that start with [`LISTED`](crate::row::LISTED).
    pub(super) fn listed(
        kind: Kind,
        mut columns: RowColumns<'_>,
        want: Want,
        decoder: &mut RowDecoder<'_>,
    ) -> Result<Self> {
        let row =
            EntityRow::listed(kind_number(kind), &mut columns).map_err(fault("decode a row"))?;
        Self::with(row, columns, want, decoder)
    }

    /// Decodes the columns after the row.
    fn with(
        row: EntityRow<'_>,
        mut columns: RowColumns<'_>,
        want: Want,
        decoder: &mut RowDecoder<'_>,
    ) -> Result<Self> {
        let broken = fault("decode a row");
        let number = row.skeleton;
        let (entity, is_missing) = row.entity(decoder)?;
        let mut found = Self {
            entity,
            missing: is_missing.then_some(MissingSkeleton(number)),
            packed: None,
            revision: None,
            work: Vec::new(),
        };
        if want.package {
            let codec = columns.optional().map_err(&broken)?;
            let dictionary = columns.optional().map_err(&broken)?;
            let data: Option<&[u8]> = columns.optional().map_err(&broken)?;
            let packed = codec.zip(data).map(|(codec, data)| PackedBody {
                codec,
                dictionary,
                data: data.to_vec(),
            });
            found.packed = packed;
        }
        if want.revision {
            let revision = columns.optional().map_err(&broken)?;
            found.revision = revision.map(|revision: i64| Revision(revision.unsigned_abs()));
        }
        if want.work {
            let due: Option<Vec<WorkJson>> = columns.json().map_err(&broken)?;
            let work = due.into_iter().flatten();
            let work = work.map(|due| due.work(&found.entity.key));
            found.work = work.collect::<Result<_>>()?;
        }
        Ok(found)
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.entity.deleting
    }

    pub(super) fn id(&self) -> &str {
        self.entity.key.id()
    }
}

/// Completes the records: adds skeletons, and unpacks packages.
pub(super) async fn records(
    content: &Content,
    found: Vec<FoundEntity>,
    want: Want,
) -> Result<Vec<Record>> {
    let missing = found.iter().filter_map(|found| found.missing);
    let resources = SkeletonMap::read(
        &content.skeletons,
        missing.map(|MissingSkeleton(number)| number),
    )
    .await?;
    let mut records = Vec::with_capacity(found.len());
    for found in found {
        let entity = match found.missing {
            Some(MissingSkeleton(number)) => resources.complete(found.entity, number)?,
            None => found.entity,
        };
        let package = match found.packed {
            Some(packed) => {
                let unpacked = content.bodies.unpack(entity.body, &packed);
                Some(unpacked.await?)
            }
            None => want.package.then(Package::default),
        };
        records.push(
            Record::new(entity)
                .package(package)
                .revision(found.revision)
                .work(found.work),
        );
    }
    Ok(records)
}

impl WorkJson {
    fn work(self, key: &Key) -> Result<Work> {
        Ok(Work::new(
            stage_of(self.stage)?,
            key.clone(),
            Lane::new(self.lane),
            Timestamp(self.at),
        )
        .attempts(self.attempts)
        .error(self.error)
        .progress(self.progress)
        .leased(self.until.map(Timestamp)))
    }
}
