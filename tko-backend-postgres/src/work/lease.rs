//! Renewing and ending leases and modifications. Each token succeeds or fails independently.

use super::ALL_STAGES;
use super::signal::WorkSignal;
use crate::codes::{kind_number, micros};
use crate::database::Database;
use crate::fault::{SqlFault, fault};
use crate::metrics::{Instrument, Purpose};
use crate::token::TokenSecret;
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tko_core::{Lane, Outcome, Result, Token};
use uuid::Uuid;

/// Maximum number of retries when transactions conflict.
const RETRIES: u32 = 5;

/// Parameters of every statement here: kinds, ids, and tokens.
const TOKENS: &str = "$1::smallint[], $2::text[], $3::uuid[]";

/// A part `live`: the live leases, locked in order, with these columns of `w` and `k`.
fn live_leases(columns: &str, more: &str, names: &str) -> String {
    format!(
        "WITH live AS MATERIALIZED ( \
         SELECT w.stage, w.kind, w.id, w.token{columns} \
         FROM unnest({TOKENS}{more}) k(kind, id, token{names}) \
         JOIN work w ON {ALL_STAGES} AND w.kind = k.kind AND w.id = k.id AND w.token = k.token \
         WHERE w.until > now_us() ORDER BY w.stage, w.kind, w.id FOR UPDATE OF w), "
    )
}

/// A part `live`: the open modifications, locked in order.
fn live_modifications() -> String {
    format!(
        "WITH k AS (SELECT * FROM unnest({TOKENS}) k(kind, id, token)), \
         live AS MATERIALIZED ( \
         SELECT e.kind, e.id, e.edit AS token FROM k \
         JOIN entity e ON e.kind = k.kind AND e.id = k.id AND e.edit = k.token \
         WHERE e.edit_until > now_us() ORDER BY e.kind, e.id FOR UPDATE OF e), "
    )
}

/// Extends leases by `$4` microseconds.
const RENEW_LEASES: &str = "renewed AS (UPDATE work w \
         SET until = now_us() + $4, at = now_us() + $4 FROM live l \
         WHERE w.stage = l.stage AND w.kind = l.kind AND w.id = l.id) \
     SELECT token FROM live";

/// Extends modifications by `$4` microseconds.
const RENEW_MODIFICATIONS: &str = "renewed AS (UPDATE entity e SET edit_until = now_us() + $4 \
         FROM live l WHERE e.kind = l.kind AND e.id = l.id), \
     kept AS (UPDATE edit SET until = now_us() + $4 FROM live l WHERE edit.token = l.token) \
     SELECT token FROM live";

/// Ends leases, with the outcomes 0 done, 1 retry, and 2 yield. Work that was enqueued during the
/// lease is due at once.
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

/// Cancels modifications.
const CANCEL: &str = "entities AS ( \
         UPDATE entity e SET edit = NULL, edit_until = NULL FROM live l \
         WHERE e.kind = l.kind AND e.id = l.id), \
     edits AS (DELETE FROM edit USING live l WHERE edit.token = l.token) \
     SELECT token FROM live";

/// Leases, or modifications, in the order of their keys.
#[derive(Default)]
struct TokenBatch {
    kinds: Vec<i16>,
    ids: Vec<String>,
    uuids: Vec<Uuid>,
    /// The position of each token in the call.
    positions: Vec<usize>,
}

impl TokenBatch {
    /// Sorts tokens into leases and modifications, without duplicates.
    fn sorted<'a>(tokens: impl Iterator<Item = &'a Token>) -> (Self, Self) {
        let mut all: Vec<(usize, &Token)> = tokens.enumerate().collect();
        all.sort_by(|(a, one), (b, two)| (one, a).cmp(&(two, b)));
        let (mut leases, mut modifications) = (Self::default(), Self::default());
        let mut seen = HashSet::new();
        for (position, token) in all {
            let (batch, uuid) = match TokenSecret::of(token) {
                TokenSecret::Lease(uuid) => (&mut leases, uuid),
                TokenSecret::Modification(uuid) => (&mut modifications, uuid),
                TokenSecret::Unknown => continue,
            };
            if !seen.insert(uuid) {
                continue;
            }
            batch.kinds.push(kind_number(token.key.kind()));
            batch.ids.push(token.key.id().to_owned());
            batch.uuids.push(uuid);
            batch.positions.push(position);
        }
        (leases, modifications)
    }

    /// Marks the tokens that were live.
    fn answer(&self, live: &HashSet<Uuid>, answers: &mut [bool]) {
        for (uuid, position) in self.uuids.iter().zip(&self.positions) {
            answers[*position] = live.contains(uuid);
        }
    }
}

