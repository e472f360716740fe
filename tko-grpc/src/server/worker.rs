//! The service `tko.v1alpha2.Controller`: one method for each method of [`tko_core::WorkerApi`].

use super::call::{ServiceContext, stopping};
use super::data::{table_weight, within};
use super::list::first_pages;
use super::steps::{DecodedSteps, commit_steps, steps_weight};
use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::controller_server;
use crate::wire::entity::{pack_record, unpack_want};
use crate::wire::scalar::{required, tokens, unpack_duration, unpack_stage};
use crate::wire::step::{unpack_placed, unpack_prepared, unpack_report};
use crate::wire::table::Packer;
use crate::wire::work::{pack_claim, unpack_mark, unpack_outcome};
use futures_core::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Claim, ClaimRequest, ContentHash, Error, MAX_CHANGES, Outcome, Record, SharedLimits, Token,
    Want, WorkerApi,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

/// Longest name of a worker, in bytes.
const MAX_WORKER: usize = 1_024;

/// Records are added to the answer to a claim until they have this many bytes.
const MAX_RECORDS: usize = 1 << 20;

/// How long a claim continues after its call has ended. A store that claims work answers sooner.
/// One that merely waits for work must not delay the end of the server for longer.
const LAST_CLAIM: Duration = Duration::from_millis(500);

/// Claims, with the entities that were read.
type ClaimedRecords = Vec<(Claim, Option<Record>)>;

/// A claim in flight. If its call ends first, because the worker is gone or the server stops, the
/// claims are handed back. The store may have committed them already, and nobody would work on them
/// until their leases expire.
struct ClaimInFlight {
    api: Arc<dyn WorkerApi>,
    /// `None` if it has ended.
    claim: Option<BoxFuture<'static, tko_core::Result<ClaimedRecords>>>,
}

impl ClaimInFlight {
    fn new(api: Arc<dyn WorkerApi>, request: ClaimRequest, want: Option<Want>) -> Self {
        let claiming = api.clone();
        let claim = async move {
            if let Some(want) = want {
                claiming.claim_records(&request, want).await
            } else {
                let claims = claiming.claim(&request).await?;
                Ok(claims.into_iter().map(|claim| (claim, None)).collect())
            }
        };
        Self {
            api,
            claim: Some(Box::pin(claim)),
        }
    }

    /// Waits for the claims. Nothing is lost if this future is dropped.
    async fn claimed(&mut self) -> tko_core::Result<ClaimedRecords> {
        let claimed = match &mut self.claim {
            Some(claim) => claim.await,
            None => Ok(Vec::new()),
        };
        self.claim = None;
        claimed
    }

    /// Hands back what is still claimed. A task does that, which continues if the caller is dropped.
    fn abandon(&mut self) -> Option<JoinHandle<()>> {
        let claim = self.claim.take()?;
        let runtime = Handle::try_current().ok()?;
        let api = self.api.clone();
        Some(runtime.spawn(async move {
            if let Ok(Ok(claimed)) = tokio::time::timeout(LAST_CLAIM, claim).await {
                hand_back(&*api, claimed).await;
            }
        }))
    }
}

