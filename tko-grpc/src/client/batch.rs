//! Batch creation: a stream of messages of bounded size, each answered in order.

use super::Client;
use super::call::{garbled, limited, next};
use crate::proto::v1alpha2 as wire;
use crate::status;
use crate::wire::change::pack_deployment;
use crate::wire::scalar::required;
use crate::wire::table::Packer;
use futures_util::stream;
use tko_core::{DeploymentId, Error, NewDeployment, Result};

const ACTION: &str = "create deployments";

/// Maximum number of deployments in one message.
const BATCH: usize = 500;

/// A message is sent once its packages have this many bytes; the last one may exceed it.
const BATCH_BYTES: usize = 4 << 20;

impl Client {
    /// Creates the deployments; returns a result for each, in order.
    pub(super) async fn create_batches(&self, new: &[NewDeployment]) -> Vec<Result<DeploymentId>> {
        let batches = batches(new);
        let sizes: Vec<usize> = batches
            .iter()
            .map(|batch| batch.deployments.len())
            .collect();
        let mut results = Vec::with_capacity(new.len());
        if let Err(error) = self.send(batches, &sizes, &mut results).await {
            // The failed batch gets the error; the batches after it were not answered.
            let failed = sizes
                .iter()
                .scan(0, |end, size| {
                    *end += size;
                    Some(*end)
                })
                .find(|end| *end > results.len())
                .unwrap_or(new.len());
            results.resize_with(failed, || Err(copy(&error)));
            results.resize_with(new.len(), || {
                Err(Error::unavailable(
                    "create a deployment: an earlier batch failed",
                    copy(&error),
                ))
            });
        }
        results
    }

    /// Sends batches and collects the results of each.
    async fn send(
        &self,
        batches: Vec<wire::CreateDeploymentsRequest>,
        sizes: &[usize],
        results: &mut Vec<Result<DeploymentId>>,
    ) -> Result<()> {
        let time = self.settings.timeout;
        let mut client = self.data.clone();
        let call = client.create_deployments(stream::iter(batches));
        let mut answers = limited(ACTION, time, async {
            call.await
                .map_err(|status| status::to_error(status, ACTION))
        })
        .await?
        .into_inner();
        for size in sizes {
            let answer = limited(ACTION, time, next(ACTION, &mut answers)).await?;
            let created = answer.map(|answer| answer.created).unwrap_or_default();
            if created.len() != *size {
                return Err(Error::unavailable(
                    ACTION,
                    format!(
                        "the server answered {} of {size} deployments",
                        created.len()
                    ),
                ));
            }
            results.extend(created.into_iter().map(result));
        }
        Ok(())
    }
}

fn result(created: wire::create_deployments_response::Created) -> Result<DeploymentId> {
    use wire::create_deployments_response::created::Result as Packed;
    match required("result", created.result).map_err(garbled)? {
        Packed::Id(id) => id.parse().map_err(garbled),
        Packed::Error(error) => Err(status::unpack(error).map_err(garbled)?),
    }
}

fn batches(new: &[NewDeployment]) -> Vec<wire::CreateDeploymentsRequest> {
    let mut batches = Vec::new();
    let mut left = new.iter().peekable();
    while left.peek().is_some() {
        let mut table = Packer::default();
        let mut deployments = Vec::new();
        for new in left.by_ref() {
            deployments.push(pack_deployment(new, &mut table));
            if deployments.len() == BATCH || table.bytes() >= BATCH_BYTES {
                break;
            }
        }
        batches.push(wire::CreateDeploymentsRequest {
            packages: table.finish(),
            deployments,
        });
    }
    batches
}

/// A copy of an error, without its source.
fn copy(error: &Error) -> Error {
    status::unpack(status::pack(error)).unwrap_or_else(garbled)
}
