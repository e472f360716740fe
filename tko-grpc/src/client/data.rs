//! [`DataApi`] over `tko.v1alpha2.Data`.

use super::Client;
use super::call::garbled;
use crate::proto::v1alpha2 as wire;
use crate::wire::change::{pack_deployment, pack_plugin, pack_site, pack_template, pack_update};
use crate::wire::entity::{pack_want, unpack_record};
use crate::wire::scalar::{duration, key, required, unpack_key, unpack_timestamp};
use crate::wire::select::pack_select;
use crate::wire::table::{Packer, pack};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tko_core::api::About;
use tko_core::change::FeedPosition;
use tko_core::{
    Bulk, Caller, ChangeRecord, Count, DataApi, DeploymentId, EntityUpdate, Event, Key, List,
    Modification, NewDeployment, NewPlugin, NewSite, NewTemplate, Package, Page, Record, Result,
    Revision, Select, Token, Version, Want, Watch,
};

fn version(answer: wire::VersionResponse) -> Version {
    Version(answer.version)
}

fn bulk(answer: wire::BulkResponse) -> Result<Bulk> {
    let skipped = answer.skipped.into_iter().map(|skipped| {
        let of = required("key", skipped.key.as_ref()).and_then(unpack_key)?;
        Ok((of, skipped.reason))
    });
    Ok(Bulk::new(answer.done).skipped(skipped.collect::<Result<_>>().map_err(garbled)?))
}

impl Client {
    /// Deletes an entity, at the version `expect` if there is one.
    ///
    /// It has the time of a bulk call, because the server clears the relations of all entities that
    /// refer to it.
    async fn delete_entity(&self, of: &Key, expect: Option<Version>) -> Result<()> {
        let request = wire::DeleteRequest {
            key: Some(key(of)),
            expect: expect.map(|version| version.0),
        };
        self.bulk(
            "delete an entity",
            request,
            |mut data, request| async move { data.delete(request).await },
        )
        .await
        .map(|_| ())
    }
}

#[async_trait]
impl DataApi for Client {
    fn with_caller(self: Arc<Self>, _: Caller) -> Arc<dyn DataApi> {
        self
    }

    async fn about(&self) -> Result<About> {
        self.server().await.map(|server| About::new(server.backend))
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        let mut table = Packer::default();
        let request = wire::RegisterTemplateRequest {
            template: Some(pack_template(&new, &mut table)),
            packages: table.finish(),
        };
        self.write(
            "register a template",
            request,
            |mut data, request| async move { data.register_template(request).await },
        )
        .await
        .map(version)
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        let mut table = Packer::default();
        let request = wire::RegisterSiteRequest {
            site: Some(pack_site(&new, &mut table)),
            packages: table.finish(),
        };
        self.write("register a site", request, |mut data, request| async move {
            data.register_site(request).await
        })
        .await
        .map(version)
    }

