//! Batch creation: one response for each request, in order. The next request is read once the
//! client has received the previous response.

use super::data::table_weight;
use super::request_body::CallBytes;
use crate::proto::v1alpha2 as wire;
use crate::status;
use crate::wire::change::unpack_deployment;
use crate::wire::table::Unpacker;
use futures_core::Stream;
use futures_util::stream;
use std::sync::Arc;
use tko_core::{DeploymentId, Error, Limits, MAX_CHANGES, Result, WorkerApi};
use tko_serve::Workshop;
use tonic::{Request, Streaming};

/// A response for each request.
pub(super) fn answers(
    api: Arc<dyn WorkerApi>,
    limits: Limits,
    workshop: Workshop,
    request: Request<Streaming<wire::CreateDeploymentsRequest>>,
) -> impl Stream<Item = Result<wire::CreateDeploymentsResponse>> + Send + 'static {
    let call = request.extensions().get::<CallBytes>().cloned();
    let start = (api, limits, workshop, call, request.into_inner());
    stream::try_unfold(
        start,
        |(api, limits, workshop, call, mut requests)| async move {
            let request = match &call {
                Some(call) => call.drive(&workshop, requests.message()).await,
                None => requests.message().await,
            };
            let request =
                request.map_err(|status| status::to_error(status, "read the next batch"))?;
            let Some(request) = request else {
                return Ok(None);
            };
            let bytes = call.as_ref().map_or(0, CallBytes::bytes);
            let weight = table_weight(&request.packages).max(bytes);
            let answer = answer(&*api, &limits, request);
            let answer = workshop.run(weight, answer).await?;
            Ok(Some((answer, (api, limits, workshop, call, requests))))
        },
    )
}

async fn answer(
    api: &dyn WorkerApi,
    limits: &Limits,
    request: wire::CreateDeploymentsRequest,
) -> Result<wire::CreateDeploymentsResponse> {
    if request.deployments.len() > MAX_CHANGES {
        return Err(Error::bad(
            "deployments",
            format!(
                "one message has {} deployments; send at most {MAX_CHANGES} and use more messages",
                request.deployments.len()
            ),
        ));
    }
    let table = Unpacker::new(&request.packages, limits)?;
    let mut valid = Vec::new();
    let mut refused = Vec::with_capacity(request.deployments.len());
    for new in request.deployments {
        match unpack_deployment(new, &table) {
            Ok(new) => {
                valid.push(new);
                refused.push(None);
            }
            Err(error) => refused.push(Some(error)),
        }
    }
    let mut results = api.create_deployments(valid).await.into_iter();
    let created = refused
        .into_iter()
        .map(|refused| match refused {
            Some(error) => created(Err(error)),
            None => created(results.next().unwrap_or_else(|| {
                Err(Error::internal(
                    "create a deployment of a batch",
                    "the API returned no result",
                ))
            })),
        })
        .collect();
    Ok(wire::CreateDeploymentsResponse { created })
}

fn created(result: Result<DeploymentId>) -> wire::create_deployments_response::Created {
    use wire::create_deployments_response::created::Result as Packed;
    wire::create_deployments_response::Created {
        result: Some(match result {
            Ok(id) => Packed::Id(id.to_string()),
            Err(error) => {
                status::log(&error);
                Packed::Error(status::pack(&error))
            }
        }),
    }
}
