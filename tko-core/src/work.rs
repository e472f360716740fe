//! Due work and claims: who works on what, and until when.
//!
//! What is due is a row of its own, found by index, kept over restarts. A worker leases it; a
//! person's *edit* keeps other writers off one entity's package. Both are proven by a [`Token`]
//! and end by themselves. Durations go in and deadlines come out, because only the store's clock
//! counts.

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

/// Makes work due. Merges into work that is there: the earlier time, one more mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueue {
    /// Whose work.
    pub stage: Stage,
    /// On what.
    pub key: Key,
    /// For new work; work that is there keeps its lane.
    pub lane: Lane,
    /// Due this much later.
    pub after: Duration,
}

impl Enqueue {
    /// Due at once.
    pub fn now(stage: Stage, key: impl Into<Key>, lane: Lane) -> Self {
        Self {
            stage,
            key: key.into(),
            lane,
            after: Duration::ZERO,
        }
    }
}

/// One piece of work. Bookkeeping: it makes no revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Whose work.
    pub stage: Stage,
    /// On what.
    pub key: Key,
    /// See [`Lane`].
    pub lane: Lane,
    /// When it is, or was, due.
    pub due: Timestamp,
    /// Claims since it was last done, less those handed back without blame: a worker's death
    /// counts.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// A worker's own, at most [`MAX_PROGRESS`], kept until done.
    pub progress: Option<Value>,
    /// Claimed until then.
    pub leased: Option<Timestamp>,
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

/// Asks for due work.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Which.
    pub stage: Stage,
    /// Who asks; shown to people.
    pub worker: String,
    /// At most this many.
    pub max: usize,
    /// For how long, unless renewed.
    pub lease: Duration,
    /// How long to wait while nothing is due; zero asks once.
    pub wait: Duration,
}

/// A worker's lease on one piece of due work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Proves it.
    pub token: Token,
    /// As claimed; `attempts` counts this one.
    pub work: Work,
    /// Rises with every claim of this stage and key: for fencing what lies outside the store.
    pub fence: u64,
    /// It lapses then.
    pub until: Timestamp,
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
