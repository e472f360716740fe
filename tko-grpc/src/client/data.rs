//! [`Data`] over `tko.v1alpha2.Data`.

use super::Client;
use super::call::{garbled, limited, next, within};
use crate::proto::v1alpha2 as wire;
use crate::status;
use crate::wire::change::{
    pack_deployment, pack_plugin, pack_site, pack_template, unpack_change, unpack_event,
};
use crate::wire::entity::{pack_want, unpack_record};
use crate::wire::scalar::{duration, key, required, unpack_key, unpack_timestamp};
use crate::wire::select::pack_select;
use crate::wire::table::{Packer, Unpacker, pack};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::Duration;
use tko_core::change::Head;
use tko_core::data::About;
use tko_core::{
    Bulk, ChangeRecord, Count, Cursor, Data, DeploymentId, Edit, Error, Event, Key, List,
    NewDeployment, NewPlugin, NewSite, NewTemplate, Package, Page, Record, Result, Revision,
    Select, Token, Version, Want, Watch,
};

/// Most creations in one message.
const BATCH: usize = 500;

/// A message of creations is sent when its packages have this many bytes, or a little more.
const BATCH_BYTES: usize = 4 << 20;

fn version(answer: &wire::VersionResponse) -> Version {
    Version(answer.version)
}

fn bulk(answer: wire::BulkResponse) -> Result<Bulk> {
    let skipped = answer.skipped.into_iter().map(|skipped| {
        let of = required("key", skipped.key.as_ref()).and_then(unpack_key)?;
        Ok((of, skipped.reason))
    });
    Ok(Bulk {
        done: answer.done,
        skipped: skipped.collect::<Result<_>>().map_err(garbled)?,
    })
}

