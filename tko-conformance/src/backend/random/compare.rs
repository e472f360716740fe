//! Comparison of answers. Versions and secrets differ between the sides, and times by a few
//! seconds.

use crate::explore::ensure;
use std::time::Duration;
use tko_core::{ChangeRecord, Entity, Error, Record, Result, Timestamp, Work};

/// Generated times lie five seconds apart; the calls in between must take less.
const SLACK: Duration = Duration::from_secs(4);

/// The current time of both sides.
#[derive(Clone, Copy)]
pub(super) struct PairTime {
    pub(super) subject: Timestamp,
    pub(super) model: Timestamp,
}

/// Whether two times are equal, relative to the current times.
pub(super) fn times(subject: Timestamp, model: Timestamp, now: PairTime) -> bool {
    let offset = |time: Timestamp, now: Timestamp| time.0.saturating_sub(now.0);
    let apart = offset(subject, now.subject).abs_diff(offset(model, now.model));
    Duration::from_micros(apart) <= SLACK
}

/// Compares two lists item by item.
pub(super) fn lists<T, M>(
    what: &str,
    subject: &[T],
    model: &[M],
    alike: impl Fn(&T, &M) -> Result<(), String>,
) -> Result<(), String> {
    ensure!(
        subject.len() == model.len(),
        "{what}: {} instead of {}",
        subject.len(),
        model.len()
    );
    for (at, (subject, model)) in subject.iter().zip(model).enumerate() {
        alike(subject, model).map_err(|reason| format!("{what}, number {at}: {reason}"))?;
    }
    Ok(())
}

pub(super) fn options(
    subject: Option<&Record>,
    model: Option<&Record>,
    now: PairTime,
) -> Result<(), String> {
    match (subject, model) {
        (None, None) => Ok(()),
        (Some(subject), Some(model)) => records(subject, model, now),
        (Some(subject), None) => Err(format!("{subject:?} instead of nothing")),
        (None, Some(model)) => Err(format!("nothing instead of {model:?}")),
    }
}

pub(super) fn records(subject: &Record, model: &Record, now: PairTime) -> Result<(), String> {
    entities(&subject.entity, &model.entity)?;
    let key = &model.entity.key;
    ensure!(
        subject.package == model.package,
        "{key}: the package {:?} instead of {:?}",
        subject.package,
        model.package
    );
    ensure!(
        subject.revision == model.revision,
        "{key}: the revision {:?} instead of {:?}",
        subject.revision,
        model.revision
    );
    let mut of_subject = subject.work.clone();
    of_subject.sort_by_key(|work| work.stage);
    lists("its work", &of_subject, &model.work, |subject, model| {
        works(subject, model, now)
    })
}

fn entities(subject: &Entity, model: &Entity) -> Result<(), String> {
    let same = subject.key == model.key
        && subject.generation == model.generation
        && subject.deleting == model.deleting
        && subject.inherited == model.inherited
        && subject.given == model.given
        && subject.metadata == model.metadata
        && subject.conditions == model.conditions
        && subject.facts == model.facts
        && subject.body == model.body;
    ensure!(same, "{subject:#?}\ninstead of {model:#?}");
    Ok(())
}

pub(super) fn works(subject: &Work, model: &Work, now: PairTime) -> Result<(), String> {
    let same = subject.stage == model.stage
        && subject.key == model.key
        && subject.lane == model.lane
        && subject.attempts == model.attempts
        && subject.error == model.error
        && subject.progress == model.progress
        && times(subject.due, model.due, now)
        && match (subject.leased, model.leased) {
            (None, None) => true,
            (Some(subject), Some(model)) => times(subject, model, now),
            _ => false,
        };
    ensure!(same, "{subject:#?}\ninstead of {model:#?}");
    Ok(())
}

pub(super) fn changes(subject: &ChangeRecord, model: &ChangeRecord) -> Result<(), String> {
    let told = |c: &ChangeRecord| (c.revision, c.set, c.key.clone(), c.cause.clone());
    ensure!(
        told(subject) == told(model),
        "{:?} instead of {:?}",
        told(subject),
        told(model)
    );
    let sides = [
        ("before", &subject.before, &model.before),
        ("after", &subject.after, &model.after),
    ];
    for (when, subject, model) in sides {
        let alike = match (subject, model) {
            (None, None) => Ok(()),
            (Some(subject), Some(model)) => {
                ensure!(
                    subject.package == model.package,
                    "{when}: the package {:?} instead of {:?}",
                    subject.package,
                    model.package
                );
                entities(&subject.entity, &model.entity)
            }
            _ => Err(format!("{subject:?} instead of {model:?}")),
        };
        alike.map_err(|reason| format!("{when}: {reason}"))?;
    }
    Ok(())
}

/// Checks that the model knows a reason for this error. Any of several failed preconditions may be
/// reported; a conflict names them all.
pub(super) fn refusal(subject: &Error, reasons: &[Error]) -> Result<(), String> {
    let told = |reason: &Error| match (reason, subject) {
        (Error::Conflict(model), Error::Conflict(subject)) => {
            let mut subject = subject.clone();
            subject.sort();
            subject.dedup();
            *model == subject
        }
        (Error::NotFound(model), Error::NotFound(subject)) => model == subject,
        (Error::AlreadyExists(model), Error::AlreadyExists(subject))
        | (Error::Busy(model), Error::Busy(subject))
        | (Error::ClaimExpired(model), Error::ClaimExpired(subject)) => model == subject,
        (model, subject) => model.kind() == subject.kind(),
    };
    let expected = if reasons.is_empty() {
        "being accepted".to_owned()
    } else {
        format!("one of {reasons:?}")
    };
    ensure!(
        reasons.iter().any(told),
        "refused with {subject:?} instead of {expected}"
    );
    Ok(())
}
