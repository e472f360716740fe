//! The service `tko.v1alpha2.Data`: one method for each method of [`tko_core::DataApi`].

use super::batch;
use super::call::{CallOptions, Lifetime, ServiceContext};
use super::list;
use super::oversize::skip;
use crate::proto::v1alpha2::data_server;
use crate::proto::v1alpha2::{self as wire};
use crate::wire::change::{
    pack_event, unpack_deployment, unpack_plugin, unpack_site, unpack_template, unpack_update,
};
use crate::wire::entity::{pack_record, unpack_want};
use crate::wire::scalar::{key, required, required_key, timestamp, unpack_duration};
use crate::wire::select::unpack_select;
use crate::wire::table::{Packer, Unpacker, unpack};
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Bulk, DeploymentId, Error, Event, Revision, Select, Token, Version, Watch};
use tko_serve::package_weight;
use tonic::{Request, Response, Status, Streaming};

/// Implements `tko.v1alpha2.Data`.
pub(super) struct DataService(pub(super) Arc<ServiceContext>);

type Answers<A> = BoxStream<'static, Result<A, Status>>;

fn version(version: Version) -> wire::VersionResponse {
    wire::VersionResponse { version: version.0 }
}

fn bulk(bulk: Bulk) -> wire::BulkResponse {
    wire::BulkResponse {
        done: bulk.done,
        skipped: bulk
            .skipped
            .into_iter()
            .map(|(of, reason)| wire::bulk_response::Skipped {
                key: Some(key(&of)),
                reason,
            })
            .collect(),
    }
}

fn select(select: Option<&wire::Select>) -> tko_core::Result<Select> {
    unpack_select(required("select", select)?)
}

/// The selection of a call that changes all matching entities. A selection without a filter is
/// refused, unless the caller explicitly asks for everything.
fn chosen(of: Option<&wire::Select>, all: bool, verb: &str) -> tko_core::Result<Select> {
    let select = select(of)?;
    if all || select.has_filter() {
        return Ok(select);
    }
    let message = format!(
        "it has no filter, so this would {verb} every {}; add a filter, or set \"all\"",
        select.kind
    );
    Err(Error::bad("select", message))
}

#[tonic::async_trait]
impl data_server::Data for DataService {
    type CreateDeploymentsStream = Answers<wire::CreateDeploymentsResponse>;
    type ListStream = Answers<wire::ListResponse>;
    type WatchStream = Answers<wire::WatchResponse>;
    type HistoryStream = Answers<wire::HistoryResponse>;
    type ChangesStream = Answers<wire::HistoryResponse>;

    async fn about(
        &self,
        request: Request<wire::AboutRequest>,
    ) -> Result<Response<wire::AboutResponse>, Status> {
        self.0
            .answer(request, |api, _| async move {
                Ok(wire::AboutResponse {
                    name: self.0.settings.name.clone(),
                    description: self.0.settings.description.clone(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    backend: api.about().await?.backend,
                    addresses: self.0.addresses.iter().map(ToString::to_string).collect(),
                    insecure: self.0.insecure,
                    open: self.0.open,
                })
            })
            .await
    }

    async fn register_template(
        &self,
        request: Request<wire::RegisterTemplateRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(&r.packages),
                |request| {
                    let table = Unpacker::new(&request.packages, &self.0.settings.limits)?;
                    unpack_template(required("template", request.template)?, &table)
                },
                |api, new| async move { api.register_template(new).await.map(version) },
            )
            .await
    }

