//! Rows with what is wanted beside them.

use crate::body::Packed;
use crate::columns::Columns;
use crate::fault::fault;
use crate::postgres::Shared;
use crate::record::Resources;
use crate::row::{Before, Row, number};
use crate::work::stage_of;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tko_core::{Entity, Key, Kind, Lane, Package, Record, Result, Revision, Timestamp, Want, Work};

/// A row as read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entity: Arc<Entity>,
    /// Its Deployment resource is [yet to be put in](Resources).
    lacking: Option<Lacking>,
    packed: Option<Packed>,
    revision: Option<Revision>,
    work: Vec<Work>,
}

/// The number of what is lacking, if there is any.
#[derive(Clone, Copy, Debug)]
struct Lacking(Option<i32>);

/// Work, as [`columns`] has it.
#[derive(Debug, Deserialize)]
struct Due {
    stage: i16,
    lane: u8,
    #[serde(rename = "due")]
    at: i64,
    attempts: u32,
    error: Option<String>,
    progress: Option<Value>,
    until: Option<i64>,
}

/// Those columns of the row `e`, what else is wanted and, if bodies are, of [`join`]'s `b`.
pub(super) fn columns(of_row: &str, want: Want) -> String {
    let mut columns = of_row.to_owned();
    if want.package {
        columns += ", b.codec, b.dictionary, b.data";
    }
    if want.revision {
        // A change that has no revision yet is not that of the last which has.
        columns += ", (SELECT CASE WHEN v.version = e.version THEN v.revision END FROM \
             (SELECT o.version, o.revision FROM event o WHERE o.kind = e.kind AND o.id = e.id \
             ORDER BY o.revision DESC LIMIT 1) v) AS revision";
    }
    if want.work {
        columns += ", (SELECT json_agg(json_build_object('stage', w.stage, 'lane', w.lane, \
             'due', w.due, 'attempts', w.attempts, 'error', w.error, 'progress', w.progress, \
             'until', CASE WHEN w.token IS NOT NULL THEN w.until END) ORDER BY w.stage) \
             FROM work w WHERE w.stage IN (0, 1, 2) AND w.kind = e.kind AND w.id = e.id) AS work";
    }
    columns
}

/// Bodies are looked up one by one, however many rows the planner expects.
pub(super) fn join(want: Want) -> &'static str {
    if want.package {
        " LEFT JOIN LATERAL (SELECT o.codec, o.dictionary, o.data FROM body o \
         WHERE o.at = e.body_at LIMIT 1) b ON true"
    } else {
        ""
    }
}

impl Found {
    /// Of its [`columns`] with [all](crate::row::COLUMNS) of the row.
    pub(super) fn of(
        mut columns: Columns<'_>,
        want: Want,
        before: &mut Before<'_>,
    ) -> Result<Self> {
        let row = Row::read(&mut columns).map_err(fault("decode a row"))?;
        Self::with(row, columns, want, before)
    }

    /// Of its [`columns`] with what is [`LISTED`](crate::row::LISTED) of the row.
    pub(super) fn listed(
        kind: Kind,
        mut columns: Columns<'_>,
        want: Want,
        before: &mut Before<'_>,
    ) -> Result<Self> {
        let row = Row::listed(number(kind), &mut columns).map_err(fault("decode a row"))?;
        Self::with(row, columns, want, before)
    }

    /// A row, and what is wanted beside it.
    fn with(
        row: Row<'_>,
        mut columns: Columns<'_>,
        want: Want,
        before: &mut Before<'_>,
    ) -> Result<Self> {
        let broken = fault("decode a row");
        let number = row.skeleton;
        let (entity, is_lacking) = row.entity(before)?;
        let mut found = Self {
            entity,
            lacking: is_lacking.then_some(Lacking(number)),
            packed: None,
            revision: None,
            work: Vec::new(),
        };
        if want.package {
            let codec = columns.optional().map_err(&broken)?;
            let dictionary = columns.optional().map_err(&broken)?;
            let data: Option<&[u8]> = columns.optional().map_err(&broken)?;
            let packed = codec.zip(data).map(|(codec, data)| Packed {
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
            let due: Option<Vec<Due>> = columns.json().map_err(&broken)?;
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

/// As they are answered.
pub(super) async fn records(shared: &Shared, found: Vec<Found>, want: Want) -> Result<Vec<Record>> {
    let lacking = found.iter().filter_map(|found| found.lacking);
    let resources = Resources::of(shared, lacking.map(|Lacking(number)| number)).await?;
    let mut records = Vec::with_capacity(found.len());
    for found in found {
        let entity = match found.lacking {
            Some(Lacking(number)) => resources.complete(found.entity, number)?,
            None => found.entity,
        };
        let package = match found.packed {
            Some(packed) => {
                let unpacked = shared.bodies.unpack(shared, entity.body, &packed);
                Some(unpacked.await?)
            }
            None => want.package.then(Package::default),
        };
        records.push(Record {
            package,
            revision: found.revision,
            work: found.work,
            entity,
        });
    }
    Ok(records)
}

impl Due {
    fn work(self, key: &Key) -> Result<Work> {
        Ok(Work {
            stage: stage_of(self.stage)?,
            key: key.clone(),
            lane: Lane::new(self.lane),
            due: Timestamp(self.at),
            attempts: self.attempts,
            error: self.error,
            progress: self.progress,
            leased: self.until.map(Timestamp),
        })
    }
}
