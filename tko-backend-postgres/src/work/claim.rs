//! Claiming due work: lanes in turn, earliest first in a lane.

use super::{LEASE, number, stage_of};
use crate::fault::{Fault, fault};
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::row::key;
use sqlx::FromRow;
use sqlx::types::Json;
use std::sync::Mutex;
use std::time::Duration;
use tko_core::{Claim, ClaimRequest, Lane, Result, Stage, Timestamp, Token, Work};
use tokio::time::Instant;
use uuid::Uuid;

const LANES: usize = Lane::COUNT as usize;

/// Most that one claim takes.
const MOST: usize = 1_000;

/// Between two looks, though nothing was heard: another process may have handed something back.
const LOOK: Duration = Duration::from_millis(500);

/// A scan begins where the last one ended for so long, then at the start again.
const FLOORS: Duration = Duration::from_secs(2);

/// Leases what is due. In the order of the lanes, from that after `$5`, one of each in turn.
/// A suspect (several workers had it and did not come back) comes alone.
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
     w.fence, w.token, c.at, c.place, (SELECT bool_or(suspect) FROM ordered) AS suspects";

/// Leased work, as it is returned.
#[derive(FromRow)]
struct Leased {
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
    /// Where it was found in its lane.
    at: i64,
    /// In which turn.
    place: i64,
    /// Whether a suspect was among what was found: it waits until it comes first.
    suspects: bool,
}

/// Where this process is, in one stage.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The lane that was last claimed from.
    turn: i16,
    /// Nothing that is due lies before, as far as this process knows. Under a snapshot that is
    /// held, the index is full of what was claimed; this is where it ends.
    floors: [i64; LANES],
    /// When the floors were last at the start.
    since: Option<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            turn: 15,
            floors: [0; LANES],
            since: None,
        }
    }
}

/// Where this process is, in each stage.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<[Progress; Stage::ALL.len()]>);

impl Turns {
    fn of(&self, stage: Stage) -> Progress {
        let mut turns = self.0.lock().expect("no code panics while it counts");
        let turn = &mut turns[stage as usize];
        if turn.since.is_none_or(|since| since.elapsed() > FLOORS) {
            turn.floors = [0; LANES];
            turn.since = Some(Instant::now());
        }
        *turn
    }

    fn restart(&self, stage: Stage) {
        let mut turns = self.0.lock().expect("no code panics while it counts");
        turns[stage as usize].since = None;
    }

    fn claimed(&self, stage: Stage, leased: &[Leased]) {
        let mut turns = self.0.lock().expect("no code panics while it counts");
        let turn = &mut turns[stage as usize];
        if let Some(last) = leased.last() {
            turn.turn = last.lane;
        }
        for leased in leased {
            let lane = usize::try_from(leased.lane).unwrap_or_default();
            if let Some(floor) = turn.floors.get_mut(lane) {
                *floor = leased.at.max(*floor);
            }
        }
    }
}

/// Claims; waits for something to be due.
pub(crate) async fn claim(shared: &Shared, request: &ClaimRequest) -> Result<Vec<Claim>> {
    let max = request.max.min(MOST);
    if max == 0 {
        return Ok(Vec::new());
    }
    let mut ear = shared.waiting.ear();
    let mut end = None;
    loop {
        ear.clear();
        let claims = take(shared, request, max).await?;
        if !claims.is_empty() || request.wait.is_zero() {
            return Ok(claims);
        }
        let (now, next) = next(shared, request.stage).await?;
        let end = *end.get_or_insert(now.plus(request.wait));
        if now >= end {
            return Ok(Vec::new());
        }
        let until = next.map_or(end, |next| next.min(end));
        ear.listen(until.since(now).min(LOOK).max(Duration::from_millis(1)))
            .await;
    }
}

/// What is due now.
async fn take(shared: &Shared, request: &ClaimRequest, max: usize) -> Result<Vec<Claim>> {
    let (mut claims, suspects) = once(shared, request, max, true).await?;
    // One lane had less than its share, or the work lies before where the last scan ended.
    if claims.len() < max && !suspects {
        if claims.is_empty() {
            shared.turns.restart(request.stage);
        }
        let first = claims.len();
        let (more, _) = once(shared, request, max - first, first == 0).await?;
        claims.extend(more);
    }
    Ok(claims)
}

/// Claims, and whether there was a suspect: it comes alone, and only `first`.
async fn once(
    shared: &Shared,
    request: &ClaimRequest,
    max: usize,
    first: bool,
) -> Result<(Vec<Claim>, bool)> {
    let turn = shared.turns.of(request.stage);
    // A lease of no time at all would be due again in the same breath.
    let lease = i64::try_from(request.lease.as_micros()).unwrap_or(i64::MAX / 4);
    let mut tries = 0;
    let mut leased: Vec<Leased> = loop {
        let found = sqlx::query_as(CLAIM)
            .bind(number(request.stage))
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .bind(lease.max(1))
            .bind(&request.worker)
            .bind(turn.turn)
            .bind(&turn.floors[..])
            .bind(i32::try_from(Lane::PATIENCE).unwrap_or(i32::MAX))
            .bind(first)
            .fetch_all(&shared.pool)
            .measured(&shared.measures, Purpose::Claim)
            .await;
        match found {
            Ok(found) => break found,
            Err(error) if Fault::of(&error) == Fault::Retry && tries < 5 => tries += 1,
            Err(error) => return Err(fault(Purpose::Claim.action())(error)),
        }
    };
    leased.sort_by_key(|leased| leased.place);
    shared.turns.claimed(request.stage, &leased);
    let suspects = leased.iter().any(|leased| leased.suspects);
    let claims = leased
        .into_iter()
        .map(Leased::claim)
        .collect::<Result<_>>()?;
    Ok((claims, suspects))
}

/// The store's time, and when the next piece of work may be claimed.
async fn next(shared: &Shared, stage: Stage) -> Result<(Timestamp, Option<Timestamp>)> {
    let (now, next): (i64, Option<i64>) = sqlx::query_as(
        "SELECT now_us(), (SELECT min(x.at) FROM generate_series(0, 15) l(lane) CROSS JOIN LATERAL \
         (SELECT w.at FROM work w WHERE w.stage = $1 AND w.lane = l.lane ORDER BY w.at LIMIT 1) x)",
    )
    .bind(number(stage))
    .fetch_one(&shared.pool)
    .sent(&shared.measures, Purpose::NextDue)
    .await?;
    Ok((Timestamp(now), next.map(Timestamp)))
}

impl Leased {
    fn claim(self) -> Result<Claim> {
        let key = key(self.kind, &self.id)?;
        Ok(Claim {
            token: Token {
                key: key.clone(),
                secret: format!("{LEASE}{}", self.token.simple()).into(),
            },
            work: Work {
                stage: stage_of(self.stage)?,
                key,
                lane: Lane::new(u8::try_from(self.lane).unwrap_or(u8::MAX)),
                due: Timestamp(self.due),
                attempts: self.attempts.unsigned_abs(),
                error: self.error,
                progress: self.progress.map(|Json(progress)| progress),
                leased: Some(Timestamp(self.until)),
            },
            fence: self.fence.unsigned_abs(),
            until: Timestamp(self.until),
        })
    }
}
