//! Creations in batches: one answer for each request, in order; the next request is read when the
//! answer to the last one is taken.

use super::call::Context;
use crate::proto::v1alpha2 as wire;
use crate::status;
use crate::wire::change::unpack_deployment;
use crate::wire::table::Unpacker;
use futures_core::Stream;
use futures_util::stream;
use std::sync::Arc;
use tko_core::{DeploymentId, Error, MAX_CHANGES, Result};
use tonic::Streaming;

/// An answer for each request.
pub(super) fn answers(
    context: Arc<Context>,
    requests: Streaming<wire::CreateDeploymentsRequest>,
) -> impl Stream<Item = Result<wire::CreateDeploymentsResponse>> + Send + 'static {
    stream::try_unfold((context, requests), |(context, mut requests)| async move {
        let request = requests
            .message()
            .await
            .map_err(|status| status::to_error(status, "read the next batch"))?;
        let Some(request) = request else {
            return Ok(None);
        };
        let answer = answer(&context, request).await?;
        Ok(Some((answer, (context, requests))))
    })
}

async fn answer(
    context: &Context,
    request: wire::CreateDeploymentsRequest,
) -> Result<wire::CreateDeploymentsResponse> {
    if request.deployments.len() > MAX_CHANGES {
        return Err(Error::bad(
            "deployments",
            format!(
                "there are {} in one message; send at most {MAX_CHANGES}, and more messages",
                request.deployments.len()
            ),
        ));
    }
    let table = Unpacker::new(&request.packages, &context.settings.limits)?;
    let mut sound = Vec::new();
    let mut refused = Vec::with_capacity(request.deployments.len());
    for new in request.deployments {
        match unpack_deployment(new, &table) {
            Ok(new) => {
                sound.push(new);
                refused.push(None);
            }
            Err(error) => refused.push(Some(error)),
        }
    }
    let mut results = context.data.create_deployments(sound).await.into_iter();
    let created = refused
        .into_iter()
        .map(|refused| match refused {
            Some(error) => created(Err(error)),
            None => created(results.next().unwrap_or_else(|| {
                Err(Error::internal(
                    "create a deployment of a batch",
                    "there is no result for it",
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