    async fn register_site(
        &self,
        request: Request<wire::RegisterSiteRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(&r.packages),
                |request| {
                    let table = Unpacker::new(&request.packages, &self.0.settings.limits)?;
                    unpack_site(required("site", request.site)?, &table)
                },
                |api, new| async move { api.register_site(new).await.map(version) },
            )
            .await
    }

    async fn register_plugin(
        &self,
        request: Request<wire::RegisterPluginRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        self.0
            .answer_large(
                request,
                |_| 0,
                |request| unpack_plugin(required("plugin", request.plugin)?),
                |api, new| async move { api.register_plugin(new).await.map(version) },
            )
            .await
    }

    async fn create_deployment(
        &self,
        request: Request<wire::CreateDeploymentRequest>,
    ) -> Result<Response<wire::CreateDeploymentResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(&r.packages),
                |request| {
                    let table = Unpacker::new(&request.packages, &self.0.settings.limits)?;
                    unpack_deployment(required("deployment", request.deployment)?, &table)
                },
                |api, new| async move {
                    let id = api.create_deployment(new).await?.to_string();
                    Ok(wire::CreateDeploymentResponse { id })
                },
            )
            .await
    }

    async fn create_deployments(
        &self,
        request: Request<Streaming<wire::CreateDeploymentsRequest>>,
    ) -> Result<Response<Self::CreateDeploymentsStream>, Status> {
        let options = CallOptions::of(request.metadata());
        let api = self.0.api(request.extensions());
        let limits = self.0.settings.limits.clone();
        let answers = batch::answers(api, limits, self.0.heavy_work.clone(), request);
        // Needs no permit: the bytes of its requests are limited, and its answers are short.
        Ok(self.0.stream(options, Lifetime::Finite, None, answers))
    }

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<wire::GetResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let key = required_key(request.key.as_ref())?;
                let record = api.get(&key, unpack_want(request.want)).await?;
                let mut table = Packer::default();
                let record = pack_record(&record, &mut table);
                Ok(wire::GetResponse {
                    packages: table.finish(),
                    record: Some(record),
                })
            })
            .await
    }

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let options = CallOptions::of(request.metadata());
        let permit = self.0.stream_permit(request.extensions())?;
        let api = self.0.api(request.extensions());
        let messages = list::messages(api, &request.into_inner(), self.0.settings.max_message)
            .map_err(|error| options.refuse(&error))?;
        Ok(self.0.stream(options, Lifetime::Finite, permit, messages))
    }

    async fn count(
        &self,
        request: Request<wire::CountRequest>,
    ) -> Result<Response<wire::CountResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let select = select(request.select.as_ref())?;
                let want = unpack_want(request.want);
                let count = api.count(&select, request.bound, want).await?;
                Ok(wire::CountResponse {
                    found: count.found,
                    more: count.more,
                })
            })
            .await
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteRequest>,
    ) -> Result<Response<wire::DeleteResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let key = required_key(request.key.as_ref())?;
                match request.expect {
                    None => api.delete(&key).await?,
                    Some(version) => api.delete_at(&key, Version(version)).await?,
                }
                Ok(wire::DeleteResponse {})
            })
            .await
    }

    async fn purge(
        &self,
        request: Request<wire::PurgeRequest>,
    ) -> Result<Response<wire::BulkResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let select = chosen(request.select.as_ref(), request.all, "delete")?;
                api.purge(&select).await.map(bulk)
            })
            .await
    }

    async fn approve(
        &self,
        request: Request<wire::ApproveRequest>,
    ) -> Result<Response<wire::BulkResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let select = chosen(request.select.as_ref(), request.all, "approve")?;
                api.approve(&select).await.map(bulk)
            })
            .await
    }

    async fn update(
        &self,
        request: Request<wire::UpdateRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(r.package.as_slice()),
                |request| {
                    let id: DeploymentId = request.deployment.parse()?;
                    let package = unpack(request.package.as_ref(), &self.0.settings.limits)?;
                    Ok((id, Version(request.expect), package))
                },
                |api, (id, expect, package)| async move {
                    api.update(&id, expect, package).await.map(version)
                },
            )
            .await
    }

    async fn update_entity(
        &self,
        request: Request<wire::UpdateEntityRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(r.package.as_slice()),
                |request| unpack_update(request, &self.0.settings.limits),
                |api, update| async move { api.update_entity(update).await.map(version) },
            )
            .await
    }

    async fn start_modification(
        &self,
        request: Request<wire::StartModificationRequest>,
    ) -> Result<Response<wire::StartModificationResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let id = request.deployment.parse()?;
                let ttl = match &request.ttl {
                    None => self.0.settings.modification,
                    asked => unpack_duration("ttl", asked.as_ref())?,
                };
                within("ttl", ttl, self.0.settings.max_modification)?;
                let modification = api.start_modification(&id, ttl).await?;
                let mut table = Packer::default();
                let record = pack_record(&modification.record, &mut table);
                Ok(wire::StartModificationResponse {
                    packages: table.finish(),
                    token: modification.token.encode(),
                    until: Some(timestamp(modification.until)),
                    record: Some(record),
                })
            })
            .await
    }

    async fn end_modification(
        &self,
        request: Request<wire::EndModificationRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| table_weight(r.package.as_slice()),
                |request| {
                    let token = Token::decode(&request.token)?;
                    let package = unpack(request.package.as_ref(), &self.0.settings.limits)?;
                    Ok((token, package))
                },
                |api, (token, package)| async move {
                    api.end_modification(&token, package).await.map(version)
                },
            )
            .await
    }

    async fn cancel_modification(
        &self,
        request: Request<wire::CancelModificationRequest>,
    ) -> Result<Response<wire::CancelModificationResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                api.cancel_modification(&Token::decode(&request.token)?)
                    .await?;
                Ok(wire::CancelModificationResponse {})
            })
            .await
    }

    async fn retry(
        &self,
        request: Request<wire::RetryRequest>,
    ) -> Result<Response<wire::RetryResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let count = api.retry(&required_key(request.key.as_ref())?).await?;
                Ok(wire::RetryResponse {
                    count: u32::try_from(count).unwrap_or(u32::MAX),
                })
            })
            .await
    }

    async fn head(
        &self,
        request: Request<wire::HeadRequest>,
    ) -> Result<Response<wire::HeadResponse>, Status> {
        self.0
            .answer(request, |api, _| async move {
                let head = api.feed_position().await?;
                Ok(wire::HeadResponse {
                    revision: head.revision.0,
                    oldest: head.oldest.0,
                    now: Some(timestamp(head.now)),
                })
            })
            .await
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let options = CallOptions::of(request.metadata());
        let permit = self.0.stream_permit(request.extensions())?;
        let api = self.0.api(request.extensions());
        let request = request.into_inner();
        let select = select(request.select.as_ref()).map_err(|error| options.refuse(&error))?;
        let watch = Watch::new(select, Revision(request.after))
            .package(request.package)
            .edits(request.edits);
        let events = api.watch(watch);
        let max = self.0.settings.max_message;
        let messages = events.map_ok(move |event| event_message(&event, max));
        Ok(self
            .0
            .stream(options, Lifetime::UntilShutdown, permit, messages))
    }

    async fn history(
        &self,
        request: Request<wire::HistoryRequest>,
    ) -> Result<Response<Self::HistoryStream>, Status> {
        let options = CallOptions::of(request.metadata());
        let permit = self.0.stream_permit(request.extensions())?;
        let api = self.0.api(request.extensions());
        let messages =
            list::history(api, &request.into_inner()).map_err(|error| options.refuse(&error))?;
        Ok(self.0.stream(options, Lifetime::Finite, permit, messages))
    }
    async fn changes(
        &self,
        request: Request<wire::ChangesRequest>,
    ) -> Result<Response<Self::ChangesStream>, Status> {
        let options = CallOptions::of(request.metadata());
        let permit = self.0.stream_permit(request.extensions())?;
        let api = self.0.api(request.extensions());
        let after = request.into_inner().after.map(Revision);
        let messages = list::change_messages(api.changes(after));
        Ok(self.0.stream(options, Lifetime::Finite, permit, messages))
    }
}

/// The message of an event; of one that is too large, only its revision.
fn event_message(event: &Event, max: usize) -> wire::WatchResponse {
    let message = pack_event(event);
    let size = message.encoded_len();
    if size <= max {
        return message;
    }
    match event {
        Event::Put { record, .. } => skip(&record.entity.key, size),
        Event::Gone { before, .. } => skip(&before.entity.key, size),
        _ => {}
    }
    let revision = event.revision();
    pack_event(&Event::Bookmark { revision })
}

/// The weight of the packages of a request.
pub(super) fn table_weight(packages: &[wire::Package]) -> usize {
    packages
        .iter()
        .map(|package| package_weight(&package.content))
        .sum()
}

/// Checks that a duration is positive and not longer than the server permits.
pub(super) fn within(
    argument: &'static str,
    asked: Duration,
    max: Duration,
) -> tko_core::Result<()> {
    if asked.is_zero() || asked > max {
        return Err(Error::bad(
            argument,
            format!("{asked:?} is out of range; this server permits 1 ns to {max:?}"),
        ));
    }
    Ok(())
}
