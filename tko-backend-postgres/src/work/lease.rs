//! Renewing and ending leases and edits, each by itself.

use super::{Secret, secret};
use crate::fault::{Fault, fault};
use crate::metrics::{Purpose, Sending};
use crate::postgres::Shared;
use crate::row::number;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tko_core::{Lane, Outcome, Result, Token};
use uuid::Uuid;

/// The leases that are live, locked in order.
const LIVE: &str = "live AS MATERIALIZED ( \
         SELECT w.stage, w.kind, w.id, w.token \
         FROM unnest($1::smallint[], $2::text[], $3::uuid[]) k(kind, id, token) \
         JOIN work w ON w.stage IN (0, 1, 2) AND w.kind = k.kind AND w.id = k.id AND w.token = k.token \
         WHERE w.until > now_us() ORDER BY w.stage, w.kind, w.id FOR UPDATE OF w)";

/// The same, each with what becomes of it.
const ENDING: &str = "live AS MATERIALIZED ( \
         SELECT w.stage, w.kind, w.id, w.token, w.attempts, w.again, k.outcome, k.after, k.reason \
         FROM unnest($1::smallint[], $2::text[], $3::uuid[], $4::smallint[], $5::bigint[], $6::text[]) \
         k(kind, id, token, outcome, after, reason) \
         JOIN work w ON w.stage IN (0, 1, 2) AND w.kind = k.kind AND w.id = k.id AND w.token = k.token \
         WHERE w.until > now_us() ORDER BY w.stage, w.kind, w.id FOR UPDATE OF w)";

/// The edits that are open, locked in order.
const OPEN: &str = "k AS (SELECT * FROM unnest($1::smallint[], $2::text[], $3::uuid[]) k(kind, id, token)), \
     live AS MATERIALIZED ( \
         SELECT e.kind, e.id, e.edit AS token FROM k \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id AND e.edit = k.token \
         WHERE e.edit_until > now_us() ORDER BY e.kind, e.id FOR UPDATE OF e)";

/// Ends leases: 0 done, 1 retry, 2 yield. What was marked meanwhile is due at once.
const SETTLE: &str = "finished AS ( \
         DELETE FROM work w USING live l \
         WHERE w.stage = l.stage AND w.kind = l.kind AND w.id = l.id AND l.outcome = 0 AND l.again IS NULL), \
     changed AS ( \
         UPDATE work w SET token = NULL, until = NULL, worker = NULL, again = NULL, \
         at = CASE WHEN l.again IS NULL THEN now_us() + l.after ELSE now_us() END, \
         due = CASE WHEN l.again IS NULL THEN now_us() + l.after ELSE now_us() END, \
         attempts = CASE l.outcome WHEN 0 THEN 0 WHEN 1 THEN l.attempts ELSE greatest(l.attempts - 1, 0) END, \
         lane = CASE WHEN l.outcome = 0 THEN l.again \
             WHEN l.outcome = 1 AND l.attempts >= $7 THEN $8 ELSE w.lane END, \
         error = CASE l.outcome WHEN 0 THEN NULL WHEN 1 THEN l.reason ELSE w.error END, \
         progress = CASE WHEN l.outcome = 0 THEN NULL ELSE w.progress END \
         FROM live l \
         WHERE w.stage = l.stage AND w.kind = l.kind AND w.id = l.id \
         AND (l.outcome <> 0 OR l.again IS NOT NULL)) \
     SELECT token FROM live";

/// Gives up edits.
const GIVE_UP: &str = "entities AS ( \
         UPDATE entity e SET edit = NULL, edit_until = NULL FROM live l \
         WHERE e.kind = l.kind AND e.id = l.id), \
     edits AS (DELETE FROM edit USING live l WHERE edit.token = l.token) \
     SELECT token FROM live";

/// Tokens of one sort, in the order of their keys.
#[derive(Default)]
struct Tokens {
    kinds: Vec<i16>,
    ids: Vec<String>,
    uuids: Vec<Uuid>,
    /// Where each was in what was asked.
    places: Vec<usize>,
}

