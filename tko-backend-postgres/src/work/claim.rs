//! Claiming due work: the lanes in turn, the earliest work of each lane first.

use super::pace::SearchPace;
use super::signal::WorkSignal;
use crate::codes::{count, key_of, micros, stage_number, stage_of};
use crate::database::Database;
use crate::fault::{SqlFault, fault};
use crate::metrics::{Instrument, Purpose};
use crate::token::lease_token;
use sqlx::FromRow;
use sqlx::types::Json;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tko_core::{Claim, ClaimRequest, Lane, Result, Stage, Timestamp, Work};
use tokio::time::Instant;
use uuid::Uuid;

const LANES: usize = Lane::COUNT as usize;

/// Maximum number of pieces of work in one claim.
const MAX_CLAIMED: usize = 1_000;

/// How often a waiting claim polls: another process may have ended a lease.
const POLL: Duration = Duration::from_millis(500);

/// How long scans continue from the end of the last one, before they start from the beginning.
const FLOOR_AGE: Duration = Duration::from_secs(2);

/// Maximum number of retries when transactions conflict.
const RETRIES: u32 = 5;

/// Leases due work. Takes one piece from each lane in turn, starting after the lane `$5`.
///
/// Work is suspect if several workers leased it and let the lease expire. It is claimed alone.
const CLAIM: &str = "WITH active AS MATERIALIZED ( \
         SELECT (f.n - 1)::smallint AS lane, f.floor FROM unnest($6::bigint[]) WITH ORDINALITY f(floor, n) \
         CROSS JOIN LATERAL (SELECT 1 FROM work w WHERE w.stage = $1 AND w.lane = f.n - 1 \
         AND w.at >= f.floor AND w.at <= now_us() ORDER BY w.at LIMIT 1) x), \
     quota AS MATERIALIZED ( \
         SELECT CASE WHEN count(*) = 0 THEN 0 ELSE ($2 + count(*) - 1) / count(*) END AS most FROM active), \
     found AS MATERIALIZED ( \
         SELECT a.lane, x.kind, x.id, x.at, x.suspect, \
         row_number() OVER (PARTITION BY a.lane ORDER BY x.at, x.kind, x.id) AS round \
         FROM quota q CROSS JOIN active a CROSS JOIN LATERAL ( \
             SELECT w.kind, w.id, w.at, w.token IS NOT NULL AND w.attempts >= $7 AS suspect FROM work w \
             WHERE w.stage = $1 AND w.lane = a.lane AND w.at >= a.floor AND w.at <= now_us() \
             ORDER BY w.at, w.kind, w.id LIMIT q.most FOR UPDATE SKIP LOCKED) x), \
     ordered AS MATERIALIZED ( \
         SELECT f.*, row_number() OVER (ORDER BY f.round, (f.lane + 15 - $5) % 16) AS place FROM found f), \
     chosen AS MATERIALIZED ( \
         SELECT o.* FROM ordered o WHERE o.place <= $2 AND o.place < coalesce( \
             (SELECT min(s.place) FROM ordered s WHERE s.suspect AND (s.place > 1 OR NOT $8)), 9223372036854775807) \
         AND (o.place = 1 OR NOT EXISTS (SELECT 1 FROM ordered s WHERE s.suspect AND s.place = 1))) \
     UPDATE work w SET token = gen_random_uuid(), until = now_us() + $3, at = now_us() + $3, \
     attempts = w.attempts + 1, again = NULL, fence = nextval('fence'), worker = $4 \
     FROM chosen c WHERE w.stage = $1 AND w.kind = c.kind AND w.id = c.id \
     RETURNING w.stage, w.kind, w.id, w.lane, w.due, w.attempts, w.error, w.progress, w.until, \
     w.fence, w.token, c.at, c.place, (SELECT bool_or(suspect) FROM ordered) AS suspects, \
     (SELECT most FROM quota) AS most";

