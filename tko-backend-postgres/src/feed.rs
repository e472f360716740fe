//! The feed: revisions, changes, history, and retention.
//!
//! Changes get their revisions with the commit if no earlier ones wait for theirs. Otherwise they
//! get them after it, by a numbering pass that any process may run (`numbering`, `pass`). Every
//! process learns the new head (`listening`), and its watchers continue from there (`tail`) with
//! changes that are read once per process (`recent`). Old changes are deleted (`retention`).

mod head;
mod listening;
mod numbering;
mod pass;
mod recent;
mod records;
mod retention;
mod tail;

use crate::content::Content;
use crate::database::Database;
use crate::monitor::DatabaseMonitor;
use crate::work::WorkSignal;
use futures_core::stream::BoxStream;
use head::FeedHead;
use numbering::Numbering;
use recent::RecentChanges;
use std::sync::Arc;
use tko_core::change::FeedPosition;
use tko_core::{ChangeRecord, Key, Result, Revision, Version, Want};
use tokio::task::JoinSet;

pub(crate) use retention::trim;

/// The columns of a change in `pending` and in `event`, apart from its numbers.
pub(crate) const CHANGE_COLUMNS: &str = "kind, gone, body_before, version, at, id, before, cause";

/// The feed of a database, as one process sees it.
pub(crate) struct Feed {
    database: Arc<Database>,
    content: Arc<Content>,
    head: Arc<FeedHead>,
    numbering: Arc<Numbering>,
    /// The last changes: without packages, and with them.
    recent: [Arc<RecentChanges>; 2],
}

impl Feed {
    pub(crate) fn new(
        database: &Arc<Database>,
        content: &Arc<Content>,
        signal: &Arc<WorkSignal>,
    ) -> Self {
        let head = Arc::new(FeedHead::default());
        let numbering = Numbering::new(database.clone(), head.clone(), signal.clone());
        Self {
            database: database.clone(),
            content: content.clone(),
            head,
            numbering: Arc::new(numbering),
            recent: [false, true].map(|package| {
                let recent = RecentChanges::new(database.clone(), content.clone(), package);
                Arc::new(recent)
            }),
        }
    }

    /// Starts the background tasks.
    pub(crate) fn start(
        &self,
        signal: &Arc<WorkSignal>,
        monitor: &Arc<DatabaseMonitor>,
    ) -> FeedTasks {
        let (database, head) = (&self.database, &self.head);
        let mut tasks = JoinSet::new();
        tasks.spawn(numbering::run(self.numbering.clone()));
        tasks.spawn(listening::listen(
            database.clone(),
            head.clone(),
            signal.clone(),
        ));
        tasks.spawn(listening::poll(
            database.clone(),
            head.clone(),
            monitor.clone(),
        ));
        tasks.spawn(retention::run(database.clone()));
        FeedTasks { _tasks: tasks }
    }

    /// The id of the first change set that may not have revisions yet.
    pub(crate) fn low(&self) -> i64 {
        self.numbering.low()
    }

    /// Notifies watchers of a change set that was numbered when it was committed.
    pub(crate) fn advance(&self, revision: Revision) {
        self.head.advance(revision.0);
    }

    /// Requests a numbering pass: this process committed a change set.
    pub(crate) fn request_pass(&self) {
        self.numbering.request();
    }

    /// Waits until a change set has its revisions, and its enqueued work is due. Returns the
    /// revision of its last change.
    pub(crate) async fn numbered(
        &self,
        set: i64,
        last: Option<(Key, Version)>,
    ) -> Result<Option<Revision>> {
        self.numbering.numbered(set, last).await
    }

    /// Reads the position of the feed.
    pub(crate) async fn position(&self) -> Result<FeedPosition> {
        head::position(&self.database).await
    }

    /// Returns every change after this revision, without end.
    pub(crate) fn tail(
        &self,
        after: Revision,
        want: Want,
    ) -> BoxStream<'static, Result<ChangeRecord>> {
        let recent = self.recent[usize::from(want.package)].clone();
        tail::tail(recent, self.head.subscribe(), after)
    }

    /// Returns changes of one entity before a revision, newest first, with packages.
    pub(crate) async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        records::of_key(&self.database, &self.content, key, before, limit).await
    }
}

/// The background tasks of the feed. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct FeedTasks {
    _tasks: JoinSet<()>,
}
