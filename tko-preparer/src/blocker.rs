//! What keeps a deployment from being prepared, and how that is said to people.

use std::sync::Arc;
use tko_core::{Condition, Generation, Gvk, Identifier, Key, Kind, Subscription};

/// The condition that says whether a deployment is prepared.
pub const PREPARED: &str = "Prepared";
/// The condition that says whether a prepared deployment is approved.
pub const APPROVED: &str = "Approved";
/// The condition that says whether a prepared deployment follows what it tracks.
pub const TRACKED: &str = "Tracked";

/// Most resources that a message names.
const MOST_NAMED: usize = 20;
/// Longest message about one resource, in bytes.
const LONGEST: usize = 4_096;

/// A resource that could not be prepared yet; without one: the package as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Blocker {
    pub(crate) target: Option<Identifier>,
    pub(crate) why: Why,
    pub(crate) waits_for: Vec<Subscription>,
}

#[derive(Clone, Debug)]
pub(crate) enum Why {
    /// Its preparer said "not yet".
    Waits(String),
    /// `prepare: Here`, and there is no preparer.
    NoPreparer,
    /// There is a preparer that cannot run in this process.
    Unable(Arc<str>, Arc<str>),
    /// Its preparer failed.
    Failed(Arc<str>, String),
    /// What its preparer answered, or the finished package, is not valid.
    Invalid(String),
    /// Preparing does not end.
    Endless(String),
}

impl Blocker {
    pub(crate) fn waits(target: &Identifier, reason: String, waits_for: Vec<Subscription>) -> Self {
        Self::of(target, Why::Waits(reason), waits_for)
    }

    pub(crate) fn no_preparer(target: &Identifier) -> Self {
        Self::of(target, Why::NoPreparer, vec![preparer(&target.gvk)])
    }

    pub(crate) fn unable(target: &Identifier, part: &Arc<str>, why: &Arc<str>) -> Self {
        let why = Why::Unable(part.clone(), why.clone());
        Self::of(target, why, vec![preparer(&target.gvk)])
    }

    pub(crate) fn failed(target: &Identifier, part: &Arc<str>, message: String) -> Self {
        // A plugin that is replaced is tried at once.
        let why = Why::Failed(part.clone(), message);
        Self::of(target, why, vec![preparer(&target.gvk)])
    }

    pub(crate) fn invalid(target: Option<&Identifier>, message: String) -> Self {
        Self {
            target: target.cloned(),
            why: Why::Invalid(message),
            waits_for: Vec::new(),
        }
    }

    pub(crate) fn endless(message: String) -> Self {
        Self {
            target: None,
            why: Why::Endless(message),
            waits_for: Vec::new(),
        }
    }

    fn of(target: &Identifier, why: Why, waits_for: Vec<Subscription>) -> Self {
        Self {
            target: Some(target.clone()),
            why,
            waits_for,
        }
    }

    /// Whether it is to be looked at again once its interests are known: it may have come
    /// meanwhile.
    pub(crate) fn may_have_come(&self) -> bool {
        matches!(self.why, Why::Waits(_) | Why::NoPreparer | Why::Unable(..))
            && !self.waits_for.is_empty()
    }

    /// Whether a change that ends this wait is noticed by itself, in a deployment of this key.
    pub(crate) fn is_woken(&self, own: &Key) -> bool {
        let noticed = |kind| matches!(kind, Kind::Site | Kind::Template);
        matches!(self.why, Why::Waits(_) | Why::NoPreparer)
            && self.waits_for.iter().any(|interest| match interest {
                Subscription::Preparer(_) => true,
                Subscription::Entity(key) => key == own || noticed(key.kind()),
                Subscription::Selection { kind, .. } => noticed(*kind),
            })
    }

    fn reason(&self) -> &'static str {
        match self.why {
            Why::Waits(_) => "Waiting",
            Why::NoPreparer => "NoPreparer",
            Why::Unable(..) | Why::Failed(..) => "Failed",
            Why::Invalid(_) => "Invalid",
            Why::Endless(_) => "Endless",
        }
    }

    fn weight(&self) -> u8 {
        match self.why {
            Why::Waits(_) => 0,
            Why::NoPreparer => 1,
            Why::Unable(..) | Why::Failed(..) => 2,
            Why::Invalid(_) => 3,
            Why::Endless(_) => 4,
        }
    }

    fn words(&self) -> String {
        let said = match &self.why {
            Why::Waits(reason) | Why::Invalid(reason) | Why::Endless(reason) => reason.clone(),
            Why::NoPreparer => format!(
                "it says nephio.org/prepare: Here, but nothing prepares {}; register a plugin for \
                 it, or take the annotation away",
                self.target
                    .as_ref()
                    .map_or_else(String::new, |target| target.gvk.to_string())
            ),
            Why::Unable(part, why) => format!("preparer {part} cannot run here: {why}"),
            Why::Failed(part, message) => format!("preparer {part} failed: {message}"),
        };
        let said = shortened(&said);
        match &self.target {
            Some(target) => format!("{target}: {said}"),
            None => said,
        }
    }
}

fn preparer(gvk: &Gvk) -> Subscription {
    Subscription::Preparer(gvk.clone())
}

/// The condition of a deployment that is held up by these; there must be one.
pub(crate) fn held_up(kind: &str, open: &[Blocker], observed: Generation) -> Condition {
    let worst = open.iter().max_by_key(|open| open.weight());
    let reason = worst.map_or("Waiting", Blocker::reason);
    let mut message = open
        .iter()
        .take(MOST_NAMED)
        .map(Blocker::words)
        .collect::<Vec<_>>()
        .join("; ");
    if open.len() > MOST_NAMED {
        message.push_str("; and ");
        message.push_str(&(open.len() - MOST_NAMED).to_string());
        message.push_str(" more");
    }
    message.push_str(match reason {
        "Waiting" => " (goes on by itself once that is there)",
        _ => " (tried again by itself, later each time, and at once when the package changes)",
    });
    Condition::new(kind, false, reason, message, observed)
}

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}… ({} bytes in all)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::{Blocker, LONGEST, MOST_NAMED, PREPARED, held_up};
    use tko_core::{Generation, Gvk, Identifier};

    fn target(name: &str) -> Identifier {
        Identifier::new(Gvk::new("x.example", "v1", "Thing"), name)
    }

    #[test]
    fn the_worst_gives_the_reason_and_all_are_named() {
        let open = [
            Blocker::waits(&target("a"), "site s is not registered".to_owned(), vec![]),
            Blocker::failed(&target("b"), &"prepare|p".into(), "no luck".to_owned()),
            Blocker::no_preparer(&target("c")),
        ];
        let condition = held_up(PREPARED, &open, Generation(7));
        assert_eq!(condition.reason, "Failed");
        assert_eq!(
            (condition.status, condition.observed),
            (Some(false), Generation(7))
        );
        for words in [
            "Thing a: site s is not registered; ",
            "Thing b: preparer prepare|p failed: no luck; ",
            "nothing prepares x.example/v1/Thing",
            "tried again",
        ] {
            assert!(condition.message.contains(words), "{}", condition.message);
        }
    }

    #[test]
    fn messages_are_bounded() {
        let long = "ä".repeat(LONGEST);
        let open: Vec<Blocker> = (0..=MOST_NAMED)
            .map(|n| Blocker::waits(&target(&n.to_string()), long.clone(), vec![]))
            .collect();
        let message = held_up(PREPARED, &open, Generation(1)).message;
        assert!(message.len() < (LONGEST + 100) * (MOST_NAMED + 1));
        assert!(message.contains("and 1 more"), "{message}");
    }
}
