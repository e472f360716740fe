//! Due work, leases, and modifications.
//!
//! A piece of work is one row of the table `work`. Its column `at` is the time from which it may be
//! claimed: when it is due, or when its lease ends. So work whose lease expired is due work, and
//! needs no sweep.

mod claim;
mod lease;
mod modification;
mod pace;
mod signal;

pub(crate) use claim::{ClaimTurns, claim};
pub(crate) use lease::{renew, settle};
pub(crate) use modification::start_modification;
pub(crate) use signal::WorkSignal;

/// A filter for all stages: it lets a statement use the primary key of `work`, which begins with
/// the stage.
pub(crate) const ALL_STAGES: &str = "w.stage IN (0, 1, 2)";

/// The end of a statement that enqueues work, into `work AS w`. If the work is already enqueued,
/// the earlier due time wins. Work that is leased runs again.
pub(crate) const MERGED: &str = "ON CONFLICT (stage, kind, id) DO UPDATE SET \
     again = CASE WHEN w.token IS NULL THEN w.again ELSE excluded.again END, \
     due = least(w.due, excluded.due), \
     at = CASE WHEN w.token IS NULL THEN least(w.at, excluded.at) ELSE w.at END";