    async fn register_plugin(&self, new: NewPlugin) -> Result<Version> {
        let request = wire::RegisterPluginRequest {
            plugin: Some(pack_plugin(new)),
        };
        self.write(
            "register a plugin",
            request,
            |mut data, request| async move { data.register_plugin(request).await },
        )
        .await
        .map(version)
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        const ACTION: &str = "create a deployment";
        let mut table = Packer::default();
        let request = wire::CreateDeploymentRequest {
            deployment: Some(pack_deployment(&new, &mut table)),
            packages: table.finish(),
        };
        let answer = if new.idempotency_key.is_some() {
            self.read(ACTION, request, |mut data, request| async move {
                data.create_deployment(request).await
            })
            .await?
        } else {
            self.write(ACTION, request, |mut data, request| async move {
                data.create_deployment(request).await
            })
            .await?
        };
        answer.id.parse().map_err(garbled)
    }

    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        Box::pin(self.create_batches(&new)).await
    }

    async fn get(&self, of: &Key, want: Want) -> Result<Record> {
        let request = wire::GetRequest {
            key: Some(key(of)),
            want: Some(pack_want(want)),
        };
        let answer = self
            .read("read an entity", request, |mut data, request| async move {
                data.get(request).await
            })
            .await?;
        let table = self.table(&answer.packages)?;
        required("record", answer.record)
            .and_then(|record| unpack_record(record, &table))
            .map_err(garbled)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        Box::pin(self.read_page(list)).await
    }

    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        self.read_pages(list)
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        let request = wire::CountRequest {
            select: Some(pack_select(select)),
            bound,
            want: Some(pack_want(want)),
        };
        let answer = self
            .read("count entities", request, |mut data, request| async move {
                data.count(request).await
            })
            .await?;
        Ok(Count::new(answer.found, answer.more))
    }

    async fn delete(&self, of: &Key) -> Result<()> {
        self.delete_entity(of, None).await
    }

    async fn delete_at(&self, of: &Key, expect: Version) -> Result<()> {
        self.delete_entity(of, Some(expect)).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        let request = wire::PurgeRequest {
            select: Some(pack_select(select)),
            all: !select.has_filter(),
        };
        self.bulk(
            "delete matching entities",
            request,
            |mut data, request| async move { data.purge(request).await },
        )
        .await
        .and_then(bulk)
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        let request = wire::ApproveRequest {
            select: Some(pack_select(select)),
            all: !select.has_filter(),
        };
        self.bulk(
            "approve matching deployments",
            request,
            |mut data, request| async move { data.approve(request).await },
        )
        .await
        .and_then(bulk)
    }

    async fn update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        let request = wire::UpdateRequest {
            deployment: id.to_string(),
            expect: expect.0,
            package: Some(pack(&package)),
        };
        self.write(
            "update a deployment",
            request,
            |mut data, request| async move { data.update(request).await },
        )
        .await
        .map(version)
    }

    async fn update_entity(&self, update: EntityUpdate) -> Result<Version> {
        self.write(
            "update an entity",
            pack_update(&update),
            |mut data, request| async move { data.update_entity(request).await },
        )
        .await
        .map(version)
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        let request = wire::StartModificationRequest {
            deployment: id.to_string(),
            ttl: Some(duration(ttl)),
        };
        let answer = self
            .write(
                "start a modification",
                request,
                |mut data, request| async move { data.start_modification(request).await },
            )
            .await?;
        let table = self.table(&answer.packages)?;
        let modification = || {
            Ok(Modification::new(
                Token::decode(&answer.token)?,
                unpack_timestamp(answer.until.as_ref())?,
                unpack_record(required("record", answer.record)?, &table)?,
            ))
        };
        modification().map_err(garbled)
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        let request = wire::EndModificationRequest {
            token: token.encode(),
            package: Some(pack(&package)),
        };
        self.write(
            "end a modification",
            request,
            |mut data, request| async move { data.end_modification(request).await },
        )
        .await
        .map(version)
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        let request = wire::CancelModificationRequest {
            token: token.encode(),
        };
        self.write(
            "cancel a modification",
            request,
            |mut data, request| async move { data.cancel_modification(request).await },
        )
        .await
        .map(|_| ())
    }

    async fn retry(&self, of: &Key) -> Result<usize> {
        let request = wire::RetryRequest { key: Some(key(of)) };
        let answer = self
            .write(
                "retry work at once",
                request,
                |mut data, request| async move { data.retry(request).await },
            )
            .await?;
        Ok(usize::try_from(answer.count).unwrap_or(usize::MAX))
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        let answer = self
            .read(
                "read the position of the feed",
                wire::HeadRequest {},
                |mut data, request| async move { data.head(request).await },
            )
            .await?;
        Ok(FeedPosition::new(
            Revision(answer.revision),
            Revision(answer.oldest),
            unpack_timestamp(answer.now.as_ref()).map_err(garbled)?,
        ))
    }

    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        self.clone().events(&watch)
    }

    async fn history(
        &self,
        of: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        Box::pin(self.read_history(of, before, limit)).await
    }
    fn changes(&self, after: Option<Revision>) -> BoxStream<'static, Result<ChangeRecord>> {
        self.clone().all_changes(after)
    }
}