/// A row that [`CLAIM`] returns.
#[derive(FromRow)]
struct LeasedRow {
    stage: i16,
    kind: i16,
    id: String,
    lane: i16,
    due: i64,
    attempts: i32,
    error: Option<String>,
    progress: Option<Json<serde_json::Value>>,
    until: i64,
    fence: i64,
    token: Uuid,
    /// The work's place in its lane, before this lease.
    at: i64,
    /// The work's place in the order of the claim.
    place: i64,
    /// Whether the claim met suspect work, which waits until it comes first.
    suspects: bool,
    /// The share of each lane.
    most: i64,
}

/// The result of one search.
struct Leased {
    claims: Vec<Claim>,
    /// Whether it met suspect work, which is claimed only if it comes first.
    met_suspect: bool,
    /// Whether a lane may have more: it gave its whole share.
    has_more: bool,
}

/// The position of this process in one stage.
#[derive(Clone, Copy, Debug)]
struct ClaimCursor {
    /// The lane of the last claim.
    lane: i16,
    /// For each lane, the time from which the next scan starts: as far as this process knows, no
    /// earlier work is due.
    ///
    /// While a transaction holds back the vacuum, the index is full of dead entries up to here.
    floors: [i64; LANES],
    /// When the floors were reset.
    since: Option<Instant>,
}

impl Default for ClaimCursor {
    fn default() -> Self {
        Self {
            lane: i16::from(Lane::FAILING.number()),
            floors: [0; LANES],
            since: None,
        }
    }
}

/// The position of this process in each stage.
#[derive(Debug, Default)]
pub(crate) struct ClaimTurns {
    cursors: Mutex<[ClaimCursor; Stage::ALL.len()]>,
    /// Held while a waiting claim searches.
    paces: [tokio::sync::Mutex<SearchPace>; Stage::ALL.len()],
}

impl ClaimTurns {
    fn lock(&self) -> MutexGuard<'_, [ClaimCursor; Stage::ALL.len()]> {
        self.cursors.lock().expect("no code panics while it counts")
    }

    fn of(&self, stage: Stage) -> ClaimCursor {
        let cursor = &mut self.lock()[stage as usize];
        let is_old = |since: Instant| since.elapsed() > FLOOR_AGE;
        if cursor.since.is_none_or(is_old) {
            cursor.floors = [0; LANES];
            cursor.since = Some(Instant::now());
        }
        *cursor
    }

    fn reset(&self, stage: Stage) {
        self.lock()[stage as usize].since = None;
    }

    /// Whether scans of this stage leave out work before some point.
    fn has_floors(&self, stage: Stage) -> bool {
        self.lock()[stage as usize]
            .floors
            .iter()
            .any(|floor| *floor > 0)
    }

    fn advance(&self, stage: Stage, leased: &[LeasedRow]) {
        let cursor = &mut self.lock()[stage as usize];
        if let Some(last) = leased.last() {
            cursor.lane = last.lane;
        }
        for row in leased {
            let lane = usize::try_from(row.lane).unwrap_or_default();
            if let Some(floor) = cursor.floors.get_mut(lane) {
                *floor = row.at.max(*floor);
            }
        }
    }
}

/// Claims due work, or waits for some as long as the request allows.
pub(crate) async fn claim(
    database: &Database,
    signal: &WorkSignal,
    turns: &ClaimTurns,
    request: &ClaimRequest,
) -> Result<Vec<Claim>> {
    let max = request.max.min(MAX_CLAIMED);
    if max == 0 {
        return Ok(Vec::new());
    }
    if request.wait.is_zero() {
        return take(database, turns, request, max).await;
    }
    let mut listener = signal.listener(request.stage);
    let mut end = None;
    let mut has_searched = false;
    loop {
        let mut pace = turns.paces[request.stage as usize].lock().await;
        pace.wait(has_searched).await;
        has_searched = true;
        listener.clear();
        let claims = take(database, turns, request, max).await?;
        pace.searched(claims.len(), max);
        drop(pace);
        if !claims.is_empty() {
            return Ok(claims);
        }
        let (now, next) = next_due(database, request.stage).await?;
        let end = *end.get_or_insert(now.plus(request.wait));
        if now >= end {
            return Ok(Vec::new());
        }
        let until = next.map_or(end, |next| next.min(end));
        let pause = until.since(now).min(POLL).max(Duration::from_millis(1));
        listener.wait(pause).await;
    }
}

