//! The result of a sync, and the conditions that report it.

use std::fmt::Write;
use tko_core::{Condition, Error, Generation};

/// The kind of the condition that says whether the last sync reached its source and was completed.
pub const SYNCED: &str = "Synced";
/// The kind of the condition that says whether everything in the source is registered.
pub const COMPLETE: &str = "Complete";
/// The reason of a [`SYNCED`] condition: too many sites vanished at once, or would lose metadata.
pub const MASS_DISAPPEARANCE: &str = "MassDisappearance";

/// Maximum number of problems that a condition lists.
const MAX_LISTED: usize = 20;
/// Longest text of one problem in a condition, in characters.
const MAX_TEXT: usize = 500;

/// One part of a source that could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncProblem {
    /// The package, site or file.
    pub item: String,
    /// The reason: what is wrong, and what to do.
    pub why: String,
}

impl SyncProblem {
    /// A problem of this part of the source.
    pub fn new(item: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            item: item.into(),
            why: why.into(),
        }
    }

    /// An error about this part of the source.
    pub(crate) fn of(item: impl Into<String>, error: &Error) -> Self {
        Self::new(item, error.chain().clone())
    }
}

/// The result of one sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReport {
    /// The revision of the source, such as a commit, or the digest of its content; empty if it has
    /// none.
    pub revision: String,
    /// How many templates or sites of the source are registered.
    pub total: usize,
    /// How many were registered for the first time.
    pub created: usize,
    /// How many were registered again, or marked.
    pub changed: usize,
    /// How many were marked as gone.
    pub gone: usize,
    /// How many were removed.
    pub removed: usize,
    /// The packages that could not be registered.
    pub problems: Vec<SyncProblem>,
    /// The disappearance that stopped the sync, if one did.
    pub stopped: Option<MassDisappearance>,
    /// Whether a person accepted a disappearance, and there is another one now, or none.
    pub(crate) acceptance_ended: bool,
}

/// A disappearance of sites, or of their metadata, that a person must confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MassDisappearance {
    /// How many sites vanished or would lose metadata, without those whose disappearance a person
    /// accepted before.
    pub vanished: usize,
    /// Number of sites before the sync, not counting accepted disappearances.
    pub of: usize,
    /// A metadata key that some of them would lose; `None` if all of them vanished.
    pub lost_key: Option<String>,
    /// The digest of these sites, which an acceptance names.
    pub digest: String,
}

impl SyncReport {
    /// The number of writes.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.created + self.changed + self.gone + self.removed
    }

    /// The conditions of the entity `name` after this sync. Equal reports have equal conditions.
    pub(crate) fn conditions(&self, noun: &str, name: &str, at: Generation) -> Vec<Condition> {
        let synced = if let Some(stop) = &self.stopped {
            let what = match &stop.lost_key {
                Some(key) => format!("vanished, or would lose metadata such as {key:?},"),
                None => "vanished".to_owned(),
            };
            let message = format!(
                "{} of {} sites {what} at once, which is more than the limit; nothing was changed. \
                 Check the inventory; if this is intended, run tko inventory sync {name} --accept \
                 (disappearance {})",
                stop.vanished, stop.of, stop.digest
            );
            Condition::new(SYNCED, false, MASS_DISAPPEARANCE, message, at)
        } else {
            let mut message = format!("{} {noun}", self.total);
            if !self.revision.is_empty() {
                let _ = write!(message, " at {}", self.revision);
            }
            Condition::new(SYNCED, true, "Synced", message, at)
        };
        vec![synced, self.complete(at)]
    }

    fn complete(&self, at: Generation) -> Condition {
        if self.problems.is_empty() {
            return Condition::new(COMPLETE, true, "Complete", "everything is registered", at);
        }
        let mut problems: Vec<&SyncProblem> = self.problems.iter().collect();
        problems.sort();
        let mut message = match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        for problem in problems.iter().take(MAX_LISTED) {
            let why = match problem.why.char_indices().nth(MAX_TEXT) {
                Some((end, _)) => format!("{}…", &problem.why[..end]),
                None => problem.why.clone(),
            };
            let _ = write!(message, "; {}: {why}", problem.item);
        }
        if problems.len() > MAX_LISTED {
            let _ = write!(message, "; and {} more", problems.len() - MAX_LISTED);
        }
        Condition::new(COMPLETE, false, "Problems", message, at)
    }
}

/// The condition of an entity whose sync failed.
pub(crate) fn failure(error: &Error, at: Generation) -> Condition {
    let reason = match error {
        Error::Unavailable { .. } => "Unavailable",
        Error::Unauthenticated(_) => "Unauthenticated",
        Error::Forbidden(_) => "Forbidden",
        Error::BadArgument { .. } => "Invalid",
        Error::NotImplemented(_) => "NotImplemented",
        _ => "Failed",
    };
    let message = format!("{}; registered entities stay", error.chain());
    Condition::new(SYNCED, false, reason, message, at)
}
