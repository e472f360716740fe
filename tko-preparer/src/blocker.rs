//! Reasons why a deployment cannot be prepared yet.

use std::sync::Arc;
use tko_core::registry::Handler;
use tko_core::{Gvk, Identifier, Key, Kind, Preparer, Subscription};

/// A reason why a resource, or the package as a whole, cannot be prepared yet.
#[derive(Clone, Debug)]
pub(crate) struct Blocker {
    /// The resource; `None` if it is the package as a whole.
    pub(crate) target: Option<Identifier>,
    /// Events that may resolve the blocker.
    pub(crate) waits_for: Vec<Subscription>,
    cause: BlockCause,
}

#[derive(Clone, Debug)]
enum BlockCause {
    /// Its preparer answered "not yet".
    Waiting(String),
    /// The resource says `prepare: Here` or belongs to the topology group, but there is no
    /// preparer.
    NoPreparer,
    /// Its preparer cannot run in this process.
    Unable(String),
    /// Its preparer failed.
    Failed(String),
    /// The answer of its preparer, or the finished package, is not valid.
    Invalid(String),
    /// Its preparation does not end.
    Endless(String),
}

impl Blocker {
    /// Its preparer waits for something.
    pub(crate) fn waiting(
        target: &Identifier,
        reason: String,
        waits_for: Vec<Subscription>,
    ) -> Self {
        let reason = if reason.is_empty() {
            "waiting; its preparer gave no reason".to_owned()
        } else {
            reason
        };
        Self::of(target, BlockCause::Waiting(reason), waits_for)
    }

    /// There is no preparer for its kind.
    pub(crate) fn no_preparer(target: &Identifier) -> Self {
        Self::of(target, BlockCause::NoPreparer, vec![plugin(&target.gvk)])
    }

    /// Its preparer cannot run in this process.
    pub(crate) fn unable(target: &Identifier, name: &Arc<str>, why: &Arc<str>) -> Self {
        let cause = BlockCause::Unable(format!("preparer {name} cannot run here: {why}"));
        Self::of(target, cause, vec![plugin(&target.gvk)])
    }

    /// Its preparer failed. It is retried at once when the plugin is replaced.
    pub(crate) fn failed(target: &Identifier, name: &Arc<str>, message: &str) -> Self {
        let cause = BlockCause::Failed(format!("preparer {name} failed: {message}"));
        Self::of(target, cause, vec![plugin(&target.gvk)])
    }

    /// The package, or the answer for the target, is not valid.
    pub(crate) fn invalid(target: Option<&Identifier>, message: String) -> Self {
        Self {
            target: target.cloned(),
            waits_for: Vec::new(),
            cause: BlockCause::Invalid(message),
        }
    }

    /// The result of these preparers was refused.
    pub(crate) fn refused(
        target: &Identifier,
        preparers: &[Handler<dyn Preparer>],
        violations: &str,
    ) -> Self {
        let names: Vec<&str> = preparers.iter().map(|entry| &*entry.name).collect();
        let message = format!(
            "the result of preparer {} is not valid: {violations}",
            names.join(", ")
        );
        Self::invalid(Some(target), message)
    }

    /// The subscriptions of the deployment were refused, so no event resolves its other blockers.
    pub(crate) fn unsubscribed(refusal: &str) -> Self {
        let message = format!("cannot subscribe to everything that it waits for: {refusal}");
        Self::invalid(None, message)
    }

    /// The blocker of a package that always has something new to prepare.
    pub(crate) fn endless(rounds: usize, calls: usize) -> Self {
        let message = format!(
            "preparation does not end: resources are still pending after {rounds} rounds and \
             {calls} calls; look for preparers that undo each other's work, that never mark their \
             resource prepared, or that keep adding resources"
        );
        Self {
            target: None,
            waits_for: Vec::new(),
            cause: BlockCause::Endless(message),
        }
    }

    fn of(target: &Identifier, cause: BlockCause, waits_for: Vec<Subscription>) -> Self {
        Self {
            target: Some(target.clone()),
            waits_for,
            cause,
        }
    }

    /// Whether it may have been resolved before its subscriptions were registered.
    pub(crate) fn may_be_resolved(&self) -> bool {
        use BlockCause::{NoPreparer, Unable, Waiting};
        matches!(self.cause, Waiting(_) | NoPreparer | Unable(_)) && !self.waits_for.is_empty()
    }

    /// Whether an event announces its end, in a deployment of this key.
    pub(crate) fn has_event(&self, own: &Key) -> bool {
        let followed = |kind| matches!(kind, Kind::Site | Kind::Template);
        matches!(self.cause, BlockCause::Waiting(_) | BlockCause::NoPreparer)
            && self
                .waits_for
                .iter()
                .any(|subscription| match subscription {
                    Subscription::Preparer(_) => true,
                    Subscription::Entity(key) => key == own || followed(key.kind()),
                    Subscription::Selection { kind, .. } => followed(*kind),
                })
    }

    /// Whether its preparer cannot run in this process.
    pub(crate) fn is_unable(&self) -> bool {
        matches!(self.cause, BlockCause::Unable(_))
    }

    /// Whether its preparation does not end.
    pub(crate) fn is_endless(&self) -> bool {
        matches!(self.cause, BlockCause::Endless(_))
    }

    /// The reason of a condition.
    pub(crate) fn reason(&self) -> &'static str {
        match self.cause {
            BlockCause::Waiting(_) => "Waiting",
            BlockCause::NoPreparer => "NoPreparer",
            BlockCause::Unable(_) | BlockCause::Failed(_) => "Failed",
            BlockCause::Invalid(_) => "Invalid",
            BlockCause::Endless(_) => "Endless",
        }
    }

    /// Rank among the blockers of a deployment; the highest determines the reason.
    pub(crate) fn severity(&self) -> u8 {
        match self.cause {
            BlockCause::Waiting(_) => 0,
            BlockCause::NoPreparer => 1,
            BlockCause::Unable(_) | BlockCause::Failed(_) => 2,
            BlockCause::Invalid(_) => 3,
            BlockCause::Endless(_) => 4,
        }
    }

    /// The message of a condition.
    pub(crate) fn message(&self) -> String {
        match (&self.cause, &self.target) {
            (BlockCause::NoPreparer, Some(target)) => format!(
                "no preparer for {}; register a plugin for it, or annotate it with \
                 nephio.org/prepare: Never",
                target.gvk
            ),
            (BlockCause::NoPreparer, None) => "no preparer".to_owned(),
            (
                BlockCause::Waiting(message)
                | BlockCause::Unable(message)
                | BlockCause::Failed(message)
                | BlockCause::Invalid(message)
                | BlockCause::Endless(message),
                _,
            ) => message.clone(),
        }
    }
}

/// The event that a plugin for this kind was registered or replaced.
fn plugin(gvk: &Gvk) -> Subscription {
    Subscription::Preparer(gvk.clone())
}
