//! Conversions of due work, leases and outcomes.

use super::scalar::{
    duration, key, required, required_key, stage, timestamp, unpack_duration, unpack_stage,
    unpack_timestamp,
};
use crate::proto::v1alpha2 as wire;
use serde_json::Value;
use std::time::Duration;
use tko_core::work::MAX_PROGRESS;
use tko_core::{Claim, Enqueue, Error, Lane, Outcome, Result, Token, Work};

pub(crate) fn pack_progress(progress: &Value) -> String {
    progress.to_string()
}

pub(crate) fn unpack_progress(text: &str) -> Result<Value> {
    if text.len() > MAX_PROGRESS {
        return Err(Error::bad(
            "progress",
            format!(
                "the progress has {} bytes; at most {MAX_PROGRESS} are allowed",
                text.len()
            ),
        ));
    }
    serde_json::from_str(text).map_err(|error| Error::bad("progress", error.to_string()))
}

pub(crate) fn pack_work(work: &Work) -> wire::Work {
    wire::Work {
        stage: stage(work.stage).into(),
        key: Some(key(&work.key)),
        lane: work.lane.number().into(),
        due: Some(timestamp(work.due)),
        attempts: work.attempts,
        error: work.error.clone(),
        progress: work.progress.as_ref().map(pack_progress),
        leased: work.leased.map(timestamp),
    }
}

pub(crate) fn unpack_work(work: wire::Work) -> Result<Work> {
    Ok(Work::new(
        unpack_stage(work.stage)?,
        required_key(work.key.as_ref())?,
        unpack_lane(work.lane)?,
        unpack_timestamp(work.due.as_ref())?,
    )
    .attempts(work.attempts)
    .error(work.error)
    .progress(work.progress.as_deref().map(unpack_progress).transpose()?)
    .leased(
        work.leased
            .map(|leased| unpack_timestamp(Some(&leased)))
            .transpose()?,
    ))
}

fn unpack_lane(number: u32) -> Result<Lane> {
    u8::try_from(number)
        .ok()
        .filter(|number| *number < Lane::COUNT)
        .map(Lane::new)
        .ok_or_else(|| {
            Error::bad(
                "lane",
                format!("unknown lane {number}; expected 0 to {}", Lane::COUNT - 1),
            )
        })
}

pub(crate) fn pack_claim(claim: &Claim) -> wire::Claim {
    wire::Claim {
        token: claim.token.encode(),
        work: Some(pack_work(&claim.work)),
        fence: claim.fence,
        until: Some(timestamp(claim.until)),
    }
}

pub(crate) fn unpack_claim(claim: wire::Claim) -> Result<Claim> {
    Ok(Claim::new(
        Token::decode(&claim.token)?,
        unpack_work(required("work", claim.work)?)?,
        claim.fence,
        unpack_timestamp(claim.until.as_ref())?,
    ))
}

pub(crate) fn pack_mark(work: &Enqueue) -> wire::Mark {
    wire::Mark {
        stage: stage(work.stage).into(),
        key: Some(key(&work.key)),
        lane: work.lane.number().into(),
        after: Some(duration(work.after)),
    }
}

pub(crate) fn unpack_mark(mark: &wire::Mark) -> Result<Enqueue> {
    Ok(Enqueue::now(
        unpack_stage(mark.stage)?,
        required_key(mark.key.as_ref())?,
        unpack_lane(mark.lane)?,
    )
    .after(unpack_duration("after", mark.after.as_ref())?))
}

pub(crate) fn pack_outcome(outcome: &Outcome) -> wire::Outcome {
    use wire::outcome::{Done, Outcome as Packed, Retry, Yield};
    let after = |time: &Duration| Some(duration(*time));
    wire::Outcome {
        outcome: Some(match outcome {
            Outcome::Done => Packed::Done(Done {}),
            Outcome::Retry {
                after: time,
                reason,
            } => Packed::Retry(Retry {
                after: after(time),
                reason: reason.clone(),
            }),
            Outcome::Yield { after: time } => Packed::Yield(Yield { after: after(time) }),
        }),
    }
}

pub(crate) fn unpack_outcome(outcome: wire::Outcome) -> Result<Outcome> {
    use wire::outcome::Outcome as Packed;
    Ok(match required("outcome", outcome.outcome)? {
        Packed::Done(_) => Outcome::Done,
        Packed::Retry(retry) => Outcome::Retry {
            after: unpack_duration("after", retry.after.as_ref())?,
            reason: retry.reason,
        },
        Packed::Yield(given) => Outcome::Yield {
            after: unpack_duration("after", given.after.as_ref())?,
        },
    })
}
