//! Rows with what is wanted beside them.

use crate::body::Packed;
use crate::postgres::Shared;
use crate::record::complete;
use crate::row::{COLUMNS, Row};
use crate::work::stage_of;
use serde::Deserialize;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use tko_core::{Entity, Key, Lane, Package, Record, Result, Revision, Timestamp, Want, Work};

/// A row as read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entity: Entity,
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
    /// Its columns begin with this one.
    pub(super) fn of(row: &PgRow, first: usize, want: Want) -> Result<Result<Self>, sqlx::Error> {
        let columns = Row::read(row, first)?;
        let skeleton = columns.skeleton;
        let entity = match columns.entity() {
            Ok(entity) => entity,
            Err(error) => return Ok(Err(error)),
        };
        let mut found = Self {
            entity,
            skeleton,
            packed: None,
            revision: None,
            work: Vec::new(),
        };
        if want.package
            && let Some(codec) = row.try_get("codec")?
        {
            found.packed = Some(Packed {
                codec,
                dictionary: row.try_get("dictionary")?,
                data: row.try_get("data")?,
            });
        }
        if want.revision {
            found.revision = row.try_get("revision")?;
        }
        if want.work {
            let work: Option<Json<Vec<Due>>> = row.try_get("work")?;
            found.work = work.map(|Json(work)| work).unwrap_or_default();
        }
        Ok(Ok(found))
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
    let mut drafts = Vec::with_capacity(found.len());
    let mut beside = Vec::with_capacity(found.len());
    for found in found {
        drafts.push((found.entity, found.skeleton));
        beside.push((found.packed, found.revision, found.work));
    }
    let entities = complete(shared, drafts).await?;
    let mut records = Vec::with_capacity(entities.len());
    for (entity, (packed, revision, work)) in entities.into_iter().zip(beside) {
        let package = match packed {
            Some(packed) => {
                let unpacked = shared.bodies.unpack(shared, entity.body, &packed);
                Some(unpacked.await?)
            }
            None => want.package.then(Package::default),
        };
        let work = work.into_iter().map(|due| due.work(&entity.key));
        records.push(Record {
            package,
            revision: revision.map(|revision| Revision(revision.unsigned_abs())),
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