impl Drop for ClaimInFlight {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Makes claimed work due again at once, without counting the attempt.
async fn hand_back(api: &dyn WorkerApi, claimed: ClaimedRecords) {
    if claimed.is_empty() {
        return;
    }
    let after = Duration::ZERO;
    let outcomes: Vec<_> = claimed
        .into_iter()
        .map(|(claim, _)| (claim.token, Outcome::Yield { after }))
        .collect();
    tracing::debug!(
        claims = outcomes.len(),
        "handing back claims that nobody waits for"
    );
    if let Err(error) = api.settle(&outcomes).await {
        tracing::warn!(error = %error.chain(), "failed to hand back claims; their leases will expire");
    }
}

fn unpack_hash(bytes: &[u8]) -> tko_core::Result<ContentHash> {
    let hash = bytes.try_into().map_err(|_| {
        let message = format!("it has {} bytes; a hash has 32", bytes.len());
        Error::bad("key", message)
    });
    hash.map(ContentHash)
}

/// Implements `tko.v1alpha2.Controller`.
pub(super) struct WorkerService(pub(super) Arc<ServiceContext>);

#[tonic::async_trait]
impl controller_server::Controller for WorkerService {
    async fn claim(
        &self,
        request: Request<wire::ClaimRequest>,
    ) -> Result<Response<wire::ClaimResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let settings = &self.0.settings;
                if request.worker.len() > MAX_WORKER {
                    return Err(Error::bad(
                        "worker",
                        format!("the name is longer than {MAX_WORKER} bytes; choose a shorter one"),
                    ));
                }
                let want = request.want.map(|want| unpack_want(Some(want)));
                let request = ClaimRequest::new(unpack_stage(request.stage)?, request.worker)
                    .max(
                        usize::try_from(request.max)
                            .unwrap_or(MAX_CHANGES)
                            .min(MAX_CHANGES),
                    )
                    .lease(unpack_duration("lease", request.lease.as_ref())?)
                    .wait(unpack_duration("wait", request.wait.as_ref())?.min(settings.max_wait));
                within("lease", request.lease, settings.max_lease)?;
                let mut claim = ClaimInFlight::new(api, request, want);
                let claimed = tokio::select! {
                    biased;
                    claimed = claim.claimed() => claimed?,
                    () = self.0.ending.cancelled() => {
                        if let Some(handing_back) = claim.abandon() {
                            // It ends with an error only if it panics.
                            let _ = handing_back.await;
                        }
                        return Err(stopping());
                    }
                };
                let mut answer = wire::ClaimResponse::default();
                let mut table = Packer::default();
                for (claim, record) in &claimed {
                    answer.claims.push(pack_claim(claim));
                    // The worker reads the missing records itself.
                    if let Some(record) = record.as_ref().filter(|_| table.bytes() < MAX_RECORDS) {
                        answer.records.push(pack_record(record, &mut table));
                    }
                }
                answer.packages = table.finish();
                Ok(answer)
            })
            .await
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::LiveResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let tokens = tokens(&request.tokens)?;
                let ttl = unpack_duration("ttl", request.ttl.as_ref())?;
                within("ttl", ttl, self.0.settings.max_lease)?;
                let live = api.renew(&tokens, ttl).await?;
                Ok(wire::LiveResponse { live })
            })
            .await
    }

    async fn settle(
        &self,
        request: Request<wire::SettleRequest>,
    ) -> Result<Response<wire::LiveResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let outcomes = request
                    .settlements
                    .into_iter()
                    .map(|settlement| {
                        let outcome = required("outcome", settlement.outcome)?;
                        Ok((Token::decode(&settlement.token)?, unpack_outcome(outcome)?))
                    })
                    .collect::<tko_core::Result<Vec<_>>>()?;
                let live = api.settle(&outcomes).await?;
                Ok(wire::LiveResponse { live })
            })
            .await
    }

    async fn wake(
        &self,
        request: Request<wire::WakeRequest>,
    ) -> Result<Response<wire::WakeResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let work = request
                    .marks
                    .iter()
                    .map(unpack_mark)
                    .collect::<tko_core::Result<_>>()?;
                api.enqueue(work).await?;
                Ok(wire::WakeResponse {})
            })
            .await
    }

    async fn commit_prepared(
        &self,
        request: Request<wire::CommitPreparedRequest>,
    ) -> Result<Response<wire::CommitPreparedResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(&r.packages),
                |request| unpack_prepared(request, &self.0.settings.limits),
                |api, (token, step)| async move {
                    let generation = api.commit_prepared(&token, step).await?.0;
                    Ok(wire::CommitPreparedResponse { generation })
                },
            )
            .await
    }

    async fn commit_placed(
        &self,
        request: Request<wire::CommitPlacedRequest>,
    ) -> Result<Response<wire::CommitPlacedResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let (token, step) = unpack_placed(request)?;
                api.commit_placed(&token, step).await?;
                Ok(wire::CommitPlacedResponse {})
            })
            .await
    }

    async fn report(
        &self,
        request: Request<wire::ReportRequest>,
    ) -> Result<Response<wire::ReportResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let (key, conditions) = unpack_report(request)?;
                api.report(&key, conditions).await?;
                Ok(wire::ReportResponse {})
            })
            .await
    }

    async fn put_shared(
        &self,
        request: Request<wire::PutSharedRequest>,
    ) -> Result<Response<wire::PutSharedResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let limits = SharedLimits::new()
                    .values(usize::try_from(request.max_values).unwrap_or(usize::MAX))
                    .bytes(request.max_bytes)
                    .age(unpack_duration("max_age", request.max_age.as_ref())?);
                let key = unpack_hash(&request.key)?;
                api.put_shared(key, &request.value, limits).await?;
                Ok(wire::PutSharedResponse {})
            })
            .await
    }

    async fn get_shared(
        &self,
        request: Request<wire::GetSharedRequest>,
    ) -> Result<Response<wire::GetSharedResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let age = unpack_duration("max_age", request.max_age.as_ref())?;
                let value = api.get_shared(unpack_hash(&request.key)?, age).await?;
                Ok(wire::GetSharedResponse {
                    value: value.map(Into::into),
                })
            })
            .await
    }

    async fn commit_steps(
        &self,
        request: Request<wire::CommitStepsRequest>,
    ) -> Result<Response<wire::CommitStepsResponse>, Status> {
        self.0
            .answer_large(
                request,
                steps_weight,
                |request| DecodedSteps::new(request, &self.0.settings.limits),
                commit_steps,
            )
            .await
    }

    async fn list_pages(
        &self,
        request: Request<wire::ListPagesRequest>,
    ) -> Result<Response<wire::ListPagesResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                first_pages(api, &request, self.0.settings.max_message).await
            })
            .await
    }
}

#[cfg(test)]
mod tests;
