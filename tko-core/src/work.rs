//! Queued work, and the claims of workers.
//!
//! Work is stored in separate rows, found by index, and survives restarts. A worker holds a *lease*
//! on the work that it claimed; a person holds a *modification* of one package. Both are proven by
//! a [`Token`] and expire by themselves.
//!
//! The life of a lease: [`claim`](crate::Backend::claim) leases due work.
//! [`renew`](crate::Backend::renew) extends the lease. [`settle`](crate::Backend::settle), or a
//! commit with [`ChangeSet::settle`](crate::ChangeSet::settle), ends it with an [`Outcome`]. A lease
//! that is not ended in time expires: its work is due again, and commits under its token fail.
//!
//! Callers pass durations and get deadlines back, because only the store's clock counts.

use crate::builder::chainable;
use crate::error::{Error, Result};
use crate::id::{Key, Kind};
use crate::revision::Timestamp;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of bytes of JSON in the progress of one piece of work.
pub const MAX_PROGRESS: usize = 64 * 1024;

/// A kind of work. Each stage has its own workers, and at most one piece of work for each key.
///
/// The set is closed: backends match it exhaustively, so a new stage is a deliberate change of
/// every backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Preparing deployments.
    Prepare,
    /// Scheduling sites: bringing a site to the state that its deployments require.
    Schedule,
    /// Finishing deletions of entities with more referrers than one change set can clear.
    Delete,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Prepare, Self::Schedule, Self::Delete];
}

/// A waiting line of queued work. Claims rotate over the lanes of a stage, so neither the millions
/// of deployments of one template nor failing work delay the rest.
///
/// ```
/// use tko_core::Lane;
///
/// assert_eq!(Lane::of("nf/upf:v1"), Lane::of("nf/upf:v1"));
/// assert_ne!(Lane::of("nf/upf:v1"), Lane::FAILING);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u8);

impl Lane {
    /// The number of lanes.
    pub const COUNT: u8 = 16;
    /// The lane of work that failed [`Lane::PATIENCE`] times.
    pub const FAILING: Self = Self(Self::COUNT - 1);
    /// The number of attempts after which work moves to [`Lane::FAILING`], or is
    /// [claimed alone](crate::Backend#queued-work).
    pub const PATIENCE: u32 = 3;

    /// The lane with this number; a number from [`Lane::COUNT`] on yields [`Lane::FAILING`].
    pub fn new(number: u8) -> Self {
        Self(number.min(Self::COUNT - 1))
    }

    /// The lane for a text that related work shares, such as a template's id. Never
    /// [`Lane::FAILING`].
    pub fn of(text: &str) -> Self {
        // FNV-1a: equal in every process and version, which std's hashers do not promise.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(u8::try_from(hash % u64::from(Self::COUNT - 1)).unwrap_or(0))
    }

    /// The number of the lane, from 0 and below [`Lane::COUNT`].
    pub fn number(self) -> u8 {
        self.0
    }
}

/// A request to enqueue work on one key.
///
/// Enqueuing merges with work that is already queued for the stage and key. The earlier due time
/// wins, and work that is claimed becomes due again after its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Work {
    /// The stage that does the work.
    pub stage: Stage,
    /// The key to work on.
    pub key: Key,
    /// The lane in which it waits.
    pub lane: Lane,
    /// The time at which the work is, or was, due.
    pub due: Timestamp,
    /// The number of claims since the work was last done. Claims that ended with [`Outcome::Yield`]
    /// do not count; claims that expired do.
    pub attempts: u32,
    /// The reason why the last attempt failed.
    pub error: Option<String>,
    /// The worker's own state, at most [`MAX_PROGRESS`] bytes; kept until the work is done.
    pub progress: Option<Value>,
    /// The end of the current lease, if the work is claimed.
    pub leased: Option<Timestamp>,
}

impl Work {
    /// Whether the work waits at this time: it is not leased, and is due later.
    pub fn waits(&self, now: Timestamp) -> bool {
        !self.is_leased(now) && self.due > now
    }

    /// Whether the work is leased at this time.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.leased.is_some_and(|until| until > now)
    }

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
        /// Sets the end of the current lease.
        leased: into Option<Timestamp>;
    }
}

/// The proof of a lease or modification.
///
/// A token cannot be guessed, and is worthless once its lease or modification has ended. Clients
/// pass it on as the text of [`Token::encode`]. `Debug` omits the secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Token {
    /// The key that was leased or put under modification.
    pub key: Key,
    /// The secret, made by the backend of ASCII letters, digits, `.` and `-`. Its form shows
    /// whether it belongs to a lease or a modification; see [`Backend`](crate::Backend#tokens).
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

    /// The token as text that [`Token::decode`] accepts: kind, `|`, id, `|`, secret.
    pub fn encode(&self) -> String {
        format!("{}|{}|{}", self.key.kind(), self.key.id(), self.secret)
    }

    /// Parses the text that [`Token::encode`] made.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the text does not have that form.
    pub fn decode(text: &str) -> Result<Self> {
        let malformed = || Error::bad("token", "is malformed; pass it exactly as it was printed");
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
#[non_exhaustive]
pub struct ClaimRequest {
    /// The stage to claim work of.
    pub stage: Stage,
    /// The name of the worker; shown to people.
    pub worker: String,
    /// Maximum number of pieces of work to claim.
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
        /// Sets the maximum number of pieces of work to claim.
        max: usize;
        /// Sets the duration of each lease.
        lease: Duration;
        /// Sets the longest wait while nothing is due.
        wait: Duration;
    }
}

/// A worker's lease on one piece of due work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claim {
    /// The proof of the lease.
    pub token: Token,
    /// The work as claimed; `attempts` includes this claim.
    pub work: Work,
    /// A number that increases with every claim of this stage and key. Systems outside the store
    /// can use it to reject writes of an earlier claim (a fencing token).
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

/// The way in which a claim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done and removed. If it was enqueued since it was claimed, new work is queued
    /// instead. That work is due at once, in the lane of the last enqueue, without attempts and
    /// progress.
    Done,
    /// The work failed and is due again later, or at once if it was enqueued since it was claimed.
    /// The attempt counts, and its reason is kept; so is the progress. After
    /// [`Lane::PATIENCE`] attempts the work moves to [`Lane::FAILING`].
    Retry {
        /// The delay until it is due again.
        after: Duration,
        /// The reason of the failure, for people.
        reason: String,
    },
    /// The worker returns the work unfinished, for example at shutdown, or after a conflict. It is
    /// due again later, or at once if it was enqueued since it was claimed. The attempt does not
    /// count; progress is kept.
    Yield {
        /// The delay until it is due again.
        after: Duration,
    },
}

/// The pause before the next attempt: 1 second after the first, doubling up to [`MAX_BACKOFF`].
///
/// `attempts` counts from 1. `jitter` from 0 to 1 shortens the pause by up to half.
///
/// ```
/// use std::time::Duration;
/// use tko_core::work::{MAX_BACKOFF, backoff};
///
/// assert_eq!(backoff(3, 0.0), Duration::from_secs(4));
/// assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
/// assert_eq!(backoff(99, 0.0), MAX_BACKOFF);
/// ```
pub fn backoff(attempts: u32, jitter: f64) -> Duration {
    let full = Duration::from_secs(1 << attempts.saturating_sub(1).min(9)).min(MAX_BACKOFF);
    full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// The longest pause between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_mins(5);