#[async_trait]
impl Data for Client {
    async fn about(&self) -> Result<About> {
        self.server().await.map(|server| About {
            backend: server.backend,
        })
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
        .map(|answer| version(&answer))
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
        .map(|answer| version(&answer))
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
        .map(|answer| version(&answer))
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        const ACTION: &str = "create a deployment";
        let mut table = Packer::default();
        let request = wire::CreateDeploymentRequest {
            deployment: Some(pack_deployment(&new, &mut table)),
            packages: table.finish(),
        };
        let answer = if new.once.is_some() {
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
        let batches = batches(&new);
        let sizes: Vec<usize> = batches
            .iter()
            .map(|batch| batch.deployments.len())
            .collect();
        let mut results = Vec::with_capacity(new.len());
        if let Err(error) = self.send(batches, &mut results).await {
            // The batch that failed gets the error; what comes after it was not tried.
            let mut end = 0;
            let failed = sizes
                .iter()
                .map(|size| {
                    end += size;
                    end
                })
                .find(|end| *end > results.len())
                .unwrap_or(new.len());
            results.resize_with(failed, || Err(again(&error)));
            results.resize_with(new.len(), || {
                Err(Error::unavailable(
                    "create a deployment: its batch was not reached",
                    again(&error),
                ))
            });
        }
        results
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
        const ACTION: &str = "list entities";
        let request = wire::ListRequest {
            select: Some(pack_select(&list.select)),
            after: list.after.as_ref().map(|cursor| key(&cursor.0)),
            limit: u64::try_from(list.limit).unwrap_or(u64::MAX),
            want: Some(pack_want(list.want)),
            one_page: true,
        };
        let time = self.settings.timeout;
        let attempt = || {
            limited(ACTION, time, async {
                let request = within(time, request.clone());
                let answer = self.data.clone().list(request).await;
                let mut stream = answer
                    .map_err(|status| status::to_error(status, ACTION))?
                    .into_inner();
                let mut revision = None;
                let mut items = Vec::new();
                let mut last = None;
                while let Some(message) = next(ACTION, &mut stream).await? {
                    let table = self.table(&message.packages)?;
                    for record in message.records {
                        items.push(unpack_record(record, &table).map_err(garbled)?);
                    }
                    revision = revision.or(message.revision);
                    last = message.next;
                }
                Ok(Page {
                    revision: required("revision", revision.map(Revision)).map_err(garbled)?,
                    items,
                    next: last
                        .map(|last| unpack_key(&last).map(Cursor))
                        .transpose()
                        .map_err(garbled)?,
                })
            })
        };
        self.repeat(attempt).await
    }

    async fn count(&self, select: &Select, bound: u64) -> Result<Count> {
        let request = wire::CountRequest {
            select: Some(pack_select(select)),
            bound,
        };
        let answer = self
            .read("count entities", request, |mut data, request| async move {
                data.count(request).await
            })
            .await?;
        Ok(Count {
            found: answer.found,
            more: answer.more,
        })
    }

    async fn delete(&self, of: &Key) -> Result<()> {
        let request = wire::DeleteRequest { key: Some(key(of)) };
        self.write(
            "delete an entity",
            request,
            |mut data, request| async move { data.delete(request).await },
        )
        .await
        .map(|_| ())
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        let request = wire::PurgeRequest {
            select: Some(pack_select(select)),
        };
        self.bulk(
            "delete what matches",
            request,
            |mut data, request| async move { data.purge(request).await },
        )
        .await
        .and_then(bulk)
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        let request = wire::ApproveRequest {
            select: Some(pack_select(select)),
        };
        self.bulk(
            "approve what matches",
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
        .map(|answer| version(&answer))
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Edit> {
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
        let edit = || {
            Ok(Edit {
                token: Token::decode(&answer.token)?,
                until: unpack_timestamp(answer.until.as_ref())?,
                record: unpack_record(required("record", answer.record)?, &table)?,
            })
        };
        edit().map_err(garbled)
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
        .map(|answer| version(&answer))
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

    async fn head(&self) -> Result<Head> {
        let answer = self
            .read(
                "ask where the feed is",
                wire::HeadRequest {},
                |mut data, request| async move { data.head(request).await },
            )
            .await?;
        Ok(Head {
            revision: Revision(answer.revision),
            oldest: Revision(answer.oldest),
            now: unpack_timestamp(answer.now.as_ref()).map_err(garbled)?,
        })
    }

    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        const ACTION: &str = "watch";
        let client = self.clone();
        let request = wire::WatchRequest {
            select: Some(pack_select(&watch.select)),
            after: watch.after.0,
            package: watch.package,
        };
        let events = async move {
            let answer = client.data.clone().watch(request).await;
            let messages = answer
                .map_err(|status| status::to_error(status, ACTION))?
                .into_inner()
                .map_err(|status| status::to_error(status, ACTION));
            let ended = stream::once(async {
                Err(Error::unavailable(ACTION, "the server ended the watch"))
            });
            Ok(messages.chain(ended).and_then(move |message| {
                let event = client.table(&message.packages).and_then(|table| {
                    unpack_event(message.revision, message.event, &table).map_err(garbled)
                });
                std::future::ready(event)
            }))
        };
        ending(stream::once(events).try_flatten()).boxed()
    }

    async fn history(
        &self,
        of: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        const ACTION: &str = "read the history of an entity";
        if limit == 0 {
            return Ok(Vec::new());
        }
        let request = wire::HistoryRequest {
            key: Some(key(of)),
            before: before.map(|revision| revision.0),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let time = self.settings.timeout;
        let attempt = || {
            limited(ACTION, time, async {
                let request = within(time, request.clone());
                let answer = self.data.clone().history(request).await;
                let mut stream = answer
                    .map_err(|status| status::to_error(status, ACTION))?
                    .into_inner();
                let mut changes = Vec::new();
                while let Some(message) = next(ACTION, &mut stream).await? {
                    let table = self.table(&message.packages)?;
                    let change = required("change", message.change)
                        .and_then(|change| unpack_change(change, &table));
                    changes.push(change.map_err(garbled)?);
                }
                Ok(changes)
            })
        };
        self.repeat(attempt).await
    }
}

impl Client {
    fn table(&self, packages: &[wire::Package]) -> Result<Unpacker> {
        Unpacker::new(packages, &self.settings.limits).map_err(garbled)
    }

    /// Sends batches, and takes what the server answers to each.
    async fn send(
        &self,
        batches: Vec<wire::CreateDeploymentsRequest>,
        results: &mut Vec<Result<DeploymentId>>,
    ) -> Result<()> {
        use wire::create_deployments_response::created::Result as Created;
        const ACTION: &str = "create deployments";
        let sizes: Vec<usize> = batches
            .iter()
            .map(|batch| batch.deployments.len())
            .collect();
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
            if created.len() != size {
                return Err(Error::unavailable(
                    ACTION,
                    format!("{} of {size} were answered", created.len()),
                ));
            }
            results.extend(created.into_iter().map(|created| {
                match required("result", created.result).map_err(garbled)? {
                    Created::Id(id) => id.parse().map_err(garbled),
                    Created::Error(error) => Err(status::unpack(error).map_err(garbled)?),
                }
            }));
        }
        Ok(())
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

/// The same error once more, less its source.
fn again(error: &Error) -> Error {
    status::unpack(status::pack(error)).unwrap_or_else(garbled)
}

/// Ends after the first error.
fn ending<A>(
    items: impl futures_core::Stream<Item = Result<A>>,
) -> impl futures_core::Stream<Item = Result<A>> {
    items.scan(false, |ended, item| {
        let item = (!*ended).then_some(item);
        *ended = matches!(item, Some(Err(_)));
        std::future::ready(item)
    })
}