/// Claims work that is due now.
async fn take(
    database: &Database,
    turns: &ClaimTurns,
    request: &ClaimRequest,
    max: usize,
) -> Result<Vec<Claim>> {
    let first = take_once(database, turns, request, max, true).await?;
    let mut claims = first.claims;
    // Try again: one lane had less than its share and another one has more, or the work is before
    // the floors.
    let may_be_before = claims.is_empty() && turns.has_floors(request.stage);
    if claims.len() < max && !first.met_suspect && (first.has_more || may_be_before) {
        if claims.is_empty() {
            turns.reset(request.stage);
        }
        let taken = claims.len();
        match take_once(database, turns, request, max - taken, taken == 0).await {
            Ok(more) => claims.extend(more.claims),
            // Those of the first search are leased already.
            Err(error) if !claims.is_empty() => {
                tracing::debug!(error = %tko_core::error::chain(&error), "failed to search for more work");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(claims)
}

/// Claims by one statement. Takes suspect work only if it comes first and `is_first` is set.
async fn take_once(
    database: &Database,
    turns: &ClaimTurns,
    request: &ClaimRequest,
    max: usize,
    is_first: bool,
) -> Result<Leased> {
    let cursor = turns.of(request.stage);
    let mut retries = 0;
    let mut leased: Vec<LeasedRow> = loop {
        let found = sqlx::query_as(CLAIM)
            .bind(stage_number(request.stage))
            .bind(count(max))
            // A lease of length zero would be due again within the statement.
            .bind(micros(request.lease).max(1))
            .bind(&request.worker)
            .bind(cursor.lane)
            .bind(&cursor.floors[..])
            .bind(i32::try_from(Lane::PATIENCE).unwrap_or(i32::MAX))
            .bind(is_first)
            .fetch_all(&database.pool)
            .measured(&database.metrics, Purpose::Claim)
            .await;
        match found {
            Ok(found) => break found,
            Err(error) if SqlFault::of(&error) == SqlFault::Retry && retries < RETRIES => {
                retries += 1;
            }
            Err(error) => return Err(fault(Purpose::Claim.action())(error)),
        }
    };
    leased.sort_by_key(|row| row.place);
    turns.advance(request.stage, &leased);
    let met_suspect = leased.iter().any(|row| row.suspects);
    let mut lanes = [0_i64; LANES];
    let mut has_more = false;
    for row in &leased {
        let lane = usize::try_from(row.lane).unwrap_or_default();
        if let Some(of) = lanes.get_mut(lane) {
            *of += 1;
            has_more |= *of >= row.most;
        }
    }
    let claims = leased
        .into_iter()
        .map(LeasedRow::claim)
        .collect::<Result<_>>()?;
    Ok(Leased {
        claims,
        met_suspect,
        has_more,
    })
}

/// Reads the store's time, and the time from which the next work may be claimed.
async fn next_due(database: &Database, stage: Stage) -> Result<(Timestamp, Option<Timestamp>)> {
    let (now, next): (i64, Option<i64>) = sqlx::query_as(
        "SELECT now_us(), (SELECT min(x.at) FROM generate_series(0, 15) l(lane) CROSS JOIN LATERAL \
         (SELECT w.at FROM work w WHERE w.stage = $1 AND w.lane = l.lane ORDER BY w.at LIMIT 1) x)",
    )
    .bind(stage_number(stage))
    .fetch_one(&database.pool)
    .sent(&database.metrics, Purpose::NextDue)
    .await?;
    Ok((Timestamp(now), next.map(Timestamp)))
}

impl LeasedRow {
    fn claim(self) -> Result<Claim> {
        let key = key_of(self.kind, &self.id)?;
        Ok(Claim::new(
            lease_token(&key, self.token),
            Work::new(
                stage_of(self.stage)?,
                key,
                Lane::new(u8::try_from(self.lane).unwrap_or(u8::MAX)),
                Timestamp(self.due),
            )
            .attempts(self.attempts.unsigned_abs())
            .error(self.error)
            .progress(self.progress.map(|Json(progress)| progress))
            .leased(Timestamp(self.until)),
            self.fence.unsigned_abs(),
            Timestamp(self.until),
        ))
    }
}
