//! Steps of several leases in one call, each committed independently.

use super::data::table_weight;
use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::commit_steps_request::step::Step;
use crate::status;
use crate::wire::scalar::required;
use crate::wire::step::{unpack_placed, unpack_prepared};
use futures_util::future::join_all;
use std::sync::Arc;
use tko_core::{Error, Limits, PrepareStep, Result, ScheduleStep, Token, WorkerApi};

/// Maximum number of steps in one call.
const MAX_STEPS: usize = 1_000;

/// The weight of the packages of all steps.
pub(super) fn steps_weight(request: &wire::CommitStepsRequest) -> usize {
    let weight = |step: &wire::commit_steps_request::Step| match &step.step {
        Some(Step::Prepared(step)) => table_weight(&step.packages),
        Some(Step::Placed(_)) | None => 0,
    };
    request.steps.iter().map(weight).sum()
}

/// The steps of one call, each decoded or refused.
pub(super) struct DecodedSteps(Vec<Result<DecodedStep>>);

enum DecodedStep {
    Prepared(Box<(Token, PrepareStep)>),
    Placed(Box<(Token, ScheduleStep)>),
}

impl DecodedSteps {
    pub(super) fn new(request: wire::CommitStepsRequest, limits: &Limits) -> Result<Self> {
        if request.steps.len() > MAX_STEPS {
            return Err(Error::bad(
                "steps",
                format!(
                    "there are {} steps; one call commits at most {MAX_STEPS}: send them in parts",
                    request.steps.len()
                ),
            ));
        }
        let steps = request.steps.into_iter();
        Ok(Self(steps.map(|step| decode(step.step, limits)).collect()))
    }
}

fn decode(step: Option<Step>, limits: &Limits) -> Result<DecodedStep> {
    Ok(match required("step", step)? {
        Step::Prepared(request) => {
            DecodedStep::Prepared(Box::new(unpack_prepared(request, limits)?))
        }
        Step::Placed(request) => DecodedStep::Placed(Box::new(unpack_placed(request)?)),
    })
}

/// Commits all steps at the same time. Fails as a whole only if the caller may not commit any.
pub(super) async fn commit_steps(
    api: Arc<dyn WorkerApi>,
    steps: DecodedSteps,
) -> Result<wire::CommitStepsResponse> {
    if steps.0.is_empty() {
        // Even then, only workers may make the call.
        api.settle(&[]).await?;
    }
    let steps = steps.0.into_iter();
    let mut results = join_all(steps.map(|step| commit(&*api, step))).await;
    let is_refused = |result: &Result<u64>| {
        matches!(result, Err(Error::Forbidden(_) | Error::Unauthenticated(_)))
    };
    if !results.is_empty()
        && results.iter().all(is_refused)
        && let Some(Err(refusal)) = results.pop()
    {
        return Err(refusal);
    }
    Ok(wire::CommitStepsResponse {
        results: results.into_iter().map(pack).collect(),
    })
}

async fn commit(api: &dyn WorkerApi, step: Result<DecodedStep>) -> Result<u64> {
    match step? {
        DecodedStep::Prepared(step) => {
            let (token, step) = *step;
            Ok(api.commit_prepared(&token, step).await?.0)
        }
        DecodedStep::Placed(step) => {
            let (token, step) = *step;
            api.commit_placed(&token, step).await.map(|()| 0)
        }
    }
}

fn pack(result: Result<u64>) -> wire::commit_steps_response::Result {
    use wire::commit_steps_response::result::Result as Packed;
    wire::commit_steps_response::Result {
        result: Some(match result {
            Ok(generation) => Packed::Generation(generation),
            Err(error) => {
                status::log(&error);
                Packed::Error(status::pack(&error))
            }
        }),
    }
}
