//! Whole listings as one stream of messages.

use super::Client;
use super::call::{garbled, limited, next};
use crate::proto::v1alpha2 as wire;
use crate::status;
use crate::wire::entity::{pack_want, unpack_record};
use crate::wire::scalar::{key, required};
use crate::wire::select::pack_select;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::collections::VecDeque;
use tko_core::{Cursor, Error, List, Page, Result, Revision};
use tonic::Streaming;

const ACTION: &str = "list entities";

/// A listing in progress.
struct ListingStream {
    client: Client,
    /// The rest of the listing, from the last record received.
    list: List,
    messages: Option<Streaming<wire::ListResponse>>,
    revision: Option<Revision>,
    /// Received pages, none of them empty. The last one may turn out to end the listing.
    pages: VecDeque<Page>,
    /// Attempts left until the next message arrives.
    tries: u32,
}

impl Client {
    /// All pages from this one on. A broken stream is resumed after the last record received.
    pub(super) fn read_pages(&self, list: List) -> BoxStream<'static, Result<Page>> {
        let listing = ListingStream {
            tries: self.settings.tries,
            client: self.clone(),
            list,
            messages: None,
            revision: None,
            pages: VecDeque::new(),
        };
        let pages = stream::try_unfold(Some(listing), |listing| async move {
            let Some(mut listing) = listing else {
                return Ok(None);
            };
            let page = listing.page().await?;
            let more = page.next.is_some();
            Ok(Some((page, more.then_some(listing))))
        });
        pages.boxed()
    }
}

impl ListingStream {
    /// The next page. The last one has no cursor.
    async fn page(&mut self) -> Result<Page> {
        while self.pages.len() < 2 {
            match self.message().await {
                Ok(Some(message)) => {
                    self.tries = self.client.settings.tries;
                    self.take(message)?;
                }
                Ok(None) => {
                    // An empty listing still has one page.
                    let items = self.pages.pop_front().map(|page| page.items);
                    return Ok(Page::new(
                        required("revision", self.revision).map_err(garbled)?,
                        items.unwrap_or_default(),
                    ));
                }
                Err(error @ Error::Unavailable { .. }) if self.tries > 1 => {
                    tracing::debug!(error = error.chain(), "resuming a listing");
                    self.tries -= 1;
                    self.messages = None;
                }
                Err(error) => return Err(error),
            }
        }
        self.pages
            .pop_front()
            .ok_or_else(|| Error::internal(ACTION, "the server sent no page"))
    }

    async fn message(&mut self) -> Result<Option<wire::ListResponse>> {
        let time = self.client.settings.timeout;
        if self.messages.is_none() {
            let request = wire::ListRequest {
                select: Some(pack_select(&self.list.select)),
                after: self.list.after.as_ref().map(|cursor| key(&cursor.0)),
                limit: 0,
                want: Some(pack_want(self.list.want)),
                one_page: false,
            };
            let attempt = || {
                limited(ACTION, time, async {
                    let answer = self.client.data.clone().list(request.clone()).await;
                    answer.map_err(|status| status::to_error(status, ACTION))
                })
            };
            let answer = Box::pin(self.client.repeat(attempt)).await?;
            self.messages = Some(answer.into_inner());
        }
        match &mut self.messages {
            Some(messages) => limited(ACTION, time, next(ACTION, messages)).await,
            None => Ok(None),
        }
    }

    /// Splits a message into pages, because messages are sized for transport.
    fn take(&mut self, message: wire::ListResponse) -> Result<()> {
        let table = self.client.table(&message.packages)?;
        // A resumed listing may come from an older replica, so the lowest revision counts.
        let sent = message.revision.map(Revision);
        self.revision = self.revision.into_iter().chain(sent).min();
        let revision = required("revision", self.revision).map_err(garbled)?;
        let mut records = message.records.into_iter().peekable();
        while records.peek().is_some() {
            let part = records.by_ref().take(self.list.most());
            let items: Vec<_> = part
                .map(|record| unpack_record(record, &table))
                .collect::<Result<_>>()
                .map_err(garbled)?;
            if let Some(last) = items.last() {
                self.list.after = Some(Cursor(last.entity.key.clone()));
            }
            self.pages
                .push_back(Page::new(revision, items).next(self.list.after.clone()));
        }
        Ok(())
    }
}
