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
use tko_core::{DeploymentId, Error, Limits, MAX_CHANGES, NewDeployment, Result, WorkerApi};
use tko_serve::HeavyWork;
use tonic::{Request, Streaming};

/// A response for each request.
pub(super) fn answers(
    api: Arc<dyn WorkerApi>,
    limits: Limits,
    heavy_work: HeavyWork,
    request: Request<Streaming<wire::CreateDeploymentsRequest>>,
) -> impl Stream<Item = Result<wire::CreateDeploymentsResponse>> + Send + 'static {
    let call = request.extensions().get::<CallBytes>().cloned();
    let start = (api, limits, heavy_work, call, request.into_inner());
    stream::try_unfold(
        start,
        |(api, limits, heavy_work, call, mut requests)| async move {
            let request = match &call {
                Some(call) => call.drive(&heavy_work, requests.message()).await,
                None => requests.message().await,
            };
            let request =
                request.map_err(|status| status::to_error(status, "read the next batch"))?;
            let Some(request) = request else {
                return Ok(None);
            };
            let bytes = call.as_ref().map_or(0, CallBytes::bytes);
            let weight = table_weight(&request.packages).max(bytes);
            let decoded = heavy_work.run(weight, || DecodedBatch::new(request, &limits));
            let decoded = decoded.await?;
            let answer = decoded.create(&*api).await;
            Ok(Some((answer, (api, limits, heavy_work, call, requests))))
        },
    )
}

/// The deployments of one request.
struct DecodedBatch {
    valid: Vec<NewDeployment>,
    /// For each deployment in order, why it is not among the valid ones.
    refused: Vec<Option<Error>>,
}

impl DecodedBatch {
    fn new(request: wire::CreateDeploymentsRequest, limits: &Limits) -> Result<Self> {
        if request.deployments.len() > MAX_CHANGES {
            return Err(Error::bad(
                "deployments",
                format!(
                    "one message has {} deployments; send at most {MAX_CHANGES} and use more \
                     messages",
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
        Ok(Self { valid, refused })
    }

    /// Creates the valid deployments.
    async fn create(self, api: &dyn WorkerApi) -> wire::CreateDeploymentsResponse {
        let mut results = api.create_deployments(self.valid).await.into_iter();
        let created = self
            .refused
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
        wire::CreateDeploymentsResponse { created }
    }
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
