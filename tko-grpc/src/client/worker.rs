//! [`WorkerApi`] over `tko.v1alpha2.Controller`.

use super::Client;
use super::call::garbled;
use crate::proto::v1alpha2 as wire;
use crate::proto::v1alpha2::commit_steps_request::step::Step;
use crate::wire::entity::{pack_want, unpack_record};
use crate::wire::scalar::{duration, generation, key, stage, unpack_key};
use crate::wire::select::pack_select;
use crate::wire::step::{pack_placed, pack_prepared, pack_report};
use crate::wire::table::Unpacker;
use crate::wire::work::{pack_mark, pack_outcome, unpack_claim};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Caller, Claim, ClaimRequest, Condition, ContentHash, Cursor, DataApi, Enqueue, Error,
    Generation, Key, List, Outcome, Page, PrepareStep, Record, Result, Revision, ScheduleStep,
    SharedLimits, Token, Want, WorkerApi,
};

fn pack_list(list: &List) -> wire::ListRequest {
    wire::ListRequest {
        select: Some(pack_select(&list.select)),
        after: list.after.as_ref().map(|cursor| key(&cursor.0)),
        limit: u64::try_from(list.limit).unwrap_or(u64::MAX),
        want: Some(pack_want(list.want)),
        one_page: true,
    }
}

fn unpack_page(page: wire::list_pages_response::Page, table: &Unpacker) -> Result<Page> {
    let records = page.records.into_iter();
    let items = records.map(|record| unpack_record(record, table));
    let page_of = Page::new(Revision(page.revision), items.collect::<Result<_>>()?);
    let next = page.next.as_ref().map(unpack_key).transpose()?;
    Ok(page_of.next(next.map(Cursor)))
}

impl Client {
    async fn claim_work(
        &self,
        request: &ClaimRequest,
        want: Option<Want>,
    ) -> Result<wire::ClaimResponse> {
        let packed = wire::ClaimRequest {
            stage: stage(request.stage).into(),
            worker: request.worker.clone(),
            max: u32::try_from(request.max).unwrap_or(u32::MAX),
            lease: Some(duration(request.lease)),
            wait: Some(duration(request.wait)),
            want: want.map(pack_want),
        };
        let time = self.settings.timeout.saturating_add(request.wait);
        self.work(
            "claim work",
            time,
            packed,
            |mut controller, request| async move { controller.claim(request).await },
        )
        .await
    }
}

#[async_trait]
impl WorkerApi for Client {
    fn worker_with_caller(self: Arc<Self>, _: Caller) -> Arc<dyn WorkerApi> {
        self
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        let answer = self.claim_work(request, None).await?;
        let claims = answer.claims.into_iter();
        claims
            .map(|claim| unpack_claim(claim).map_err(garbled))
            .collect()
    }

    async fn claim_records(
        &self,
        request: &ClaimRequest,
        want: Want,
    ) -> Result<Vec<(Claim, Option<Record>)>> {
        let answer = self.claim_work(request, Some(want)).await?;
        let table = self.table(&answer.packages)?;
        let mut records: HashMap<Key, Record> = HashMap::new();
        for record in answer.records {
            let record = unpack_record(record, &table).map_err(garbled)?;
            records.insert(record.entity.key.clone(), record);
        }
        let claims = answer.claims.into_iter();
        claims
            .map(|claim| {
                let claim = unpack_claim(claim).map_err(garbled)?;
                let record = records.remove(&claim.work.key);
                Ok((claim, record))
            })
            .collect()
    }

    async fn list_all(&self, lists: &[List]) -> Result<Vec<Page>> {
        let mut pages = Vec::with_capacity(lists.len());
        while pages.len() < lists.len() {
            let left = &lists[pages.len()..];
            let request = wire::ListPagesRequest {
                lists: left.iter().map(pack_list).collect(),
            };
            let time = self.settings.timeout;
            let answer = self
                .work(
                    "list entities",
                    time,
                    request,
                    |mut controller, request| async move { controller.list_pages(request).await },
                )
                .await;
            let answer = match answer {
                Ok(answer) if !answer.pages.is_empty() && answer.pages.len() <= left.len() => {
                    answer
                }
                Err(error) if !matches!(error, Error::NotImplemented(_)) => return Err(error),
                // A server that does not know the call, or has no room for the next page.
                _ => {
                    pages.push(self.list(&left[0]).await?);
                    continue;
                }
            };
            let table = self.table(&answer.packages)?;
            for page in answer.pages {
                pages.push(unpack_page(page, &table).map_err(garbled)?);
            }
        }
        Ok(pages)
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
        let step = Step::Prepared(pack_prepared(claim, &step));
        self.commit_step(step).await.map(generation)
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        let step = Step::Placed(pack_placed(claim, &step));
        self.commit_step(step).await.map(|_| ())
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

    /// Shares nothing if the server does not know the call.
    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        let request = wire::PutSharedRequest {
            key: key.0.to_vec().into(),
            value: value.to_vec().into(),
            max_values: u64::try_from(limits.values).unwrap_or(u64::MAX),
            max_bytes: limits.bytes,
            max_age: Some(duration(limits.age)),
        };
        let time = self.settings.timeout;
        let shared = self
            .work(
                "share a value",
                time,
                request,
                |mut controller, request| async move { controller.put_shared(request).await },
            )
            .await;
        match shared {
            Ok(_) | Err(Error::NotImplemented(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Finds nothing if the server does not know the call.
    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        let request = wire::GetSharedRequest {
            key: key.0.to_vec().into(),
            max_age: Some(duration(age)),
        };
        let time = self.settings.timeout;
        let found = self
            .work(
                "read a shared value",
                time,
                request,
                |mut controller, request| async move { controller.get_shared(request).await },
            )
            .await;
        match found {
            Ok(answer) => Ok(answer.value.map(Into::into)),
            Err(Error::NotImplemented(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
