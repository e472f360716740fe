//! Due work and claims: who works on what, and until when.
//!
//! What is due is a row of its own, found by index, kept over restarts. A worker leases it; a
//! person's *edit* keeps other writers off one entity's package. Both are proven by a [`Token`]
//! and end by themselves. Durations go in and deadlines come out, because only the store's clock
//! counts.

use crate::builder::chainable;
use crate::error::{Error, Result};
use crate::id::{Key, Kind};
use crate::revision::Timestamp;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Largest progress of one piece of work, in bytes of JSON.
pub const MAX_PROGRESS: usize = 64 * 1024;

/// What workers of one sort do, to one key at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Deployments to be prepared.
    Prepare,
    /// Sites whose wanted deployments changed.
    Schedule,
    /// What is being deleted and has more referrers than one change set takes.
    Delete,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Prepare, Self::Schedule, Self::Delete];
}

/// Fairness: claims rotate over lanes, so that no template's millions and no failing item hold
/// back the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u8);

impl Lane {
    /// How many there are.
    pub const COUNT: u8 = 16;
    /// For what failed [`Lane::PATIENCE`] times.
    pub const FAILING: Self = Self(Self::COUNT - 1);
    /// Attempts after which work moves to [`Lane::FAILING`].
    pub const PATIENCE: u32 = 3;

    /// By number; what is not below [`Lane::COUNT`] counts as failing.
    pub fn new(number: u8) -> Self {
        Self(number.min(Self::COUNT - 1))
    }

    /// The lane of what shares this text, such as a template's id: any but the failing.
    pub fn of(text: &str) -> Self {
        // FNV-1a: equal in every process and version, which std's hashers do not promise.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(u8::try_from(hash % u64::from(Self::COUNT - 1)).unwrap_or(0))
    }

    /// From 0, below [`Lane::COUNT`].
    pub fn number(self) -> u8 {
        self.0
    }
}

/// A request to enqueue work on one key.
///
/// Enqueuing merges with work that is already queued for the stage and key: the earlier due time
/// wins, and work that is claimed becomes due again after its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueue {
    /// The stage that does the work.
    pub stage: Stage,
    /// The key to work on.
    pub key: Key,
    /// The lane of new work; work that is already queued keeps its lane.
    pub lane: Lane,
    /// The delay until the work is due.
    pub after: Duration,
}

impl Enqueue {
    /// Work that is due at once.
    pub fn now(stage: Stage, key: impl Into<Key>, lane: Lane) -> Self {
        Self {
            stage,
            key: key.into(),
            lane,
            after: Duration::ZERO,
        }
    }

    chainable! {
        /// Sets the delay until the work is due.
        after: Duration;
    }
}

/// One piece of queued work. Its changes make no revisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The stage that does the work.
    pub stage: Stage,
    /// The key to work on.
    pub key: Key,
    /// The lane in which it waits.
    pub lane: Lane,
    /// The time at which it is, or was, due.
    pub due: Timestamp,
    /// The number of claims since the work was last done. Claims that were handed back by
    /// [`Outcome::Yield`] do not count; claims that expired do.
    pub attempts: u32,
    /// The reason why the last attempt failed.
    pub error: Option<String>,
    /// The worker's own state, at most [`MAX_PROGRESS`] bytes; kept until the work is done.
    pub progress: Option<Value>,
    /// The end of the present lease, if the work is claimed.
    pub leased: Option<Timestamp>,
}

impl Work {
    /// Work that was never claimed.
    pub fn new(stage: Stage, key: impl Into<Key>, lane: Lane, due: Timestamp) -> Self {
        Self {
            stage,
            key: key.into(),
            lane,
            due,
            attempts: 0,
            error: None,
            progress: None,
            leased: None,
        }
    }

    chainable! {
        /// Sets the number of attempts.
        attempts: u32;
        /// Sets the reason why the last attempt failed.
        error: into Option<String>;
        /// Sets the worker's own state.
        progress: into Option<Value>;
        /// Sets the end of the present lease.
        leased: into Option<Timestamp>;
    }
}

