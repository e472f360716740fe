//! Streamed responses: pages, watches and histories.

use super::Client;
use super::call::{garbled, limited, next, within};
use crate::proto::v1alpha2 as wire;
use crate::status;
use crate::wire::change::{unpack_change, unpack_event};
use crate::wire::entity::{pack_want, unpack_record};
use crate::wire::scalar::{key, required, unpack_key};
use crate::wire::select::pack_select;
use crate::wire::table::Unpacker;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tko_core::{ChangeRecord, Cursor, Error, Event, Key, List, Page, Result, Revision, Watch};

impl Client {
    /// Decodes the package table of a response.
    pub(super) fn table(&self, packages: &[wire::Package]) -> Result<Unpacker> {
        Unpacker::new(packages, &self.settings.limits).map_err(garbled)
    }

    /// Reads one page, which may span several messages.
    pub(super) async fn read_page(&self, list: &List) -> Result<Page> {
        const ACTION: &str = "list entities";
        let request = wire::ListRequest {
            select: Some(pack_select(&list.select)),
            after: list.after.as_ref().map(|cursor| key(&cursor.0)),
            limit: u64::try_from(list.limit).unwrap_or(u64::MAX),
            want: Some(pack_want(list.want)),
            one_page: true,
        };
        let attempt = || {
            let request = within(self.settings.timeout, request.clone());
            limited(ACTION, self.settings.timeout, async {
                let answer = self.data.clone().list(request).await;
                let mut messages = answer
                    .map_err(|status| status::to_error(status, ACTION))?
                    .into_inner();
                let mut revision = None;
                let mut items = Vec::new();
                let mut last = None;
                while let Some(message) = next(ACTION, &mut messages).await? {
                    let table = self.table(&message.packages)?;
                    for record in message.records {
                        items.push(unpack_record(record, &table).map_err(garbled)?);
                    }
                    revision = revision.or(message.revision);
                    last = message.next;
                }
                let last = last.map(|last| unpack_key(&last).map(Cursor));
                Ok(Page::new(
                    required("revision", revision.map(Revision)).map_err(garbled)?,
                    items,
                )
                .next(last.transpose().map_err(garbled)?))
            })
        };
        self.repeat(attempt).await
    }

    /// Reads the changes of one entity, newest first.
    pub(super) async fn read_history(
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
        let attempt = || {
            let request = within(self.settings.timeout, request.clone());
            limited(ACTION, self.settings.timeout, async {
                let answer = self.data.clone().history(request).await;
                let mut messages = answer
                    .map_err(|status| status::to_error(status, ACTION))?
                    .into_inner();
                let mut changes = Vec::new();
                while let Some(message) = next(ACTION, &mut messages).await? {
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

    /// Reads the changes of all entities, oldest first, until the first error.
    pub(super) fn all_changes(
        self,
        after: Option<Revision>,
    ) -> BoxStream<'static, Result<ChangeRecord>> {
        const ACTION: &str = "read the changes of all entities";
        let request = wire::ChangesRequest {
            after: after.map(|revision| revision.0),
        };
        let changes = async move {
            let answer = self.data.clone().changes(request).await;
            let messages = answer
                .map_err(|status| status::to_error(status, ACTION))?
                .into_inner()
                .map_err(|status| status::to_error(status, ACTION));
            Ok::<_, Error>(messages.and_then(move |message| {
                let change = self.table(&message.packages).and_then(|table| {
                    required("change", message.change)
                        .and_then(|change| unpack_change(change, &table))
                        .map_err(garbled)
                });
                std::future::ready(change)
            }))
        };
        until_error(stream::once(changes).try_flatten()).boxed()
    }

    /// Watches until the first error.
    pub(super) fn events(self, watch: &Watch) -> BoxStream<'static, Result<Event>> {
        const ACTION: &str = "watch for changes";
        let request = wire::WatchRequest {
            select: Some(pack_select(&watch.select)),
            after: watch.after.0,
            package: watch.package,
            edits: watch.edits,
        };
        let events = async move {
            let answer = self.data.clone().watch(request).await;
            let messages = answer
                .map_err(|status| status::to_error(status, ACTION))?
                .into_inner()
                .map_err(|status| status::to_error(status, ACTION));
            let ended = stream::once(async {
                Err(Error::unavailable(ACTION, "the server ended the watch"))
            });
            Ok::<_, Error>(messages.chain(ended).and_then(move |message| {
                let event = self.table(&message.packages).and_then(|table| {
                    unpack_event(message.revision, message.event, &table).map_err(garbled)
                });
                std::future::ready(event)
            }))
        };
        until_error(stream::once(events).try_flatten()).boxed()
    }
}

/// Ends the stream after the first error.
fn until_error<A>(items: impl Stream<Item = Result<A>>) -> impl Stream<Item = Result<A>> {
    items.scan(false, |ended, item| {
        let item = (!*ended).then_some(item);
        *ended = matches!(item, Some(Err(_)));
        std::future::ready(item)
    })
}
