//! How a claim ends, given the result of its handler.

use crate::guard::panic_message;
use std::any::Any;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;
use tko_core::error::Subject;
use tko_core::work::backoff;
use tko_core::{Claim, Error, Key, Outcome, Result};

/// Longest pause while an entity is busy. A modification that is cancelled or expires enqueues no
/// work.
const MAX_BUSY_PAUSE: Duration = Duration::from_secs(15);

/// The outcome to settle the claim with; `None` if there is nothing left to settle.
pub(crate) fn outcome_of(
    claim: &Claim,
    handled: Result<Result<Option<Outcome>>, Box<dyn Any + Send>>,
) -> Option<Outcome> {
    let key = &claim.work.key;
    let error = match handled {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(error)) => error,
        Err(panic) => {
            let message = panic_message(&*panic);
            tracing::error!(%key, panic = message, "a handler panicked; retrying");
            return Some(retry(
                claim,
                format!("the controller panicked, which is a bug: {message}"),
            ));
        }
    };
    match error {
        Error::ClaimExpired(_) | Error::NotFound(Subject::Claim(_)) => {
            tracing::debug!(%key, "the lease expired during the work; its result is dropped");
            None
        }
        Error::NotFound(Subject::Entity(gone)) if gone == *key => Some(Outcome::Done),
        Error::Busy(busy) => {
            tracing::debug!(%key, %busy, "an entity is being modified or deleted; retrying");
            Some(busy_outcome(claim, &busy))
        }
        // A conflict counts as well. If it was a race, the next attempt succeeds within a second;
        // otherwise its cause is shown, and retried less and less often.
        error => {
            let reason = error.chain();
            let attempt = claim.work.attempts;
            tracing::warn!(%key, attempt, error = reason, "work failed; retrying");
            Some(retry(claim, reason))
        }
    }
}

fn retry(claim: &Claim, reason: String) -> Outcome {
    Outcome::Retry {
        after: claim_backoff(claim),
        reason,
    }
}

/// The outcome of work that someone else's modification or deletion of an entity prevents.
///
/// It is retried with backoff, at most 15 s apart. The reason names the entity, and stays the same
/// for all attempts.
pub fn busy_outcome(claim: &Claim, busy: &Key) -> Outcome {
    let longest = MAX_BUSY_PAUSE.mul_f64(1.0 - claim_jitter(claim) / 2.0);
    let seconds = MAX_BUSY_PAUSE.as_secs();
    Outcome::Retry {
        after: claim_backoff(claim).min(longest),
        reason: format!(
            "{busy} is being modified or deleted by someone else; continues within {seconds} \
             seconds after that ends"
        ),
    }
}

/// Pause before the next attempt at this work: 1 s doubling to 5 min, with jitter.
pub fn claim_backoff(claim: &Claim) -> Duration {
    backoff(claim.work.attempts, claim_jitter(claim))
}

/// Jitter from 0 up to, but not including, 1: the same for the same key and attempt, so that runs
/// can be replayed.
pub fn claim_jitter(claim: &Claim) -> f64 {
    let mut hasher = DefaultHasher::new();
    (claim.work.key.id(), claim.work.attempts).hash(&mut hasher);
    let bits = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::outcome_of;
    use std::time::Duration;
    use tko_core::error::Subject;
    use tko_core::{Claim, Error, Key, Kind, Lane, Outcome, Stage, Timestamp, Token, Work};

    fn key(id: &str) -> Key {
        Key::new(Kind::Site, id).expect("a valid id")
    }

    fn claim(attempts: u32) -> Claim {
        Claim::new(
            Token::new(key("own"), "x"),
            Work::new(
                Stage::Schedule,
                key("own"),
                Lane::of("own"),
                Timestamp::default(),
            )
            .attempts(attempts),
            1,
            Timestamp::default(),
        )
    }

    fn after(error: Error) -> Option<Outcome> {
        outcome_of(&claim(4), Ok(Err(error)))
    }

    #[test]
    fn the_result_of_the_handler_is_settled_as_it_is() {
        let outcome = Some(Outcome::Done);
        assert_eq!(outcome_of(&claim(1), Ok(Ok(outcome.clone()))), outcome);
        assert_eq!(outcome_of(&claim(1), Ok(Ok(None))), None);
    }

    #[test]
    fn a_lost_claim_is_not_settled() {
        assert_eq!(after(Error::ClaimExpired(key("own"))), None);
        assert_eq!(after(Error::NotFound(Subject::Claim(key("own")))), None);
    }

    #[test]
    fn the_work_of_a_deleted_entity_is_done() {
        assert_eq!(after(Error::not_found(key("own"))), Some(Outcome::Done));
    }

    #[test]
    fn conflicts_are_retried_soon_at_first_and_with_backoff_and_a_reason() {
        let errors = || {
            [
                Error::Conflict(vec![key("own")]),
                Error::AlreadyExists(key("other")),
                Error::not_found(key("other")),
            ]
        };
        for (attempts, longest) in [(1, 1), (4, 8), (60, 300)] {
            for error in errors() {
                let text = error.to_string();
                let outcome = outcome_of(&claim(attempts), Ok(Err(error)));
                let Some(Outcome::Retry { after, reason }) = outcome else {
                    panic!("{text}: {outcome:?} is not a retry");
                };
                assert_eq!(reason, text);
                let longest = Duration::from_secs(longest);
                assert!(
                    after >= longest / 2 && after <= longest,
                    "{text}: {after:?}"
                );
            }
        }
    }

    #[test]
    fn a_busy_entity_is_named_and_tried_again_after_at_most_15_seconds() {
        for (attempts, longest) in [(1, 1), (4, 8), (60, 15)] {
            let error = Error::Busy(key("other"));
            let outcome = outcome_of(&claim(attempts), Ok(Err(error)));
            let Some(Outcome::Retry { after, reason }) = outcome else {
                panic!("{outcome:?} is not a retry");
            };
            assert!(
                reason.starts_with("site other is being modified"),
                "{reason}"
            );
            let longest = Duration::from_secs(longest);
            assert!(after >= longest / 2 && after <= longest, "{after:?}");
        }
    }

    #[test]
    fn other_errors_and_panics_are_retried_with_backoff_and_a_reason() {
        let error = Error::unavailable("read the site", "connection refused");
        let failed = after(error);
        let panicked = outcome_of(&claim(4), Err(Box::new("index out of bounds")));
        for (outcome, words) in [
            (failed, "could not read the site: connection refused"),
            (panicked, "which is a bug: index out of bounds"),
        ] {
            let Some(Outcome::Retry { after, reason }) = outcome else {
                panic!("{outcome:?} is not a retry");
            };
            assert!(reason.ends_with(words), "{reason}");
            // The fourth attempt: 8 s, less up to half.
            let range = Duration::from_secs(4)..=Duration::from_secs(8);
            assert!(range.contains(&after), "{after:?}");
        }
    }
}