/// Runs a statement about tokens, with additional values to bind. Evaluates to the live tokens.
macro_rules! live {
    ($database:expr, $purpose:expr, $tokens:expr, $sql:expr $(, $bind:expr)*) => {{
        let mut retries = 0;
        loop {
            let found: Result<Vec<Uuid>, sqlx::Error> =
                sqlx::query_scalar(AssertSqlSafe($sql.as_str()))
                    .bind(&$tokens.kinds)
                    .bind(&$tokens.ids)
                    .bind(&$tokens.uuids)
                    $(.bind($bind))*
                    .fetch_all(&$database.pool)
                    .measured(&$database.metrics, $purpose)
                    .await;
            match found {
                Ok(found) => break found.into_iter().collect::<HashSet<Uuid>>(),
                Err(error) if SqlFault::of(&error) == SqlFault::Retry && retries < RETRIES => {
                    retries += 1;
                }
                Err(error) => return Err(fault($purpose.action())(error)),
            }
        }
    }};
}

/// Renews live leases and open modifications: they end after `ttl` from now.
pub(crate) async fn renew(
    database: &Database,
    signal: &WorkSignal,
    tokens: &[Token],
    ttl: Duration,
) -> Result<Vec<bool>> {
    let mut answers = vec![false; tokens.len()];
    let (leases, modifications) = TokenBatch::sorted(tokens.iter());
    let ttl = micros(ttl);
    if !leases.uuids.is_empty() {
        let sql = live_leases("", "", "") + RENEW_LEASES;
        let live = live!(database, Purpose::RenewLeases, leases, sql, ttl);
        leases.answer(&live, &mut answers);
    }
    if !modifications.uuids.is_empty() {
        let sql = live_modifications() + RENEW_MODIFICATIONS;
        let purpose = Purpose::RenewModifications;
        let live = live!(database, purpose, modifications, sql, ttl);
        modifications.answer(&live, &mut answers);
    }
    // A lease may now end earlier than waiting claims expect.
    signal.wake();
    // A token that is named twice was renewed once, and was live for both.
    let mut live: BTreeMap<&Token, bool> = BTreeMap::new();
    for (token, answer) in tokens.iter().zip(&answers) {
        *live.entry(token).or_default() |= answer;
    }
    Ok(tokens.iter().map(|token| live[token]).collect())
}

/// Ends leases, and cancels modifications.
pub(crate) async fn settle(
    database: &Database,
    signal: &WorkSignal,
    outcomes: &[(Token, Outcome)],
) -> Result<Vec<bool>> {
    let mut answers = vec![false; outcomes.len()];
    let (leases, modifications) = TokenBatch::sorted(outcomes.iter().map(|(token, _)| token));
    if !leases.uuids.is_empty() {
        let by_position: HashMap<usize, &Outcome> = outcomes
            .iter()
            .map(|(_, outcome)| outcome)
            .enumerate()
            .collect();
        let (mut numbers, mut delays, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for position in &leases.positions {
            let (number, after, reason) = match by_position[position] {
                Outcome::Done => (0_i16, Duration::ZERO, None),
                Outcome::Retry { after, reason } => (1, *after, Some(reason)),
                Outcome::Yield { after } => (2, *after, None),
            };
            numbers.push(number);
            delays.push(micros(after));
            // PostgreSQL accepts no NUL in a text.
            reasons.push(reason.map(|reason| reason.replace('\0', "\u{fffd}")));
        }
        let live = live_leases(
            ", w.attempts, w.again, k.outcome, k.after, k.reason",
            ", $4::smallint[], $5::bigint[], $6::text[]",
            ", outcome, after, reason",
        );
        let sql = live + SETTLE;
        let live = live!(
            database,
            Purpose::SettleLeases,
            leases,
            sql,
            &numbers,
            &delays,
            &reasons,
            i32::try_from(Lane::PATIENCE).unwrap_or(i32::MAX),
            i16::from(Lane::FAILING.number())
        );
        leases.answer(&live, &mut answers);
    }
    if !modifications.uuids.is_empty() {
        let live = cancel(database, &modifications).await?;
        modifications.answer(&live, &mut answers);
    }
    signal.wake();
    Ok(answers)
}

/// Cancels open modifications. Returns their tokens.
async fn cancel(database: &Database, modifications: &TokenBatch) -> Result<HashSet<Uuid>> {
    let sql = live_modifications() + CANCEL;
    let purpose = Purpose::EndModifications;
    Ok(live!(database, purpose, modifications, sql))
}

/// Cancels one modification, if it is open.
pub(super) async fn cancel_modification(database: &Database, token: &Token) -> Result<()> {
    let (_, modifications) = TokenBatch::sorted(std::iter::once(token));
    cancel(database, &modifications).await.map(|_| ())
}
