//! Rows with what is wanted beside them.

use crate::body::Packed;
use crate::columns::Columns;
use crate::fault::fault;
use crate::postgres::Shared;
use crate::record::Resources;
use crate::row::{COLUMNS, Row};
use crate::work::stage_of;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tko_core::{Entity, Key, Lane, Package, Record, Result, Revision, Timestamp, Want, Work};

/// A row as read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entity: Arc<Entity>,
    skeleton: Option<i32>,
    packed: Option<Packed>,
    revision: Option<i64>,
    work: Vec<Due>,
}

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

/// Of the row `e` and, if bodies are wanted, of [`join`]'s `b`.
pub(super) fn columns(want: Want) -> String {
    let mut columns = COLUMNS.to_owned();
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
    /// Of its [`columns`].
    pub(super) fn of(mut columns: Columns<'_>, want: Want) -> Result<Self> {
        let broken = fault("decode a row");
        let row = Row::read(&mut columns).map_err(&broken)?;
        let skeleton = row.skeleton;
        let mut found = Self {
            entity: row.entity()?,
            skeleton,
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
            found.revision = columns.optional().map_err(&broken)?;
        }
        if want.work {
            found.work = columns.json().map_err(&broken)?.unwrap_or_default();
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
    let numbers = found.iter().map(|found| found.skeleton);
    let resources = Resources::of(shared, numbers).await?;
    let mut records = Vec::with_capacity(found.len());
    for found in found {
        let entity = resources.complete(found.entity, found.skeleton)?;
        let package = match found.packed {
            Some(packed) => {
                let unpacked = shared.bodies.unpack(shared, entity.body, &packed);
                Some(unpacked.await?)
            }
            None => want.package.then(Package::default),
        };
        let work = found.work.into_iter().map(|due| due.work(&entity.key));
        records.push(Record {
            package,
            revision: found
                .revision
                .map(|revision| Revision(revision.unsigned_abs())),
            work: work.collect::<Result<_>>()?,
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