/// Proof of a claim: unguessable, names its key, worthless after its time. Opaque; as text it is
/// [`Token::encode`]d. `Debug` leaves out the secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// What was claimed.
    pub key: Key,
    /// Made by the backend: ASCII letters, digits, `.` and `-`.
    pub secret: Arc<str>,
}

impl Token {
    /// A token for this key. Backends make the secret.
    pub fn new(key: impl Into<Key>, secret: impl Into<Arc<str>>) -> Self {
        Self {
            key: key.into(),
            secret: secret.into(),
        }
    }

    /// As text that [`Token::decode`] takes: kind, bar, id, bar, secret.
    pub fn encode(&self) -> String {
        format!("{}|{}|{}", self.key.kind(), self.key.id(), self.secret)
    }

    /// From text.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: not a token's form.
    pub fn decode(text: &str) -> Result<Self> {
        let malformed = || {
            Error::bad(
                "token",
                "it is not one that was given out: pass it exactly as it was printed",
            )
        };
        let (kind, rest) = text.split_once('|').ok_or_else(malformed)?;
        let (id, secret) = rest.rsplit_once('|').ok_or_else(malformed)?;
        let kind: Kind = kind.parse().map_err(|_| malformed())?;
        Ok(Self {
            key: Key::new(kind, id).map_err(|_| malformed())?,
            secret: secret.into(),
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.key)
    }
}

/// A worker's request for due work.
///
/// ```
/// use std::time::Duration;
/// use tko_core::{ClaimRequest, Stage};
///
/// let request = ClaimRequest::new(Stage::Prepare, "worker-1")
///     .max(16)
///     .lease(Duration::from_secs(30))
///     .wait(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The stage to claim work of.
    pub stage: Stage,
    /// The name of the worker; shown to people.
    pub worker: String,
    /// Most pieces of work to claim.
    pub max: usize,
    /// The duration of each lease, unless it is renewed.
    pub lease: Duration,
    /// The longest wait while nothing is due; zero returns at once.
    pub wait: Duration,
}

impl ClaimRequest {
    /// A request for one piece of work, leased for one minute, without waiting.
    pub fn new(stage: Stage, worker: impl Into<String>) -> Self {
        Self {
            stage,
            worker: worker.into(),
            max: 1,
            lease: Duration::from_mins(1),
            wait: Duration::ZERO,
        }
    }

    chainable! {
        /// Sets the most pieces of work to claim.
        max: usize;
        /// Sets the duration of each lease.
        lease: Duration;
        /// Sets the longest wait while nothing is due.
        wait: Duration;
    }
}

/// A worker's lease on one piece of due work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The proof of the lease.
    pub token: Token,
    /// The work as claimed; `attempts` includes this claim.
    pub work: Work,
    /// A number that rises with every claim of this stage and key. Systems outside the store can
    /// use it to reject writes of an earlier claim (a fencing token).
    pub fence: u64,
    /// The time at which the lease expires, by the store's clock.
    pub until: Timestamp,
}

impl Claim {
    /// A lease on this work, until this time.
    pub fn new(token: Token, work: Work, fence: u64, until: Timestamp) -> Self {
        Self {
            token,
            work,
            fence,
            until,
        }
    }
}

/// How a claim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Removed; if it was marked since it was claimed, due at once instead, as new.
    Done,
    /// Due again later (at once, if marked since). The attempt counts, and stands with its reason;
    /// progress is kept.
    Retry {
        /// How much later.
        after: Duration,
        /// For people.
        reason: String,
    },
    /// Handed back without blame (shutdown, busy, conflict, a turn used up, nothing to do for now):
    /// due again later (at once, if marked since). The attempt does not count; progress is kept.
    Yield {
        /// How much later.
        after: Duration,
    },
}

/// From 1 second, doubling to 5 minutes; `jitter` in 0..1 takes up to half of it off.
///
/// `attempts` counts from 1.
pub fn backoff(attempts: u32, jitter: f64) -> Duration {
    let full = Duration::from_secs(1 << attempts.saturating_sub(1).min(9)).min(MAX_BACKOFF);
    full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// Longest pause between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_mins(5);
