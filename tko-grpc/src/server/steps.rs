//! Steps of several leases in one call, each committed independently.

use super::data::table_weight;
use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::commit_steps_request::step::Step;
use crate::status;
use crate::wire::scalar::required;
use crate::wire::step::{unpack_placed, unpack_prepared};
use futures_util::future::join_all;
use std::sync::Arc;
use tko_core::{Error, Limits, Result, WorkerApi};

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

/// Commits all steps at the same time. Fails as a whole only if the caller may not commit any.
pub(super) async fn commit_steps(
    api: Arc<dyn WorkerApi>,
    request: wire::CommitStepsRequest,
    limits: &Limits,
) -> Result<wire::CommitStepsResponse> {
    if request.steps.len() > MAX_STEPS {
        return Err(Error::bad(
            "steps",
            format!(
                "there are {}; at most {MAX_STEPS} are committed by one call: send them in parts",
                request.steps.len()
            ),
        ));
    }
    if request.steps.is_empty() {
        // Even then, only workers may make the call.
        api.settle(&[]).await?;
    }
    let steps = request.steps.into_iter();
    let mut results = join_all(steps.map(|step| commit(&*api, step.step, limits))).await;
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

async fn commit(api: &dyn WorkerApi, step: Option<Step>, limits: &Limits) -> Result<u64> {
    match required("step", step)? {
        Step::Prepared(request) => {
            let (token, step) = unpack_prepared(request, limits)?;
            Ok(api.commit_prepared(&token, step).await?.0)
        }
        Step::Placed(request) => {
            let (token, step) = unpack_placed(request)?;
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
