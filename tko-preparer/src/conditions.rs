//! The conditions that preparation reports.
//!
//! A condition is written only when its message changes. So no message contains counters of
//! attempts, or times: those are in the deployment's due work.

use crate::blocker::Blocker;
use tko_core::{Condition, Generation};
use tko_worker::shortened;

/// The condition that says whether a deployment is prepared.
pub const PREPARED: &str = "Prepared";
/// The condition that says whether a prepared deployment is approved.
pub const APPROVED: &str = "Approved";
/// The condition that says whether a prepared deployment follows what it tracks.
pub const TRACKED: &str = "Tracked";

/// Maximum number of blockers that a message lists.
const MAX_LISTED: usize = 20;
/// Maximum length of the message about one blocker, in bytes.
const MAX_MESSAGE: usize = 4_096;

/// The conditions of a finished deployment.
pub(crate) fn finished(observed: Generation, approved: bool) -> Vec<Condition> {
    let message = "all resources are prepared";
    let prepared = Condition::new(PREPARED, true, "Prepared", message, observed);
    let (reason, message) = if approved {
        ("Automatic", "approved by the preparer")
    } else {
        ("AwaitingApproval", "waiting for approval by a person")
    };
    let approved = Condition::new(APPROVED, approved, reason, message, observed);
    vec![prepared, approved]
}

/// The condition of a prepared deployment that follows what it tracks. `outdated` children were
/// made from another template than its Placements name now.
pub(crate) fn tracked(observed: Generation, outdated: u64) -> Condition {
    let (reason, message) = match outdated {
        0 => ("Tracked", "following what it tracks".to_owned()),
        _ => (
            "Outdated",
            format!(
                "following what it tracks; {outdated} children keep the template that the \
                 Placement named before; delete them to create them from the new one"
            ),
        ),
    };
    Condition::new(TRACKED, true, reason, message, observed)
}

/// The condition of a blocked deployment. `open` has at least one blocker.
pub(crate) fn blocked(kind: &str, open: &[Blocker], observed: Generation) -> Condition {
    let worst = open.iter().max_by_key(|blocker| blocker.severity());
    let reason = worst.map_or("Waiting", Blocker::reason);
    let listed = open.iter().take(MAX_LISTED);
    let mut messages: Vec<String> = listed
        .map(|blocker| {
            let message = blocker.message();
            let message = shortened(&message, MAX_MESSAGE);
            match &blocker.target {
                Some(target) => format!("{target}: {message}"),
                None => message.into_owned(),
            }
        })
        .collect();
    if open.len() > MAX_LISTED {
        messages.push(format!("and {} more", open.len() - MAX_LISTED));
    }
    let next = match reason {
        "Waiting" => "continues automatically",
        _ => "retried with backoff, and at once when the package changes",
    };
    let message = format!("{} ({next})", messages.join("; "));
    Condition::new(kind, false, reason, message, observed)
}

#[cfg(test)]
mod tests {
    use super::{MAX_LISTED, MAX_MESSAGE, PREPARED, blocked};
    use crate::blocker::Blocker;
    use tko_core::{Generation, Gvk, Identifier};

    fn target(name: &str) -> Identifier {
        Identifier::new(Gvk::new("x.example", "v1", "Thing"), name)
    }

    #[test]
    fn the_worst_blocker_gives_the_reason_and_all_are_listed() {
        let open = [
            Blocker::waiting(&target("a"), "site s is not registered".to_owned(), vec![]),
            Blocker::failed(&target("b"), &"prepare|p".into(), "no luck"),
            Blocker::no_preparer(&target("c")),
        ];
        let condition = blocked(PREPARED, &open, Generation(7));
        assert_eq!(condition.reason, "Failed");
        assert_eq!(
            (condition.status, condition.observed),
            (Some(false), Generation(7))
        );
        for words in [
            "Thing a: site s is not registered; ",
            "Thing b: preparer prepare|p failed: no luck; ",
            "Thing c: no preparer for x.example/v1/Thing",
            "retried with backoff",
        ] {
            assert!(condition.message.contains(words), "{}", condition.message);
        }
    }

    #[test]
    fn messages_have_a_maximum_length() {
        let long = "ä".repeat(MAX_MESSAGE);
        let open: Vec<Blocker> = (0..=MAX_LISTED)
            .map(|n| Blocker::waiting(&target(&n.to_string()), long.clone(), vec![]))
            .collect();
        let message = blocked(PREPARED, &open, Generation(1)).message;
        assert!(message.len() < (MAX_MESSAGE + 100) * (MAX_LISTED + 1));
        assert!(message.contains("and 1 more"), "{message}");
    }
}
