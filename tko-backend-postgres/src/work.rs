//! Due work, leases, edits.
//!
//! A piece of work is one row of `work`. Its `at` is when it may be claimed: when it is due, or,
//! while it is leased, when the lease ends; so a lapsed lease is due work, and nothing sweeps.

mod claim;
mod lease;
mod modification;
mod waiting;

use crate::row::broken;
use tko_core::{Result, Stage, Token};
use uuid::Uuid;

pub(crate) use claim::{Turns, claim};
pub(crate) use lease::{renew, settle};
pub(crate) use modification::edit;
pub(crate) use waiting::Waiting;

/// What a token's secret says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    Lease(Uuid),
    Modification(Uuid),
    /// Not given out by this backend.
    Unknown,
}

const LEASE: &str = "lease.";
const EDIT: &str = "edit.";

/// Reads a secret.
pub(crate) fn secret(token: &Token) -> Secret {
    let uuid = |prefix| {
        let text = token.secret.strip_prefix(prefix)?;
        Uuid::try_parse(text).ok()
    };
    match (uuid(LEASE), uuid(EDIT)) {
        (Some(lease), _) => Secret::Lease(lease),
        (_, Some(edit)) => Secret::Modification(edit),
        _ => Secret::Unknown,
    }
}

/// The number of a stage.
pub(crate) fn number(stage: Stage) -> i16 {
    match stage {
        Stage::Prepare => 0,
        Stage::Schedule => 1,
        Stage::Delete => 2,
    }
}

/// The stage of a number, as it was stored.
pub(crate) fn stage_of(stored: i16) -> Result<Stage> {
    Stage::ALL
        .into_iter()
        .find(|stage| number(*stage) == stored)
        .ok_or_else(|| broken(format!("there is no stage {stored}")))
}
