//! [`WorkerApi`] over `tko.v1alpha2.Controller`.

use super::Client;
use super::call::garbled;
use crate::proto::v1alpha2 as wire;
use crate::wire::scalar::{duration, generation, stage};
use crate::wire::step::{pack_placed, pack_prepared, pack_report};
use crate::wire::work::{pack_mark, pack_outcome, unpack_claim};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Caller, Claim, ClaimRequest, Condition, Enqueue, Generation, Key, Outcome, PrepareStep, Result,
    ScheduleStep, Token, WorkerApi,
};

#[async_trait]
impl WorkerApi for Client {
    fn worker_with_caller(self: Arc<Self>, _: Caller) -> Arc<dyn WorkerApi> {
        self
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let packed = wire::ClaimRequest {
            stage: stage(request.stage).into(),
            worker: request.worker.clone(),
            max: u32::try_from(request.max).unwrap_or(u32::MAX),
            lease: Some(duration(request.lease)),
            wait: Some(duration(request.wait)),
        };
        let time = self.settings.timeout.saturating_add(request.wait);
        let answer = self
            .work(
                "claim work",
                time,
                packed,
                |mut controller, request| async move { controller.claim(request).await },
            )
            .await?;
        answer
            .claims
            .into_iter()
            .map(|claim| unpack_claim(claim).map_err(garbled))
            .collect()
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        let request = wire::RenewRequest {
            tokens: tokens.iter().map(Token::encode).collect(),
            ttl: Some(duration(ttl)),
        };
        let time = self.settings.timeout;
        self.work(
            "renew leases",
            time,
            request,
            |mut controller, request| async move { controller.renew(request).await },
        )
        .await
        .map(|answer| answer.live)
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        let request = wire::SettleRequest {
            settlements: outcomes
                .iter()
                .map(|(token, outcome)| wire::settle_request::Settlement {
                    token: token.encode(),
                    outcome: Some(pack_outcome(outcome)),
                })
                .collect(),
        };
        let time = self.settings.timeout;
        self.work(
            "settle leases",
            time,
            request,
            |mut controller, request| async move { controller.settle(request).await },
        )
        .await
        .map(|answer| answer.live)
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()> {
        let request = wire::WakeRequest {
            marks: work.iter().map(pack_mark).collect(),
        };
        let time = self.settings.timeout;
        self.work(
            "enqueue work",
            time,
            request,
            |mut controller, request| async move { controller.wake(request).await },
        )
        .await
        .map(|_| ())
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        let request = pack_prepared(claim, &step);
        let time = self.settings.timeout;
        self.work(
            "commit a step of preparation",
            time,
            request,
            |mut controller, request| async move { controller.commit_prepared(request).await },
        )
        .await
        .map(|answer| generation(answer.generation))
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        let request = pack_placed(claim, &step);
        // The server commits a large step in chunks.
        let time = self.settings.bulk_timeout;
        self.work(
            "commit a step of scheduling",
            time,
            request,
            |mut controller, request| async move { controller.commit_placed(request).await },
        )
        .await
        .map(|_| ())
    }

    async fn report(&self, key: &Key, conditions: Vec<Condition>) -> Result<()> {
        let request = pack_report(key, &conditions);
        let time = self.settings.timeout;
        self.work(
            "report conditions",
            time,
            request,
            |mut controller, request| async move { controller.report(request).await },
        )
        .await
        .map(|_| ())
    }
}