impl Tokens {
    /// Leases and edits, each token once.
    fn sorted<'a>(tokens: impl Iterator<Item = &'a Token>) -> (Self, Self) {
        let mut all: Vec<(usize, &Token)> = tokens.enumerate().collect();
        all.sort_by(|(a, one), (b, two)| (one, a).cmp(&(two, b)));
        let (mut leases, mut edits) = (Self::default(), Self::default());
        let mut seen = HashSet::new();
        for (place, token) in all {
            let (sort, uuid) = match secret(token) {
                Secret::Lease(uuid) => (&mut leases, uuid),
                Secret::Modification(uuid) => (&mut edits, uuid),
                Secret::Unknown => continue,
            };
            if !seen.insert(uuid) {
                continue;
            }
            sort.kinds.push(number(token.key.kind()));
            sort.ids.push(token.key.id().to_owned());
            sort.uuids.push(uuid);
            sort.places.push(place);
        }
        (leases, edits)
    }

    /// Marks which were live.
    fn answer(&self, live: &HashSet<Uuid>, answers: &mut [bool]) {
        for (uuid, place) in self.uuids.iter().zip(&self.places) {
            answers[*place] = live.contains(uuid);
        }
    }
}

/// Runs a statement that begins with what is live; the tokens that were.
macro_rules! live {
    ($shared:expr, $purpose:expr, $tokens:expr, $sql:expr $(, $bind:expr)*) => {{
        let mut tries = 0;
        loop {
            let found: Result<Vec<Uuid>, sqlx::Error> =
                sqlx::query_scalar(sqlx::AssertSqlSafe($sql.as_str()))
                    .bind(&$tokens.kinds)
                    .bind(&$tokens.ids)
                    .bind(&$tokens.uuids)
                    $(.bind($bind))*
                    .fetch_all(&$shared.pool)
                    .measured(&$shared.measures, $purpose)
                    .await;
            match found {
                Ok(found) => break found.into_iter().collect::<HashSet<Uuid>>(),
                Err(error) if Fault::of(&error) == Fault::Retry && tries < 5 => tries += 1,
                Err(error) => return Err(fault($purpose.action())(error)),
            }
        }
    }};
}

/// Lets live leases and open edits end at `ttl` from now.
pub(crate) async fn renew(shared: &Shared, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
    let mut answers = vec![false; tokens.len()];
    let (leases, edits) = Tokens::sorted(tokens.iter());
    let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 4);
    if !leases.uuids.is_empty() {
        let sql = format!(
            "WITH {LIVE}, renewed AS (UPDATE work w SET until = now_us() + $4, at = now_us() + $4 \
             FROM live l WHERE w.stage = l.stage AND w.kind = l.kind AND w.id = l.id) \
             SELECT token FROM live"
        );
        let live = live!(shared, Purpose::RenewLeases, leases, sql, ttl);
        leases.answer(&live, &mut answers);
    }
    if !edits.uuids.is_empty() {
        let sql = format!(
            "WITH {OPEN}, renewed AS (UPDATE entity e SET edit_until = now_us() + $4 FROM live l \
             WHERE e.kind = l.kind AND e.id = l.id), \
             kept AS (UPDATE edit SET until = now_us() + $4 FROM live l WHERE edit.token = l.token) \
             SELECT token FROM live"
        );
        let live = live!(shared, Purpose::RenewEdits, edits, sql, ttl);
        edits.answer(&live, &mut answers);
    }
    // A lease may end earlier than was thought.
    shared.waiting.wake();
    Ok(answers)
}

/// Ends leases, and gives up edits.
pub(crate) async fn settle(shared: &Shared, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
    let mut answers = vec![false; outcomes.len()];
    let (leases, edits) = Tokens::sorted(outcomes.iter().map(|(token, _)| token));
    if !leases.uuids.is_empty() {
        let by_place: HashMap<usize, &Outcome> = outcomes
            .iter()
            .map(|(_, outcome)| outcome)
            .enumerate()
            .collect();
        let (mut kinds, mut after, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for place in &leases.places {
            let (kind, time, reason) = match by_place[place] {
                Outcome::Done => (0_i16, Duration::ZERO, None),
                Outcome::Retry { after, reason } => (1, *after, Some(reason)),
                Outcome::Yield { after } => (2, *after, None),
            };
            kinds.push(kind);
            after.push(i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4));
            // A text of PostgreSQL holds no NUL.
            reasons.push(reason.map(|reason| reason.replace('\0', "\u{fffd}")));
        }
        let sql = format!("WITH {ENDING}, {SETTLE}");
        let live = live!(
            shared,
            Purpose::SettleLeases,
            leases,
            sql,
            &kinds,
            &after,
            &reasons,
            i32::try_from(Lane::PATIENCE).unwrap_or(i32::MAX),
            i16::from(Lane::FAILING.number())
        );
        leases.answer(&live, &mut answers);
    }
    if !edits.uuids.is_empty() {
        let sql = format!("WITH {OPEN}, {GIVE_UP}");
        let live = live!(shared, Purpose::SettleEdits, edits, sql);
        edits.answer(&live, &mut answers);
    }
    shared.waiting.wake();
    Ok(answers)
}
