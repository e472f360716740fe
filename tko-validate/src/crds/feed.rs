//! Learns definitions from the registered templates.

use super::{Crds, is_crd};
use futures_util::StreamExt;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use tko_core::retry::Retry;
use tko_core::{
    Clock, DataApi, Error, Event, Key, Kind, List, Package, Page, Record, Result, Revision, Select,
    Want, Watch,
};

/// Number of templates in one page; their packages stay in memory while the page is processed.
const PAGE: usize = 100;

/// Keeps [`Crds`] up to date with the registered templates.
///
/// Call [`load`](Self::load) once before packages are accepted, then run [`follow`](Self::follow)
/// alongside. A new definition applies to its own package at once, and to other packages as soon as
/// the change feed delivers it, usually within milliseconds.
pub struct CrdFeed<'a> {
    data: &'a dyn DataApi,
    crds: &'a Crds,
    sources: HashSet<Key>,
    at: Revision,
}

impl<'a> CrdFeed<'a> {
    /// Reads all templates. One whose package cannot be read is left out, and logged.
    ///
    /// # Errors
    /// The same as [`DataApi::list`].
    pub async fn load(data: &'a dyn DataApi, crds: &'a Crds) -> Result<Self> {
        let mut feed = Self {
            data,
            crds,
            sources: HashSet::new(),
            at: Revision::default(),
        };
        feed.read().await?;
        Ok(feed)
    }

    /// Follows the change feed forever; drop the future to stop.
    ///
    /// # Errors
    /// Only a [permanent](tko_core::retry::is_permanent) one.
    pub async fn follow(mut self, clock: Arc<dyn Clock>) -> Result<Infallible> {
        let mut retry = Retry::new(clock);
        loop {
            let ended = match self.watch(&mut retry).await {
                Err(Error::Expired { .. }) => self.read().await,
                // The watch would end at this change again and again; the current state is behind
                // it.
                Err(error @ Error::Internal { .. }) => {
                    tracing::error!(
                        error = error.chain(),
                        "cannot read a change of a template; reading all templates"
                    );
                    self.read().await
                }
                ended => ended,
            };
            match ended {
                Ok(()) => retry.pause_before_reopening().await,
                Err(error) => {
                    let action = "follow templates for their CustomResourceDefinitions";
                    retry.pause(action, error).await?;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        let mut list = List::new(Select::all(Kind::Template))
            .limit(PAGE)
            .want(Want::PACKAGE);
        let mut first = None;
        let before = std::mem::take(&mut self.sources);
        loop {
            let page = self.page(&list).await?;
            first.get_or_insert(page.revision);
            for record in &page.items {
                self.learn(record);
            }
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        // Templates that are gone, and those that define nothing any more.
        for key in before.difference(&self.sources) {
            self.crds.forget(key.id());
        }
        self.at = first.unwrap_or_default();
        Ok(())
    }

    /// Reads a page. If a package in it cannot be read, reads each of them, and leaves out those
    /// that fail. No template may prevent the start of the server.
    async fn page(&self, list: &List) -> Result<Page> {
        let page = self.data.list(list).await;
        if !matches!(page, Err(Error::Internal { .. })) {
            return page;
        }
        let mut page = self.data.list(&list.clone().want(Want::ROW)).await?;
        for record in std::mem::take(&mut page.items) {
            let key = &record.entity.key;
            match self.data.get(key, Want::PACKAGE).await {
                Ok(record) => page.items.push(record),
                // It was deleted meanwhile.
                Err(Error::NotFound(_)) => {}
                Err(error @ Error::Internal { .. }) => tracing::error!(
                    template = key.id(),
                    error = error.chain(),
                    "cannot read a template, whose CustomResourceDefinitions do not apply; register it again or delete it"
                ),
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    async fn watch(&mut self, retry: &mut Retry) -> Result<()> {
        let mut events = self
            .data
            .watch(Watch::new(Select::all(Kind::Template), self.at).package(true));
        while let Some(event) = events.next().await {
            let event = event?;
            retry.reset();
            self.at = event.revision();
            match event {
                Event::Put { record, .. } => self.learn(&record),
                Event::Gone { before, .. } => self.forget(&before.entity.key),
                _ => {}
            }
        }
        Ok(())
    }

    fn learn(&mut self, record: &Record) {
        let key = &record.entity.key;
        let defines = |package: &&Package| package.iter().any(|resource| is_crd(resource));
        match record.package.as_ref().filter(defines) {
            Some(package) => {
                self.crds.learn(key.id(), package);
                self.sources.insert(key.clone());
            }
            None => self.forget(key),
        }
    }

    fn forget(&mut self, key: &Key) {
        if self.sources.remove(key) {
            self.crds.forget(key.id());
        }
    }
}
