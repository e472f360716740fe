//! An API with endless listings, which counts the calls in progress.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tko_core::api::About;
use tko_core::change::FeedPosition;
use tko_core::{
    Bulk, Caller, ChangeRecord, Claim, ClaimRequest, Count, Cursor, DataApi, DeploymentId, Enqueue,
    Entity, Error, Event, Facts, Generation, Key, List, Metadata, Modification, NewDeployment,
    NewPlugin, NewSite, NewTemplate, Outcome, Package, Page, PrepareStep, Record, Result, Revision,
    ScheduleStep, Select, TemplateId, Timestamp, Token, Version, Want, Watch, WorkerApi,
};
use tokio::sync::watch;

/// The calls in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Pages read so far.
    pub(crate) pages: usize,
    /// Watches and claims in progress.
    pub(crate) waiting: usize,
}

/// Lists, watches and claims without end. Other calls fail.
#[derive(Clone, Default)]
pub(crate) struct Endless(Arc<watch::Sender<State>>);

impl Endless {
    pub(crate) fn state(&self) -> State {
        *self.0.borrow()
    }

    /// Waits for a state.
    pub(crate) async fn until(&self, so: impl FnMut(&State) -> bool) {
        let mut state = self.0.subscribe();
        tokio::time::timeout(Duration::from_secs(10), state.wait_for(so))
            .await
            .expect("it becomes so")
            .expect("the sender is here");
    }

    fn wait(&self) -> Waiting {
        self.0.send_modify(|state| state.waiting += 1);
        Waiting(self.0.clone())
    }
}

/// Counts a call until it is dropped.
struct Waiting(Arc<watch::Sender<State>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.waiting -= 1);
    }
}

fn none<T>() -> Result<T> {
    Err(Error::NotImplemented("a test's double".into()))
}

/// A template of 4 KiB.
fn record(number: usize) -> Record {
    let id = TemplateId::new(&format!("template-{number:012}")).expect("an id");
    let metadata: Metadata = [("ballast", "x".repeat(4_096))].into_iter().collect();
    Record::new(
        Entity::new(Key::Template(id), Facts::Template)
            .version(Version(1))
            .generation(Generation(1))
            .created(Timestamp(1))
            .updated(Timestamp(1))
            .metadata(metadata)
            .body(Package::default().hash()),
    )
}

#[async_trait]
impl DataApi for Endless {
    fn with_caller(self: Arc<Self>, _: Caller) -> Arc<dyn DataApi> {
        self
    }

    async fn about(&self) -> Result<About> {
        Err(Error::internal(
            "ask the backend",
            "password hunter2 was refused",
        ))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        if list.select.kind != tko_core::Kind::Template {
            return Ok(Page::new(Revision(1), Vec::new()));
        }
        let mut page = 0;
        self.0.send_modify(|state| {
            state.pages += 1;
            page = state.pages;
        });
        let items: Vec<_> = (0..100).map(|at| record(page * 1_000 + at)).collect();
        let next = items.last().map(|last| Cursor(last.entity.key.clone()));
        Ok(Page::new(Revision(1), items).next(next))
    }

    fn watch(&self, _: Watch) -> BoxStream<'static, Result<Event>> {
        let waiting = self.wait();
        let bookmark = futures_util::stream::once(async {
            Ok(Event::Bookmark {
                revision: Revision(7),
            })
        });
        bookmark
            .chain(futures_util::stream::pending())
            .inspect(move |_| {
                let _ = &waiting;
            })
            .boxed()
    }

    async fn register_template(&self, _: NewTemplate) -> Result<Version> {
        none()
    }
    async fn register_site(&self, _: NewSite) -> Result<Version> {
        none()
    }
    async fn register_plugin(&self, _: NewPlugin) -> Result<Version> {
        none()
    }
    async fn create_deployment(&self, _: NewDeployment) -> Result<DeploymentId> {
        none()
    }
    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        new.iter().map(|_| none()).collect()
    }
    async fn get(&self, _: &Key, _: Want) -> Result<Record> {
        none()
    }
    async fn count(&self, _: &Select, _: u64, _: Want) -> Result<Count> {
        none()
    }
    async fn delete(&self, _: &Key) -> Result<()> {
        none()
    }
    async fn purge(&self, _: &Select) -> Result<Bulk> {
        none()
    }
    async fn approve(&self, _: &Select) -> Result<Bulk> {
        none()
    }
    async fn update(&self, _: &DeploymentId, _: Version, _: Package) -> Result<Version> {
        none()
    }
    async fn start_modification(&self, _: &DeploymentId, _: Duration) -> Result<Modification> {
        none()
    }
    async fn end_modification(&self, _: &Token, _: Package) -> Result<Version> {
        none()
    }
    async fn cancel_modification(&self, _: &Token) -> Result<()> {
        none()
    }
    async fn feed_position(&self) -> Result<FeedPosition> {
        none()
    }
    async fn history(&self, _: &Key, _: Option<Revision>, _: usize) -> Result<Vec<ChangeRecord>> {
        none()
    }
}

#[async_trait]
impl WorkerApi for Endless {
    fn worker_with_caller(self: Arc<Self>, _: Caller) -> Arc<dyn WorkerApi> {
        self
    }

    async fn claim(&self, _: &ClaimRequest) -> Result<Vec<Claim>> {
        let _waiting = self.wait();
        std::future::pending().await
    }
    async fn renew(&self, _: &[Token], _: Duration) -> Result<Vec<bool>> {
        none()
    }
    async fn settle(&self, _: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        none()
    }
    async fn enqueue(&self, _: Vec<Enqueue>) -> Result<()> {
        none()
    }
    async fn commit_prepared(&self, _: &Token, _: PrepareStep) -> Result<Generation> {
        none()
    }
    async fn commit_placed(&self, _: &Token, _: ScheduleStep) -> Result<()> {
        none()
    }
}
